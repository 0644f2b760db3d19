"""What anyone may have written instead of an archive: refused, whatever it is."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from kitt_core.archive import members
from kitt_core.archive.members import Limits
from kitt_core.errors import InvalidArchiveError
from kitt_core.testing.documents import MINIMAL

from .archives import Part, changed, packed, parts_of, read, stored, summed, tar_of, with_json, written
from .contents import attachment

SMALL = written(
    (stored("one", MINIMAL), [attachment("a.txt", b"first"), attachment("B", b"")]),
    (stored("two", b"{}"), []),
)


# What is refused.


def refused(data: bytes, *said: str, **options: Any) -> InvalidArchiveError:
    with pytest.raises(InvalidArchiveError) as caught:
        read(data, **options)
    for text in said:
        assert text in caught.value.message
    assert len(caught.value.message) <= 300
    return caught.value


def test_the_builder_of_this_test_builds_archives() -> None:
    assert read(packed(parts_of(SMALL))) == read(SMALL)
    assert read(packed(summed(parts_of(SMALL)))) == read(SMALL)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "truncated"),
        (b"\x1f", "not an archive"),
        (b"\x1f\x8b", "truncated"),
        (b"{}", "does not begin like a gzip file"),
        (b"PK\x03\x04" + bytes(100), "does not begin like a gzip file"),
        (b"SQLite format 3\0", "does not begin like a gzip file"),
        (tar_of(parts_of(SMALL)), "does not begin like a gzip file"),
        (gzip.compress(b""), "truncated"),
        (gzip.compress(b"{}"), "truncated"),
        (gzip.compress(b"x" * 2000), "no tar header"),
        (gzip.compress(bytes(10240)), "truncated"),
        (packed([Part("notes.txt", b"hello")]), "not an archive of KITT"),
        (packed([Part("kitt-archive.json", b"hello")]), "kitt-archive.json"),
        (packed([Part("kitt-archive.json", b"[]")]), "kitt-archive.json"),
        (packed([Part("kitt-archive.json", b"[" * 60000)]), "kitt-archive.json"),
        (packed([Part("kitt-archive.json", b" " * 70000)]), "at most"),
        (SMALL + b"x", "data after the archive's end"),
        (SMALL + bytes(512), "data after the archive's end"),
        (SMALL + SMALL, "data after the archive's end"),
        (gzip.compress(gzip.decompress(SMALL) + b"x"), "data after the end of the tar file"),
        (gzip.compress(gzip.decompress(SMALL) + bytes(100_000)), "data after the end of the tar file"),
        (gzip.compress(gzip.decompress(SMALL) + gzip.decompress(SMALL)), "data after the end of the tar file"),
    ],
    ids=lambda value: "data" if isinstance(value, bytes) else None,  # gzip's header holds the time
)
def test_what_is_no_archive(data: bytes, said: str) -> None:
    refused(data, said)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": "other"}, "the format is not"),
        ({"format": None}, "format is missing"),
        ({"version": 2}, "version 2 of the format"),
        ({"version": "1"}, "version is missing or wrong"),
        ({"version": True}, "version is missing or wrong"),
        ({"version": 1 << 70}, "version is missing or wrong"),
        ({"created_at": "yesterday"}, "created_at is missing or wrong"),
    ],
)
def test_another_format(fields: dict[str, Any], said: str) -> None:
    refused(packed(summed(changed(parts_of(SMALL), "archive.json", lambda part: with_json(part, **fields)))), said)


def test_more_fields_are_no_harm() -> None:
    parts = parts_of(SMALL)
    for ending in ("run.json", "archive.json"):
        parts = changed(parts, ending, lambda part: with_json(part, future=[1]))
    assert len(read(packed(summed(parts)))) == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "../../etc/passwd"}, "run id"),
        ({"id": "a/b"}, "run id"),
        ({"id": ""}, "run id"),
        ({"id": "a\n"}, "run id"),
        ({"id": "a\0b"}, "run id"),
        ({"id": "é"}, "run id"),
        ({"id": "a" * 129}, "run id"),
        ({"id": 7}, "id is missing or wrong"),
        ({"id": None}, "id is missing or wrong"),
        ({"created_at": ""}, "created_at"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at"),
        ({"sha256": "0" * 64}, "announced as 000000000000"),
        ({"sha256": "X" * 64}, "sha256 is missing or wrong"),
        ({"size": 1}, "announced as 1"),
        ({"size": -1}, "size is missing or wrong"),
        ({"size": 1 << 31}, "at most 1 GiB"),
        ({"attachments": {}}, "attachments is missing"),
        ({"attachments": []}, "does not belong in an archive"),
        ({"attachments": [7]}, "not a JSON object"),
    ],
)
def test_a_record_that_cannot_be(fields: dict[str, Any], said: str) -> None:
    refused(packed(summed(changed(parts_of(SMALL), "one/run.json", lambda part: with_json(part, **fields)))), said)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "../x"}, "is not a valid file name"),
        ({"name": "/etc/passwd"}, "is not a valid file name"),
        ({"name": "a\nb"}, "is not a valid file name"),
        ({"name": "a\x1b[2J"}, "is not a valid file name"),
        ({"name": ".."}, "is not a valid file name"),
        ({"name": "B"}, "the same name"),
        ({"file": "outputs/../../x"}, "not a path for an attachment"),
        ({"file": "/etc/passwd"}, "not a path for an attachment"),
        ({"file": "outputs/"}, "not a path for an attachment"),
        ({"file": "outputs/.."}, "not a path for an attachment"),
        ({"file": "metrics.json"}, "not a path for an attachment"),
        ({"file": "outputs/other"}, "was not announced"),
        ({"file": "outputs/B~1"}, "the same name"),
        ({"size": 6}, "announced as 6"),
        ({"size": 1 << 60}, "announced as"),
        ({"sha256": "1" * 64}, "announced as 111111111111"),
    ],
)
def test_an_attachment_that_cannot_be(fields: dict[str, Any], said: str) -> None:
    def change(part: Part) -> Part:
        first, second = json.loads(part.content)["attachments"]
        return with_json(part, attachments=[first | fields, second])

    refused(packed(summed(changed(parts_of(SMALL), "one/run.json", change))), said)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Part("/etc/passwd", b"x"), "does not belong in an archive"),
        (Part("../x", b"x"), "does not belong in an archive"),
        (Part("kitt-results/../run.json", b"{}"), "does not belong in an archive"),
        (Part("kitt-results/a/b/run.json", b"{}"), "does not belong in an archive"),
        (Part("kitt-results//run.json", b"{}"), "does not belong in an archive"),
        (Part("kitt-results/a\nb/run.json", b"{}"), "does not belong in an archive"),
        (Part("kitt-results/two/more", b"x"), "does not belong in an archive"),
        (Part("kitt-results/three/metrics.json", b"{}"), "does not belong in an archive"),
        (Part("x", b"", tarfile.SYMTYPE, "/etc/passwd"), "a symbolic link"),
        (Part("x", b"", tarfile.LNKTYPE, "/etc/passwd"), "a hard link"),
        (Part("x", b"", tarfile.CHRTYPE), "a device"),
        (Part("x", b"", tarfile.BLKTYPE), "a device"),
        (Part("x", b"", tarfile.FIFOTYPE), "a named pipe"),
        (Part("x", b"", tarfile.DIRTYPE), "a directory"),
        (Part("x", b"30 path=/etc/passwd\n", tarfile.XHDTYPE), "of the type 'x'"),
        (Part("x", b"30 path=/etc/passwd\n", tarfile.XGLTYPE), "of the type 'g'"),
        (Part("x", b"x" * 300, tarfile.GNUTYPE_LONGNAME), "of the type 'L'"),
        (Part("x", b"", tarfile.GNUTYPE_SPARSE), "of the type 'S'"),
        (Part("x", b"", b"\xff"), "of the type"),
    ],
)
@pytest.mark.parametrize("before", ["run.json", "metrics.json", "outputs/a.txt", "SHA256SUMS", "manifest.json"])
def test_a_member_that_does_not_belong(part: Part, said: str, before: str) -> None:
    error = refused(packed(summed_around(part, before)))
    if before == "SHA256SUMS" or part.type != tarfile.REGTYPE:
        assert said in error.message


def summed_around(part: Part, before: str) -> list[Part]:
    once = [True]

    def change(found: Part) -> Part | list[Part]:
        return [part, found] if once and once.pop() else found

    parts = summed(parts_of(SMALL))
    return changed(parts, before, change)


def test_members_that_are_there_twice() -> None:
    parts = parts_of(SMALL)
    two = [part for part in parts if "/two/" in part.path]
    at = len(parts) - 2
    refused(packed(summed([*parts[:at], *two, *parts[at:]])), "the same id")
    other = [evolve(part, path=part.path.replace("two", "TWO")) for part in two]
    other[0] = with_json(other[0], id="three")
    refused(packed(summed([*parts[:at], *other, *parts[at:]])), "the same directory")
    renamed = [evolve(part, path=part.path.replace("two", "third")) for part in two]
    refused(packed(summed([*parts[:at], *renamed, *parts[at:]])), "the same id")


@pytest.mark.parametrize("ending", [".json", "a.txt", "SHA256SUMS"])
def test_each_member_that_is_missing_is_missed(ending: str) -> None:
    for missing in [part for part in parts_of(SMALL) if part.path.endswith(ending)]:
        for parts in (parts_of(SMALL), summed(parts_of(SMALL))):
            refused(packed([part for part in parts if part.path != missing.path]))


def test_members_in_another_order() -> None:
    parts = parts_of(SMALL)
    for i in range(len(parts) - 1):
        swapped = [*parts]
        swapped[i], swapped[i + 1] = parts[i + 1], parts[i]
        refused(packed(swapped))
        if "/" in parts[i].path and "/" in parts[i + 1].path:
            refused(packed(summed(swapped)))


@pytest.mark.parametrize("name", ["runs", "attachments", "document_bytes", "attachment_bytes", "sha256sums"])
def test_a_manifest_that_does_not_fit(name: str) -> None:
    wrong = "0" * 64 if name == "sha256sums" else 1000
    refused(
        packed(changed(parts_of(SMALL), "manifest.json", lambda part: with_json(part, **{name: wrong}))),
        "manifest",
    )
    for value in (None, -1, "1", 1.5):
        part = with_json(parts_of(SMALL)[-1], **{name: value})
        refused(packed([*parts_of(SMALL)[:-1], part]), "manifest.json")


def test_sums_that_do_not_fit() -> None:
    for old, new in ((b"one", b"two"), (b"\n", b"\r\n"), (b"  ", b" *")):
        change = lambda part: evolve(part, content=part.content.replace(old, new))  # noqa: B023, E731
        refused(packed(changed(parts_of(SMALL), "SHA256SUMS", change)), "SHA256SUMS does not list")


# Bombs.


@pytest.fixture
def _little_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the archives small whose size is refused."""
    monkeypatch.setattr(members, "_ALWAYS", 1 << 20)


@pytest.mark.usefixtures("_little_always")
def test_an_archive_that_unpacks_to_too_much_is_left_early(tmp_path: Path) -> None:
    document = b'{"model": "' + b"x" * (5 << 20) + b'"}'
    data = written((stored("a", document), []))
    assert len(data) < 10_000
    # Told by the header: nothing of it is unpacked.
    refused(data, "more than 250 times its size", limits=Limits(document_mib=1024))
    path = tmp_path / "zeros.gz"
    with gzip.open(path, "wb") as file:
        file.write(UNPACKED.rstrip(b"\0") + bytes(512 + 1024))
        file.write(bytes(5 << 20))
    refused(path.read_bytes())


def test_a_document_that_is_announced_too_large_is_not_read() -> None:
    def change(part: Part) -> Part:
        return with_json(part, size=1 << 30)

    parts = changed(parts_of(SMALL), "one/run.json", change)
    parts = changed(parts, "one/metrics.json", lambda part: evolve(part, size=1 << 30))
    error = refused(packed(parts[:3]), "its document has 1073741824 bytes, expected at most 64 MiB")
    assert "--max-document 1024" in (error.hint or "")
    limits = Limits(document_mib=1024)
    error = refused(packed(parts[:3]), "unpacks to more than 250 times its size", limits=limits)
    assert "--max-ratio 1100" in (error.hint or "")


@pytest.mark.usefixtures("_little_always")
def test_the_limit_can_be_raised() -> None:
    document = b'{"a": "' + b"x" * (3 << 20) + b'"}'
    data = written((stored("a", document), []))
    refused(data, "more than 1 times its size", limits=Limits(ratio=1, document_mib=4))
    assert read(data, limits=Limits(ratio=1000, document_mib=4))[0].document == document


# Damage anywhere.

UNPACKED = gzip.decompress(SMALL)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_changed_byte_is_noticed_or_means_nothing(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(SMALL) - 1))
    value = data.draw(st.integers(0, 255))
    damaged = SMALL[:position] + bytes([value]) + SMALL[position + 1 :]
    try:
        found = read(damaged)
    except InvalidArchiveError:
        return
    assert found == read(SMALL)  # gzip has bytes without meaning: a time, the system that packed it


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_behind_the_packing_is_noticed_too(data: st.DataObject) -> None:
    """Whoever can pack can make gzip's own check fit."""
    position = data.draw(st.integers(0, len(UNPACKED) - 1))
    value = data.draw(st.integers(1, 255))
    damaged = bytearray(UNPACKED)
    damaged[position] ^= value
    try:
        found = read(gzip.compress(bytes(damaged), 1))
    except InvalidArchiveError:
        return
    assert found == read(SMALL)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SMALL) - 1))
def test_an_archive_that_is_cut_off_is_refused(length: int) -> None:
    refused(SMALL[:length])


@pytest.mark.parametrize("blocks", range(21))
def test_the_last_bytes_count_wherever_the_tar_file_ends(blocks: int) -> None:
    whole = written((stored("a", MINIMAL + b" " * (blocks * 512)), []))
    for cut in range(1, 9):
        refused(whole[:-cut], "truncated")
    for i in range(1, 9):
        refused(whole[:-i] + bytes([whole[-i] ^ 1]) + whole[len(whole) - i + 1 :], "damaged")
    refused(whole + b"x", "data after the archive's end")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000), st.booleans())
def test_no_bytes_do_more_than_be_refused(data: bytes, pack: bool) -> None:
    refused(gzip.compress(data, 1) if pack else data)


@pytest.mark.parametrize("blocks", range(0, len(UNPACKED) // 512, 3))
def test_a_tar_file_that_is_cut_off_and_packed_is_refused(blocks: int) -> None:
    if blocks * 512 < len(UNPACKED.rstrip(b"\0")):
        refused(gzip.compress(UNPACKED[: blocks * 512]))
        refused(gzip.compress(UNPACKED[: blocks * 512] + bytes(10240)))
