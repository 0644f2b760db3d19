"""Plugins made for a test: distributions as an installer leaves them, on ``sys.path`` for its duration."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

Install = Callable[..., Path]

BACKEND = """
from attrs import frozen
from kitt_core.storage import StorageBackend
from kitt_core.hookspecs import hookimpl
from kitt_core.storage.memory import MemoryStore

@frozen
class Options:
    pass

@hookimpl
def kitt_register_storage(registry):
    for name in {names!r}:
        registry.add(
            StorageBackend(name=name, open=lambda _: MemoryStore(), options=Options, summary={summary!r}, {more})
        )
"""


def backend_source(*names: str, summary: str = "", more: str = "") -> str:
    """Return a module that registers storage backends of these names."""
    return BACKEND.format(names=names, summary=summary, more=more)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a distribution: its modules' source and its entry points by group."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.delenv("KITT_DISABLED_PLUGINS", raising=False)
    before = set(sys.modules)

    def add(
        distribution: str,
        modules: Mapping[str, str],
        entry_points: Mapping[str, Mapping[str, str]],
        version: str = "1.0",
    ) -> Path:
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source, encoding="utf-8")
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [
            line
            for group, entries in entry_points.items()
            for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        importlib.invalidate_caches()
        return site

    yield add
    for module in set(sys.modules) - before:
        if str(site) in (getattr(sys.modules[module], "__file__", None) or ""):
            del sys.modules[module]
