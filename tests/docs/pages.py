"""The pages as data: sections, tables, code blocks, and the plugins whose code stands in them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kitt_core import errors
from kitt_core.errors import KittError
from kitt_core.plugins import Kind, PluginManager

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [
    *PAGES,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
    *sorted((ROOT / "docs" / "examples").glob("*/README.md")),
]
Row = list[str]


def name_of(path: object) -> str:
    return path.relative_to(ROOT).as_posix() if isinstance(path, Path) else str(path)


@cache
def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks that are marked with ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@cache
def sections(page: str) -> Mapping[str, str]:
    """Return what stands below each heading, up to the next one of whatever level."""
    found: dict[str, str] = {}
    title, fenced = "", False
    for line in text_of(page).splitlines(keepends=True):
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"#+ (.+)", line)
        if heading:
            title = heading[1].replace("`", "")
            assert title not in found, f"{page} has two sections {title}"
        found[title] = "" if heading else found[title] + line
    return found


def rows(text: str) -> Iterator[Row]:
    """Yield the rows of all tables, their headings left out."""
    lines = without_fences(text).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("|") and not line.startswith("|--") and not following.startswith("|--"):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def first_names(text: str) -> list[str]:
    """Return the code spans of the tables' first columns."""
    return [span for row in rows(text) for span in spans(row[0])]


def is_ours(kind: Kind[Any], name: str) -> bool:
    manager = PluginManager()
    manager.find(kind, name)
    return manager.owner(kind, name).startswith("kitt-")


def error_classes() -> list[type[KittError]]:
    return [getattr(errors, name) for name in errors.__all__]


def install_documented(site: Path) -> None:
    """Install the plugins of the pages as one distribution."""
    text = text_of("storage-contract.md") + text_of("hooks.md")
    write_files(text, site)
    groups: dict[str, dict[str, str]] = {}
    for block in blocks(text, "toml"):
        for group, entries in tomllib.loads(block)["project"]["entry-points"].items():
            groups.setdefault(group, {}).update(entries)
    info = site / "documented-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: documented\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def write_files(text: str, directory: Path) -> list[Path]:
    """Write the Python blocks that begin with the name of a file, and return the files."""
    written = []
    for block in blocks(text, "python"):
        if name := re.match(r"# (\S+\.py)\n", block):
            written.append(directory / name[1])
            written[-1].parent.mkdir(parents=True, exist_ok=True)
            written[-1].write_text(block, encoding="utf-8")
    return written
