"""Large outputs: pointers that git-lfs accepts, contents where it keeps them, constant memory."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from kitt_core.errors import StoreUnavailableError
from kitt_core.runs import Attachment, Severity
from kitt_core.service.transfer.backup import back_up
from kitt_core.testing.documents import MINIMAL
from kitt_karr import attachments
from kitt_karr.git.lfs import Pointer
from kitt_karr.store import KarrResultStore

LARGE = bytes(range(256)) * 4
POINTER = Pointer(hashlib.sha256(LARGE).hexdigest(), len(LARGE))


def attachment(name: str, content: bytes) -> Attachment:
    return Attachment(name, len(content), partial(io.BytesIO, content))


def read(store: KarrResultStore, run_id: str) -> dict[str, bytes]:
    found = {}
    for item in store.attachments(run_id):
        with item.open() as file:
            found[item.name] = file.read()
    return found


def content_file(path: Path, pointer: Pointer = POINTER) -> Path:
    return path / "lfs/objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid


def test_a_large_output_is_a_pointer_and_its_content_lies_where_git_lfs_looks(
    git: Any, store: KarrResultStore, path: Path
) -> None:
    files = {"large.jsonl.gz": LARGE, "small.jsonl.gz": b"x"}
    run_id = store.save_result(MINIMAL, attachments=[attachment(*item) for item in files.items()])
    assert read(store, run_id) == files
    names = git(path, "ls-tree", "-r", "--name-only", "main").split()
    (large,) = [name for name in names if name.endswith("large.jsonl.gz")]
    assert git(path, "show", f"main:{large}").encode() == POINTER.encode()
    assert content_file(path).read_bytes() == LARGE
    assert list((path / "lfs/tmp").iterdir()) == []


def test_git_lfs_finds_the_repository_whole_and_fetches_from_it(
    git_lfs: Any, store: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    files = {name: name.encode() * 50 for name in ("a.gz", "b [1].gz", 'c "q" é.gz', "d#.gz", "small")}
    files["small"] = b"small"
    run_id = store.save_result(MINIMAL, attachments=[attachment(*item) for item in files.items()])
    git_lfs(path, "lfs", "fsck", "main")
    git_lfs(tmp_path, "lfs", "install", "--skip-repo", GIT_CONFIG_GLOBAL=str(tmp_path / "lfsconfig"))
    clone = tmp_path / "clone"
    variables = {"GIT_CONFIG_GLOBAL": str(tmp_path / "lfsconfig")}
    git_lfs(tmp_path, "clone", "-q", path.as_uri(), str(clone), GIT_LFS_SKIP_SMUDGE="1", **variables)
    assert git_lfs(clone, "lfs", "ls-files", **variables).count("\n") == 4
    with KarrResultStore(clone) as other:
        assert read(other, run_id) == {"small": b"small"}
    git_lfs(clone, "lfs", "pull", **variables)
    assert git_lfs(clone, "status", "--porcelain", **variables) == ""
    git_lfs(clone, "lfs", "fsck", **variables)
    (directory,) = clone.rglob("outputs")
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == files
    with KarrResultStore(clone) as other:
        assert read(other, run_id) == files
        assert list(other.verify()) == []


def test_what_git_lfs_wrote_is_read(git_lfs: Any, store: KarrResultStore, path: Path, tmp_path: Path) -> None:
    store.initialize()
    variables = {"GIT_CONFIG_GLOBAL": str(tmp_path / "lfsconfig")}
    git_lfs(tmp_path, "lfs", "install", "--skip-repo", **variables)
    clone = tmp_path / "clone"
    git_lfs(tmp_path, "clone", "-q", path.as_uri(), str(clone), **variables)
    (clone / "m/e/x/outputs").mkdir(parents=True)
    (clone / "m/e/x/metrics.json").write_bytes(MINIMAL)
    (clone / "m/e/x/outputs/a.gz").write_bytes(LARGE)
    (clone / "m/.gitattributes").write_text("*.gz filter=lfs diff=lfs merge=lfs -text\n")
    git_lfs(clone, "add", ".", **variables)
    git_lfs(clone, "commit", "-qm", "by hand", **variables)
    git_lfs(clone, "push", "-q", **variables)
    (run,) = store.scan()
    assert read(store, run.id) == {"a.gz": LARGE}
    with KarrResultStore(clone) as other:
        assert read(other, run.id) == {"a.gz": LARGE}


def test_a_very_large_output_comes_in_chunks(
    git: Any, store: KarrResultStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "CHUNK_BYTES", 300)
    files = {"a.gz": LARGE, "exact": b"x" * 600, "a.gz.part-0001": b"of its own", "a.gz.part-0000": LARGE[:200]}
    run_id = store.save_result(MINIMAL, attachments=[attachment(*item) for item in files.items()])
    assert read(store, run_id) == files
    assert [(item.name, item.size) for item in store.attachments(run_id)] == [
        (name, len(files[name])) for name in sorted(files)
    ]
    names = [name.rpartition("/")[2] for name in git(path, "ls-tree", "-r", "--name-only", "main").split()]
    assert {"exact.part-0000", "exact.part-0001"} <= set(names)
    assert "exact.part-0002" not in names
    (chunked,) = [item for item in store.attachments(run_id) if item.name == "a.gz"]
    with chunked.open() as file:
        assert [file.read(7) for _ in range(200)] == [LARGE[i * 7 : i * 7 + 7] for i in range(200)]
    git.assert_intact(path)


def test_contents_that_are_missing_or_changed_are_named(store: KarrResultStore, path: Path) -> None:
    run_id = store.save_result(MINIMAL, attachments=[attachment("a", LARGE), attachment("b", b"x" * 500)])
    assert list(store.verify()) == []
    file = content_file(path)
    file.write_bytes(LARGE[::-1])
    (finding,) = store.verify()
    assert (finding.run_id, finding.severity) == (run_id, Severity.DAMAGE)
    assert "outputs/a: its LFS content does not match its SHA-256" in finding.what
    file.write_bytes(b"short")
    assert [finding.severity for finding in store.verify()] == [Severity.DAMAGE]
    with pytest.raises(OSError, match="wrong size"):
        read(store, run_id)
    report = back_up(store, io.BytesIO())
    assert [(left.run_id, "wrong size" in left.reason) for left in report.failed] == [(run_id, True)]
    file.unlink()
    (finding,) = store.verify()
    assert finding.severity is Severity.NOTICE
    assert finding.what.endswith("outputs/a: its LFS content is not here: `git lfs pull` fetches it")
    assert read(store, run_id) == {"b": b"x" * 500}
    assert store.get_document(run_id) == MINIMAL


def test_the_same_content_is_kept_once_and_a_damaged_one_is_rewritten(store: KarrResultStore, path: Path) -> None:
    store.save_result(MINIMAL, attachments=[attachment("a", LARGE)])
    content_file(path).write_bytes(b"cut off")
    run_id = store.save_result(MINIMAL, attachments=[attachment("other", LARGE)])
    assert read(store, run_id) == {"other": LARGE}
    assert len([file for file in (path / "lfs/objects").rglob("*") if file.is_file()]) == 1


def test_an_output_that_cannot_be_read_leaves_nothing_unfinished(store: KarrResultStore, path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 200:
                raise OSError("the disk is gone")
            return super().read(size if size is None else min(size, 150))

    def broken() -> BinaryIO:
        return Broken(LARGE)

    with pytest.raises(StoreUnavailableError, match="attachment a cannot be stored: the disk is gone"):
        store.save_result(MINIMAL, attachments=[Attachment("a", 1024, broken)])
    assert store.count() == 0
    assert list((path / "lfs/tmp").iterdir()) == []


def test_contents_go_where_gits_configuration_says(
    git: Any, store: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    store.initialize()
    git(path, "config", "lfs.storage", str(tmp_path / "elsewhere"))
    with KarrResultStore(path, lfs_threshold=1) as other:
        run_id = other.save_result(MINIMAL, attachments=[attachment("a", LARGE)])
        assert read(other, run_id) == {"a": LARGE}
    assert (tmp_path / "elsewhere/objects" / POINTER.oid[:2]).is_dir()


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_gigabyte_takes_no_memory(tmp_path: Path) -> None:
    size = 1 << 30
    code = f"""
import re
from pathlib import Path
from kitt_core.runs import Attachment
from kitt_karr.store import KarrResultStore
source = {str(tmp_path / "large")!r}
with open(source, "wb") as file:
    file.truncate({size})
with KarrResultStore({str(tmp_path / "karr")!r}) as store:
    opened = lambda: open(source, "rb")
    run = store.save_result({{"model": "m", "engine": "e"}}, attachments=[Attachment("large", {size}, opened)])
    (found,) = store.attachments(run)
    assert found.size == {size}
    with found.open() as file:
        while file.read(1 << 20):
            pass
    list(store.verify())
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (POINTER.encode(), POINTER),
        (POINTER.encode().replace(b"\n", b"\r\n"), POINTER),
        (b"", None),
        (POINTER.encode()[:-20], None),
        (POINTER.encode() + b"x", None),
        (POINTER.encode().replace(b"sha256", b"sha512"), None),
        (POINTER.encode() + b"\n" * 1024, None),
    ],
)
def test_what_is_a_pointer(content: bytes, pointer: Pointer | None) -> None:
    assert Pointer.parse(content) == pointer
