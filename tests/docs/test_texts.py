"""All texts: examples of code, links, beginnings, the two commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, TEXTS, blocks, name_of, without_fences

TWO_COMMANDS = (
    "python3 -m pip install . ./plugins/*/ && kitt run",
    "python3 -m pip install tox && tox",
)


EXAMPLES = [
    pytest.param(block, id=f"{path.name}-{position}")
    for path in (ROOT / "README.md", ROOT / "docs" / "embedding.md")
    for position, block in enumerate(blocks(path.read_text(encoding="utf-8"), "python"))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_code_run(example: str, fresh: Path) -> None:
    (fresh / "example.py").write_text(example, encoding="utf-8")
    # yoyo reads its migrations, which are ASCII, without naming an encoding.
    warnings = ["-W", "error", "-W", "ignore::EncodingWarning:yoyo.migrations"]
    command = [sys.executable, *warnings, "example.py"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=180)
    assert (done.returncode, done.stderr) == (0, "")


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", without_fences(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    text = without_fences(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), f"{name_of(path)} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{name_of(path)} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_begins_by_saying_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert lines[2], "a page begins with a sentence that says what it is"


def test_the_readme_has_the_two_commands_that_are_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    check = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in TWO_COMMANDS:
        assert command in readme
        assert command in check
