"""kitt_core.files: a new file that is written and flushed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_core.files import write_file


def test_a_new_file_has_its_parts_in_order(tmp_path: Path) -> None:
    write_file(tmp_path / "a", [b"one ", b"", b"two"])
    assert (tmp_path / "a").read_bytes() == b"one two"


def test_it_is_flushed_after_its_last_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: flushed.append((tmp_path / "a").read_bytes()))
    write_file(tmp_path / "a", [b"one", b"two"])
    assert flushed == [b"onetwo"]


def test_an_existing_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", [b"new"])
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_its_permissions_are_given_less_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "usual", [])
        write_file(tmp_path / "object", [], mode=0o444)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("usual", "object")] == [0o640, 0o440]


def test_an_error_of_the_content_is_passed_on(tmp_path: Path) -> None:
    def content() -> Iterator[bytes]:
        yield b"one"
        raise LookupError("the source is gone")

    with pytest.raises(LookupError, match="the source is gone"):
        write_file(tmp_path / "a", content())
