"""The records, what they recognise, and the importer."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core import open_store
from kitt_core.errors import StoreUnavailableError
from kitt_core.plugins import Importer, Registry
from kitt_core.runs import Attachment, codec
from kitt_core.storage import StorageBackend
from kitt_core.testing.documents import MINIMAL, STANDARD, small
from kitt_karr import plugin
from kitt_karr.store import KarrResultStore

LEGACY = Path(__file__).parents[4] / "shared/legacy"


def read(attachment: Attachment) -> bytes:
    with attachment.open() as file:
        return file.read()


def backend() -> StorageBackend:
    registry: Registry[StorageBackend] = Registry("storage backend", StorageBackend, 1)
    plugin.kitt_register_storage(registry)
    (found,) = registry
    return found


def importer() -> Importer:
    registry: Registry[Importer] = Registry("importer", Importer, 1)
    plugin.kitt_register_importer(registry)
    (found,) = registry
    return found


def test_the_record_says_what_the_store_can() -> None:
    assert backend().name == "karr"
    assert backend().capabilities == KarrResultStore.capabilities


def test_repositories_of_ours_are_recognised_and_others_are_not(git: Any, tmp_path: Path) -> None:
    with KarrResultStore(tmp_path / "karr") as store:
        assert not backend().recognises(tmp_path / "karr")
        store.initialize()
    git.clone(tmp_path / "karr", tmp_path / "clone")
    git(tmp_path, "init", "-q", str(tmp_path / "code"))
    (tmp_path / "file").write_text("x")
    recognised = {path.name for path in tmp_path.iterdir() if backend().recognises(path)}
    assert recognised == {"karr", "clone"}
    with open_store(tmp_path / "clone") as store:
        assert isinstance(store, KarrResultStore)


def test_neither_git_nor_a_database_is_imported_before_a_store_is_used(tmp_path: Path) -> None:
    code = (
        "import sys; from kitt_core import open_store; import kitt_karr.plugin;"
        "print(*{'dulwich', 'sqlalchemy'} & set(sys.modules));"
        f"store = open_store('karr:////{tmp_path}/x'); print(*{{'dulwich'}} & set(sys.modules));"
        "store.count(); store.close(); print(*{'dulwich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n\n"


def test_a_repository_is_imported_with_ids_times_and_outputs(git: Any, tmp_path: Path) -> None:
    files = {"small": b"s", "large": b"l" * 500}
    with KarrResultStore(tmp_path / "karr", lfs_threshold=100) as store:
        attachments = [Attachment(n, len(c), partial(io.BytesIO, c)) for n, c in files.items()]
        ids = [store.save_result(STANDARD, attachments=attachments), *store.save_results([small(1), small(2)])]
        saved = {run.id: run for run in store.scan()}
    candidates = list(importer().find(tmp_path / "karr"))
    assert {c.run_id: (c.read(), c.created_at) for c in candidates} == {
        run_id: (saved[run_id].document, saved[run_id].created_at) for run_id in ids
    }
    (with_outputs,) = [candidate for candidate in candidates if candidate.attachments]
    assert {attachment.name: read(attachment) for attachment in with_outputs.attachments} == files
    clone = git.clone(tmp_path / "karr", tmp_path / "clone")
    (clone / "new/run").mkdir(parents=True)
    (clone / "new/run/metrics.json").write_bytes(MINIMAL)
    candidates = list(importer().find(clone))
    assert len(candidates) == 4
    assert candidates[-1].read() == MINIMAL
    assert {a.name for candidate in candidates for a in candidate.attachments} == {"small"}


def test_a_document_that_cannot_be_read_is_refused_alone(git: Any, store: KarrResultStore, path: Path) -> None:
    store.save_results([small(1), small(2)])
    lines = git(path, "ls-tree", "-r", "main").splitlines()
    identity = next(line.split()[2] for line in lines if line.endswith("metrics.json"))
    (path / "objects" / identity[:2] / identity[2:]).unlink()
    broken, whole = sorted(importer().find(path), key=lambda candidate: candidate.run_id is not None)
    assert json.loads(whole.read())["engine"] in {"llama_cpp", "ollama"}
    with pytest.raises(StoreUnavailableError, match=f"object {identity[:12]}"):
        broken.read()


def test_an_output_whose_content_is_elsewhere_is_said_once(
    git: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"a": b"a", "b": b"b", "large": b"l" * 500}
    with KarrResultStore(tmp_path / "karr", lfs_threshold=100) as store:
        store.save_result(
            STANDARD, attachments=[Attachment(n, len(c), partial(io.BytesIO, c)) for n, c in files.items()]
        )
    shutil.rmtree(tmp_path / "karr/lfs")
    (candidate,) = importer().find(tmp_path / "karr")
    assert [read(attachment) for attachment in candidate.attachments] == [b"a", b"b"]
    (warning,) = caplog.messages
    assert warning.endswith("the content of outputs/large is not here, only its LFS pointer")


def test_a_run_json_that_cannot_be_used_gives_a_new_id(
    git: Any, store: KarrResultStore, path: Path, tmp_path: Path
) -> None:
    store.save_result(small(1))
    clone = git.clone(path, tmp_path / "clone")
    next(clone.glob("*/*/*/run.json")).write_text("{")
    git(clone, "commit", "-qam", "broken")
    (candidate,) = importer().find(clone)
    assert (candidate.run_id, candidate.read()) == (None, next(clone.glob("*/*/*/metrics.json")).read_bytes())


@pytest.mark.skipif(not LEGACY.exists(), reason="the legacy fixtures are outside the repository")
def test_both_repositories_of_kitt_1_give_four_runs_and_not_eight(tmp_path: Path) -> None:
    for archive in ("karr_plain", "karr_lfs"):
        with tarfile.open(LEGACY / f"{archive}.tar.gz") as file:
            file.extractall(tmp_path / archive, filter="data")
    with KarrResultStore(tmp_path / "new") as store:
        for archive in ("karr_plain", "karr_lfs"):
            (path,) = (tmp_path / archive).iterdir()
            assert backend().recognises(path)
            for candidate in importer().find(path):
                if not store.count({"sha256": codec.digest(candidate.read())}):
                    store.save_result(
                        candidate.read(), created_at=candidate.created_at, attachments=candidate.attachments
                    )
        assert store.count() == 4
        for run in store.scan():
            (attachment,) = store.attachments(run.id)
            assert read(attachment).startswith(b"\x1f\x8b")
        assert list(store.verify()) == []
