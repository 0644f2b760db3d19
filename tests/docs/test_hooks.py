"""docs/hooks.md: hooks, records, and the plugins that it shows."""

from __future__ import annotations

import asyncio
import importlib
import io
import sys
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import attrs
import pytest

from kitt_core import engine, hookspecs
from kitt_core.cli.app import main
from kitt_core.engine import EngineSession, GenerationRequest
from kitt_core.options import Option
from kitt_core.plugins import ENGINES, IMPORTERS, KINDS, ImportCandidate, Kind, PluginManager
from kitt_core.runs import check_run
from kitt_core.testing import documents

from .pages import blocks, first_names, install_documented, sections, spans


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_a_hook_is_documented_with_exactly_the_fields_of_its_record(kind: Kind[Any]) -> None:
    body = sections("hooks.md")[kind.hook]
    assert f"`{kind.group}`" in body
    assert kind.record.__name__ in body
    fields = [attribute.name for attribute in attrs.fields(kind.record)]
    assert first_names(body)[: len(fields)] == fields
    assert blocks(body, "python")
    assert f'entry-points."{kind.group}"' in blocks(body, "toml")[-1]
    assert f"`{kind.hook}`" in sections("hooks.md")["How a plugin works"]


def test_every_hook_has_a_section() -> None:
    hooks = {name for name in hookspecs.__all__ if name.startswith("kitt_")}
    assert {title for title in sections("hooks.md") if title.startswith("kitt_")} == hooks
    arguments = list(signature(hookspecs.kitt_run_saved).parameters)
    assert first_names(sections("hooks.md")["kitt_run_saved"]) == arguments


def test_what_records_hand_over_is_documented() -> None:
    importer, session = sections("hooks.md")[IMPORTERS.hook], sections("hooks.md")[ENGINES.hook]
    for record, body in (
        (ImportCandidate, importer),
        (engine.GenerationRequest, session),
        (engine.Chunk, session),
        (engine.Usage, session),
    ):
        assert f"`{record.__name__}`" in body
        assert {attribute.name for attribute in attrs.fields(record)} <= set(spans(body))
    members = [name for name in {**vars(EngineSession), **EngineSession.__annotations__} if name[0] != "_"]
    assert set(members) <= {span.partition("(")[0] for span in spans(session)}
    keys = [attribute.name for attribute in attrs.fields(Option)][3:]
    assert first_names(sections("hooks.md")["Options"]) == keys


@pytest.fixture
def documented_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginManager]:
    """The plugins of the pages, installed."""
    site = tmp_path / "site"
    install_documented(site)
    before = set(sys.modules)
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield PluginManager()
    for module in set(sys.modules) - before:
        # A package without __init__.py has a path, but no file.
        places = (getattr(sys.modules[module], "__file__", None), *getattr(sys.modules[module], "__path__", ()))
        if any(str(site) in place for place in places if place):
            del sys.modules[module]


def test_the_documented_plugins_load_and_work(
    documented_plugins: PluginManager, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [status for status in documented_plugins.statuses() if status.distribution == "documented"]
    assert {status.kind for status in found} == {*(kind.name for kind in KINDS), "listener"}
    assert [(status.name, status.reason) for status in found if status.state != "loaded"] == []

    (fresh / "runs.csv").write_text("model,engine,tps\nm,e,41.5\n", encoding="utf-8")
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", output)
    shelf = "--backend=shelf:///runs"
    assert main([shelf, "storage", "import", "runs.csv"]) == 0
    assert main([shelf, "latest"]) == 0
    assert main([shelf, "storage", "export", "-o", "runs.sha256"]) == 0
    run_id = output.buffer.getvalue().decode().split()[-1]
    assert (fresh / "runs.sha256").read_text(encoding="utf-8").endswith(f"  {run_id}.json\n")
    documented_plugins.announce_saved(check_run(documents.MINIMAL), "here")
    assert asyncio.run(_answer(documented_plugins)) == ["two ", "words ", "two ", ""]


async def _answer(plugins: PluginManager) -> list[str]:
    echo = plugins.find(ENGINES, "echo")
    session = await echo.open(echo.options())
    return [chunk.text async for chunk in session.stream(GenerationRequest("two words", 3))]
