"""docs/compatibility.md: what is public, numbers, oldest dependencies."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_core.plugins import KINDS
from kitt_core.testing import CONTRACT_VERSION

from .pages import PAGES, ROOT, blocks, rows, sections, spans

WHOLE = {f"kitt_core{name}" for name in ("", ".errors", ".plugins", ".rundir", ".runs", ".storage", ".testing")}
"""Packages and modules that hold nothing but public names."""
LIBRARY = "kitt_sql"
"""What bundled plugins build on: not public, but what a module does not list in ``__all__`` is its own."""
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("kitt-*/kitt_*") if path.is_dir())


def public_names() -> dict[str, set[str]]:
    """Return the names that the page promises, by module; a long row goes on in the next."""
    found: dict[str, set[str]] = {}
    for module, _, names in rows(sections("compatibility.md")["What is public"]):
        if module:
            found[spans(module)[0]] = set()
        found[list(found)[-1]] |= set(spans(names))
    return found


@pytest.mark.parametrize("module", public_names())
def test_what_is_promised_to_be_public_exists(module: str) -> None:
    names = set(importlib.import_module(module).__all__)
    assert public_names()[module] <= names
    if module in WHOLE:
        assert public_names()[module] == names


def test_what_the_pages_import_is_public() -> None:
    code = "\n".join(block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"), "python"))
    code += "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "examples").glob("*/*/*.py"))
    )
    imported = set(re.findall(r"^\s*from (kitt_core\S*) import", code, re.MULTILINE))
    # The documents stand in a module of the kit that is a public name itself.
    assert imported - set(public_names()) <= {"kitt_core.testing.documents"}


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_bundled_plugins_use_what_is_public_and_nothing_else(package: Path) -> None:
    public = public_names()
    for path in sorted(package.rglob("*.py")):
        for module, name in _taken_from("kitt_core", path):
            is_public = name in public.get(module, ()) or f"{module}.{name}" in public
            assert is_public, f"{path} takes {name} from {module}"


@pytest.mark.parametrize("package", [path for path in PLUGINS if path.name != LIBRARY], ids=lambda path: path.name)
def test_bundled_plugins_use_nothing_of_the_library_that_it_keeps_to_itself(package: Path) -> None:
    for path in sorted(package.rglob("*.py")):
        for module, name in _taken_from(LIBRARY, path):
            assert not any(part.startswith("_") for part in (*module.split("."), name)), f"{path}: {name}"
            assert name in importlib.import_module(module).__all__, f"{path} takes {name} from {module}"


def test_the_library_is_used() -> None:
    used = {package.name for package in PLUGINS for path in package.rglob("*.py") if [*_taken_from(LIBRARY, path)]}
    assert used >= {"kitt_sqlite", "kitt_postgres", "kitt_karr"}


def _taken_from(package: str, path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            whole = [alias.name for alias in node.names if alias.name.split(".")[0] == package]
            assert whole == [], f"{path} imports {whole}: import the names that it uses"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            yield from ((str(node.module), alias.name) for alias in node.names)


def test_the_numbers_of_the_contracts_and_the_oldest_dependencies_are_current() -> None:
    page = sections("compatibility.md")
    numbers = {spans(record)[0]: int(now) for record, _, now in rows(page["Numbers of the records"])}
    assert numbers == {kind.record.__name__: kind.api_version for kind in KINDS}
    assert f"now {CONTRACT_VERSION};" in page["The conformance kit"]
    oldest = [
        line.split("==") for line in (ROOT / "oldest.txt").read_text(encoding="utf-8").split() if "==" in line
    ]
    assert [[spans(name)[0], version] for name, version in rows(page["Pythons and dependencies"])] == oldest
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert f"Python {wanted.removeprefix('>=')} or later" in page["Pythons and dependencies"]
