"""Trees in which something can't be read, was changed by hand, or is gone: it is said, and hides nothing else."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core.errors import RunExistsError, StoreUnavailableError
from kitt_core.runs import Attachment, Finding, Severity
from kitt_core.service.transfer.backup import back_up
from kitt_core.service.transfer.copying import copy_runs
from kitt_json.store import JSONResultStore


def ids(store: JSONResultStore) -> list[str]:
    return [run.id for run in store.scan()]


def test_what_cannot_be_read_is_left_out_and_a_warning_says_so(
    store: JSONResultStore, caplog: pytest.LogCaptureFixture
) -> None:
    ids = store.save_results([{"model": name, "engine": "e"} for name in "abc"])
    assert store.count() == 3
    assert caplog.messages == []
    for name in "bc":
        [document] = Path(store.location).glob(f"{name}/*/*/metrics.json")
        document.unlink()
        os.mkfifo(document)
    assert [run.id for run in store.scan()] == ids[:1]
    [message] = caplog.messages
    assert message.startswith(f"{store.location}: 2 places cannot be read and are left out, for example b/")
    assert message.endswith("metrics.json; `kitt storage verify` says why")


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Paths that can't be opened for now, also by root."""
    paths: set[Path] = set()
    real = {name: getattr(os, name) for name in ("open", "scandir")}

    def refusing(name: str) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(path, (str, Path)) and Path(path) in paths:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real[name](path, *arguments, **options)

        return call

    for name in real:
        monkeypatch.setattr(os, name, refusing(name))
    return paths


@pytest.mark.parametrize("name", ["metrics.json", "run.json", "."])
def test_a_failed_read_is_no_fact(store: JSONResultStore, denied: set[Path], name: str) -> None:
    first, second = store.save_results([{"model": "a", "engine": "e"}, {"model": "b", "engine": "e"}])
    (place,) = store.run_tree.glob("a/*/*")
    document = (place / "metrics.json").read_bytes()
    for _ in range(2):
        denied.add(place / name)
        assert ids(store) == [second]
        assert store.count() == 1
        (unread,) = store.unread
        assert unread.startswith(place.relative_to(store.run_tree).as_posix())
        assert "Permission denied" in unread
        (finding,) = store.verify()
        assert finding.severity is Severity.DAMAGE
        with JSONResultStore(store.run_tree) as other:  # without the memory of where runs are
            if name == "metrics.json":
                with pytest.raises(StoreUnavailableError, match="Permission denied"):
                    other.get_document(first)
            else:
                assert other.get_document(first) is None
                assert len(other.unread) == 1
            with pytest.raises((RunExistsError, StoreUnavailableError)):
                other.save_result(document, run_id=first)
        denied.clear()
        assert set(ids(store)) == {first, second}
        assert store.unread == ()
        assert list(store.verify()) == []


def test_outputs_that_cannot_be_read_are_not_taken_for_none(store: JSONResultStore, denied: set[Path]) -> None:
    file = Attachment("a", 1, lambda: io.BytesIO(b"a"))
    run_id = store.save_result({"model": "m", "engine": "e"}, attachments=[file])
    (outputs,) = store.run_tree.glob("*/*/*/outputs")
    denied.add(outputs)
    with pytest.raises(StoreUnavailableError, match=r"outputs of run .* cannot be read: Permission denied"):
        list(store.attachments(run_id))
    with JSONResultStore(store.run_tree.parent / "copy") as tree:
        report = copy_runs(store, tree)
        assert [failed.run_id for failed in report.failed] == [run_id]
        assert "Permission denied" in report.failed[0].reason
        assert ids(tree) == []
    backup = back_up(store, io.BytesIO())
    assert (backup.runs, [failed.run_id for failed in backup.failed]) == (0, [run_id])


def test_what_a_killed_batch_leaves_is_a_notice(store: JSONResultStore) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from kitt_core.rundir import writing
from kitt_json.store import JSONResultStore

real = Path.rename
def rename(self, target):
    real(self, target)
    if target.name.endswith("_two"):
        os.kill(os.getpid(), signal.SIGKILL)
Path.rename = rename
from kitt_core.runs import check_run
runs = [check_run({"model": "m", "engine": "e"}, run_id=name) for name in ("one", "two", "three")]
JSONResultStore(sys.argv[1]).save_checked(runs)
"""
    done = subprocess.run([sys.executable, "-c", script, str(store.run_tree)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert set(ids(store)) == {"one", "two"}
    (finding,) = (finding for finding in store.verify() if "written" in finding.what)
    assert (finding.run_id, finding.severity) == (None, Severity.NOTICE)
    assert "were when their writer was killed: 1;" in finding.what


def test_a_broken_run_json_is_damage_and_gives_no_second_identity(store: JSONResultStore) -> None:
    run_id = store.save_result({"model": "m", "engine": "e"})
    (path,) = store.run_tree.rglob("run.json")
    good = path.read_bytes()
    path.write_bytes(b"{")
    assert list(store.scan()) == []
    (unread,) = store.unread
    assert "run.json cannot be used" in unread
    with JSONResultStore(store.run_tree) as other:
        assert other.get_document(run_id) is None
        assert len(other.unread) == 1
    (finding,) = store.verify()
    assert finding.severity is Severity.DAMAGE
    assert "run.json cannot be used" in finding.what
    path.write_bytes(good)
    assert ids(store) == [run_id]
    assert store.unread == ()


@pytest.mark.parametrize("content", [b"not json", b"[]", b"", "{}".encode("utf-16")])
def test_a_document_that_cannot_be_parsed_is_named_and_hides_no_other(
    store: JSONResultStore, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    bad, good = store.save_results([{"model": "a", "engine": "e"}, {"model": "b", "engine": "e"}])
    (path,) = store.run_tree.glob("a/*/*/metrics.json")
    path.write_bytes(content)
    answers: list[Callable[[], object]] = [
        store.list_results,
        store.count,
        store.query,
        lambda: store.aggregate("model"),
        store.metric_names,
        lambda: list(store.scan({"model": "*"})),
    ]
    for answer in answers:
        answer()
        (unread,) = store.unread
        assert unread.startswith(f"{path.relative_to(store.run_tree)} cannot be parsed: ")
    assert len(caplog.messages) == 1
    assert [summary.id for summary in store.list_results()] == [good]
    # Whoever takes the bytes as they are gets them, and finds out himself.
    assert {run.id for run in store.scan()} == {bad, good}
    assert store.unread == ()
    assert [run.document for run in store.scan({"id": bad})] == [content] == [store.get_document(bad)]


@pytest.mark.parametrize("instead", [None, "a link", "a directory"])
def test_a_run_whose_document_is_gone_is_lost_and_can_be_stored_again(
    store: JSONResultStore, instead: str | None
) -> None:
    lost, kept = store.save_results([{"model": "a", "engine": "e"}, {"model": "b", "engine": "e"}])
    (path,) = store.run_tree.glob("a/*/*/metrics.json")
    document = path.read_bytes()
    path.unlink()
    if instead == "a link":
        path.symlink_to("run.json")
    elif instead == "a directory":
        path.mkdir()
    (path.parent / "outputs").mkdir(exist_ok=True)
    (path.parent / "outputs/metrics.json").write_bytes(document)
    assert ids(store) == [kept]
    (unread,) = store.unread
    assert unread.endswith("has run.json, but has lost its metrics.json")
    assert store.get_document(lost) is None
    damaged = [finding.run_id for finding in store.verify() if finding.severity is Severity.DAMAGE]
    assert damaged == [lost]
    store.save_result(document, run_id=lost)
    assert set(ids(store)) == {lost, kept}
    assert [finding.severity for finding in store.verify() if finding.run_id == lost] == [Severity.NOTICE]


def test_verify_names_a_run_that_lost_its_document(store: JSONResultStore) -> None:
    lost = store.save_result(
        {"model": "m", "engine": "e"}, attachments=[Attachment("run.json", 2, partial(io.BytesIO, b"{}"))]
    )
    store.save_result({"model": "m", "engine": "other"})
    directory = next(store.run_tree.glob(f"m/e/*_{lost[-8:]}"))
    assert list(store.verify()) == []
    (directory / "metrics.json").unlink()
    path = directory.relative_to(store.run_tree).as_posix()
    what = f"{path}: metrics.json is missing, the run is lost"
    assert list(store.verify()) == [Finding(lost, Severity.DAMAGE, what)]
    (directory / "run.json").write_text("{")
    assert list(store.verify()) == [Finding(None, Severity.DAMAGE, what)]


def test_a_copy_of_a_run_that_lost_its_document_is_a_notice(store: JSONResultStore) -> None:
    run_id = store.save_result({"model": "m", "engine": "e"})
    directory = next(store.run_tree.glob("m/e/*"))
    shutil.copytree(directory, directory.with_name("copy"))
    (directory / "metrics.json").unlink()
    (finding,) = store.verify()
    assert (finding.run_id, finding.severity) == (run_id, Severity.NOTICE)
    assert finding.what.endswith("has no metrics.json, remove it; the run is in m/e/copy")


def test_verify_finds_damaged_outputs_and_says_how_far_it_can_tell(store: JSONResultStore) -> None:
    files = [Attachment(name, 3, lambda: io.BytesIO(b"abc")) for name in ("a", "b")]
    new, old = (store.save_result({"model": name, "engine": "e"}, attachments=files) for name in ("m", "old"))
    (identity,) = store.run_tree.glob("old/*/*/run.json")
    noted = json.loads(identity.read_bytes())
    del noted["attachments"]
    identity.write_text(json.dumps(noted))
    (finding,) = store.verify()
    assert (finding.run_id, finding.severity) == (None, Severity.NOTICE)
    assert finding.what.startswith("runs whose outputs have no digest in run.json")
    for file in store.run_tree.glob("*/*/*/outputs/a"):
        file.write_bytes(b"abd")
    damage = [finding for finding in store.verify() if finding.severity is Severity.DAMAGE]
    assert [finding.run_id for finding in damage] == [new]
    assert "outputs/a has the SHA-256" in damage[0].what
    assert store.count() == 2
    assert old in ids(store)
