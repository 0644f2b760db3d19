"""docs/compatibility.md: what is public, numbers, oldest dependencies."""

from __future__ import annotations

import importlib
import re
import tomllib

import pytest

from kitt_core.plugins import KINDS
from kitt_core.testing import CONTRACT_VERSION

from .pages import PAGES, ROOT, blocks, rows, sections, spans


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
    if module in {"kitt_core", "kitt_core.errors", "kitt_core.model", "kitt_core.storage", "kitt_core.testing"}:
        assert public_names()[module] == names


def test_what_the_pages_import_is_public() -> None:
    code = "\n".join(block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"), "python"))
    code += "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "examples").glob("*/*/*.py"))
    )
    imported = set(re.findall(r"^\s*from (kitt_core\S*) import", code, re.MULTILINE))
    # The documents stand in a module of the kit that is a public name itself.
    assert imported - set(public_names()) <= {"kitt_core.testing.documents"}


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
