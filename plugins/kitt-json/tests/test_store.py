"""What is particular to trees: older KITTs' layouts, files of others, damage, names."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core.errors import InvalidDocumentError, RunExistsError, StoreUnavailableError
from kitt_core.plugins import Registry
from kitt_core.runs import Attachment, Finding, Severity, check_run
from kitt_core.service.transfer.backup import back_up
from kitt_core.service.transfer.copying import copy_runs
from kitt_core.storage import StorageBackend
from kitt_json import plugin
from kitt_json.options import JSONOptions
from kitt_json.store import JSONResultStore

LEGACY = Path(__file__).parents[4] / "shared/legacy/flat_results.tar.gz"
OLD = b'{\r\n  "model": "org/name", "engine": "vllm", "results": [], "_id": 1.0e3\r\n}'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JSONResultStore]:
    with JSONResultStore(tmp_path) as store:
        yield store


def put(store: JSONResultStore, path: str, document: bytes = OLD) -> Path:
    directory = store.run_tree / path
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metrics.json").write_bytes(document)
    return directory


def ids(store: JSONResultStore) -> list[str]:
    return [run.id for run in store.scan()]


def test_a_save_is_a_run_directory(store: JSONResultStore) -> None:
    document = b'{"model": "org/name", "engine": "vllm", "timestamp": "2025-06-01T12:00:05+02:00"}'
    content = Attachment("chunk.gz", 2, partial(io.BytesIO, b"ab"))
    run_id = store.save_result(document, attachments=[content])
    directory = store.run_tree / f"org_name/vllm/2025-06-01_100005_{run_id[-8:]}"
    assert (directory / "metrics.json").read_bytes() == document
    assert json.loads((directory / "run.json").read_bytes())["id"] == run_id
    assert (directory / "outputs/chunk.gz").read_bytes() == b"ab"


def test_another_store_sees_runs_at_once(store: JSONResultStore) -> None:
    with JSONResultStore(store.run_tree) as other:
        run_id = store.save_result({"model": "m", "engine": "e"})
        assert other.get_result(run_id) == {"model": "m", "engine": "e"}
        assert other.delete_result(run_id) is True
    assert store.count() == 0
    assert store.get_document(run_id) is None
    assert [path.name for path in store.run_tree.iterdir()] == [".kitt-lock"]


def test_files_of_others_are_runs_at_once(store: JSONResultStore) -> None:
    assert ids(store) == []
    directory = put(store, "org/name/vllm/2025-06-01_120000")
    (directory / "outputs").mkdir()
    (directory / "outputs/results_chunk_0000.jsonl.gz").write_bytes(b"old")
    (run_id,) = ids(store)
    assert store.get_document(run_id) == OLD
    assert store.get_result(run_id) == {"model": "org/name", "engine": "vllm", "results": [], "_id": 1000.0}
    assert [attachment.name for attachment in store.attachments(run_id)] == ["results_chunk_0000.jsonl.gz"]
    (summary,) = store.list_results({"model": "org/*", "id": run_id})
    assert (summary.id, summary.model, summary.engine) == (run_id, "org/name", "vllm")
    with pytest.raises(RunExistsError):
        store.save_result({"model": "m", "engine": "e"}, run_id=run_id)
    assert store.save_result(OLD, run_id=run_id) == run_id
    assert store.delete_result(run_id) is True
    assert not (store.run_tree / "org").exists()


def test_the_id_of_an_older_run_stays_when_the_tree_moves(store: JSONResultStore, tmp_path: Path) -> None:
    put(store, "m/e/2025-06-01_120000")
    before = ids(store)
    shutil.copytree(store.run_tree, tmp_path / "elsewhere/kitt-results")
    with JSONResultStore(tmp_path / "elsewhere") as moved:
        assert ids(moved) == before


def test_a_bad_file_does_not_hide_others(store: JSONResultStore, tmp_path: Path) -> None:
    good = store.save_result({"model": "m", "engine": "e"})
    for name, content in {
        "text": b"not json",
        "array": b"[]",
        "empty": b"",
        "utf16": "{}".encode("utf-16"),
    }.items():
        put(store, f"bad/{name}", content)
    put(store, "bad/bom", b"\xef\xbb\xbf" + OLD)
    (store.run_tree / "bad/directory/metrics.json").mkdir(parents=True)
    (store.run_tree / "bad/link").symlink_to(tmp_path)
    os.mkfifo(put(store, "bad/pipe") / "pipe")
    (store.run_tree / "bad/pipe/metrics.json").unlink()
    (store.run_tree / "bad/pipe/pipe").rename(store.run_tree / "bad/pipe/metrics.json")
    assert {summary.model for summary in store.list_results()} == {"m", "org/name"}
    assert store.count() == 2
    assert store.get_result(good) is not None
    damage = {f.what.split(":")[0] for f in store.verify() if f.severity is Severity.DAMAGE}
    assert damage == {
        "bad/array",
        "bad/empty",
        "bad/text",
        "bad/utf16",
        "bad/pipe/metrics.json is not a regular file",
    }
    notices = [f.what for f in store.verify() if f.severity is Severity.NOTICE and "link" in f.what]
    assert notices == ["bad/link is a link, which is not followed"]
    broken = next(run for run in store.scan() if run.document == b"not json")
    with pytest.raises(InvalidDocumentError):
        store.get_result(broken.id)
    assert store.delete_result(broken.id) is True


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


def test_a_changed_document_is_damage(store: JSONResultStore) -> None:
    run_id = store.save_result({"model": "m", "engine": "e"})
    assert list(store.verify()) == []
    (path,) = store.run_tree.rglob("metrics.json")
    path.write_bytes(OLD)
    (first, *_) = store.verify()
    assert (first.run_id, first.severity) == (run_id, Severity.DAMAGE)
    assert "SHA-256" in first.what


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


def test_a_copied_directory_is_the_same_run(store: JSONResultStore) -> None:
    run_id = store.save_result({"model": "m", "engine": "e"})
    (path,) = store.run_tree.rglob("metrics.json")
    copy = shutil.copytree(path.parent, store.run_tree / "zcopy")
    assert ids(store) == [run_id]
    assert store.count() == len(store.list_results()) == 1
    (finding,) = store.verify()
    assert (finding.run_id, finding.severity) == (run_id, Severity.NOTICE)
    (copy / "metrics.json").write_bytes(OLD)
    assert Severity.DAMAGE in {finding.severity for finding in store.verify()}
    assert store.delete_result(run_id) is True
    assert ids(store) == []


def test_a_remembered_place_is_checked_again(store: JSONResultStore, tmp_path: Path) -> None:
    run_id = store.save_result(
        {"model": "m", "engine": "e"}, attachments=[Attachment("a", 1, lambda: io.BytesIO(b"1"))]
    )
    document = store.get_document(run_id)
    (place,) = (path.parent for path in store.run_tree.rglob("metrics.json"))
    moved = place.rename(store.run_tree / "moved")
    assert store.get_document(run_id) == document
    assert [file.name for file in store.attachments(run_id)] == ["a"]
    shutil.copytree(moved, tmp_path / "outside")
    shutil.rmtree(moved)
    moved.symlink_to(tmp_path / "outside")
    assert store.get_document(run_id) is None
    assert list(store.attachments(run_id)) == []


def test_the_files_of_runs_that_are_scanned_are_found_without_a_walk(
    store: JSONResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        store.save_result({"model": f"m{number}", "engine": "e"})
    with JSONResultStore(store.run_tree) as other:
        runs = list(other.scan())
        monkeypatch.setattr("kitt_json.store.locate", None)
        assert [list(other.attachments(run.id)) for run in runs] == [[]] * 5
        assert [other.get_document(run.id) for run in runs] == [run.document for run in runs]


def test_no_more_places_are_remembered_than_are_needed(
    store: JSONResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitt_json.store._MOST_PLACES", 2)
    ids_ = [store.save_result({"model": f"m{number}", "engine": "e"}) for number in range(4)]
    assert list(store._places) == ids_[2:]
    assert all(store.get_document(run_id) for run_id in ids_)


def test_a_run_that_goes_during_a_scan_is_left_out(store: JSONResultStore) -> None:
    for model in ("a", "b", "c"):
        store.save_result({"model": model, "engine": "e"}, run_id=model)
    seen = []
    for run in store.scan():
        seen.append(run.id)
        store.delete_result("b")
        store.save_result({"model": "later", "engine": "e"})
    assert seen == ["a", "c"]


def test_a_filter_by_id_reads_only_that_document(store: JSONResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        store.save_result({"model": "m", "engine": "e"}, run_id=f"run-{number}")
    read: list[Path] = []
    real = os.open

    def noted(path: Path, *more: int) -> int:
        read.append(Path(path))
        return real(path, *more)

    monkeypatch.setattr(os, "open", noted)
    assert [run.id for run in store.scan({"id": "*-3"})] == ["run-3"]
    assert len([path for path in read if path.name == "metrics.json"]) == 1
    read.clear()
    assert store.get_document("run-3") is not None
    assert [path.name for path in read] == ["run.json", "metrics.json"]


def test_the_tree_is_walked_twice_for_a_query_and_no_document_is_parsed_for_an_import(
    store: JSONResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [check_run({"model": f"m{number:02}", "engine": "e"}) for number in range(20)]
    store.save_checked(runs)
    walks: list[object] = []
    monkeypatch.setattr(os, "scandir", _noting(os.scandir, walks))
    found = store.query({"model": "m*"}, order_by="model", limit=15, offset=2)
    assert [document["model"] for document in found] == [f"m{number:02}" for number in range(2, 17)]
    assert walks.count(str(store.run_tree)) == 2
    assert store.query({"model": "nothing"}) == []
    read: list[object] = []
    monkeypatch.setattr(os, "open", _noting(os.open, read))
    assert len(store.save_unless_stored([check_run(run.document) for run in runs])) == 20
    assert [Path(str(place)).name for place in read if str(store.run_tree) in str(place)] == ["run.json"] * 20


def _noting(real: Callable[..., Any], seen: list[object]) -> Callable[..., Any]:
    def noted(path: object, *more: Any, **named: Any) -> Any:
        seen.append(path)
        return real(path, *more, **named)

    return noted


@pytest.mark.parametrize(
    "model", ["../../x", "/abs", "CON", "x" * 300, "", "a\0b", "\ud800", "metrics.json", "outputs"]
)
def test_no_model_name_leads_out_of_the_tree(store: JSONResultStore, tmp_path: Path, model: str) -> None:
    run_id = store.save_result({"model": model, "engine": model})
    result = store.get_result(run_id)
    assert result is not None
    assert result["model"] == model
    assert [path.name for path in tmp_path.iterdir()] == ["kitt-results"]


def test_where_the_tree_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert JSONResultStore().run_tree == tmp_path / "kitt-results"
    assert JSONResultStore("a/kitt-results").run_tree == tmp_path / "a/kitt-results"
    assert JSONResultStore(tmp_path / "a").location == str(tmp_path / "a/kitt-results")
    relative = JSONResultStore("a")
    monkeypatch.chdir("/")
    relative.initialize()
    relative.initialize()
    assert (tmp_path / "a/kitt-results").is_dir()


def test_reading_creates_nothing(store: JSONResultStore, tmp_path: Path) -> None:
    assert store.get_document("x") is None
    assert store.list_results() == []
    assert list(store.attachments("x")) == []
    assert store.delete_result("x") is False
    assert list(store.verify()) == []
    assert store.schema_status().size_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_a_tree(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/kitt-results").write_text("x")
    for path in (tmp_path / "file", tmp_path / "dir"):
        with pytest.raises(StoreUnavailableError, match="is a file"):
            JSONResultStore(path)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with JSONResultStore(tmp_path / "file/below") as store:
        with pytest.raises(StoreUnavailableError, match="Not a directory"):
            store.save_result({"model": "m", "engine": "e"})
        with pytest.raises(StoreUnavailableError, match="Not a directory"):
            store.count()


def test_a_closed_store_says_so(store: JSONResultStore) -> None:
    store.close()
    store.close()
    for call in (
        lambda: store.get_document("x"),
        store.scan,
        lambda: store.save_result({"model": "m", "engine": "e"}),
    ):
        with pytest.raises(StoreUnavailableError, match="is closed"):
            call()


def test_the_status_counts_bytes_and_older_runs(store: JSONResultStore) -> None:
    store.save_result({"model": "m", "engine": "e"})
    assert store.schema_status().notes == ()
    put(store, "old/e/2025-06-01_120000")
    status = store.schema_status()
    assert status.notes == ("runs without run.json, from an older KITT or another tool: 1",)
    assert status.size_bytes is not None
    assert status.size_bytes > len(OLD)


def test_the_plugin_opens_what_it_recognises(tmp_path: Path) -> None:
    registry: Registry[StorageBackend] = Registry("storage backend", StorageBackend, 1)
    plugin.kitt_register_storage(registry)
    (backend,) = registry
    assert backend.name == "json"
    assert backend.capabilities == JSONResultStore.capabilities
    assert not backend.recognises(tmp_path)
    with backend.open(JSONOptions(tmp_path)) as store:
        store.initialize()
    assert backend.recognises(tmp_path)
    assert backend.recognises(tmp_path / "kitt-results")
    assert not backend.recognises(tmp_path / "missing/kitt-results")
    (tmp_path / "file").write_text("x")
    assert not backend.recognises(tmp_path / "file")


@pytest.mark.skipif(not LEGACY.exists(), reason="the legacy fixtures lie beside the repository, not in it")
def test_a_tree_of_kitt_1_is_read_as_it_is(tmp_path: Path) -> None:
    with tarfile.open(LEGACY) as archive:
        archive.extractall(tmp_path, filter="data")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with JSONResultStore(tmp_path) as store:
        listed = [
            (run.model, run.engine, run.suite_name, run.passed, run.total_benchmarks)
            for run in store.list_results()
        ]
        assert listed == [
            ("Qwen/Qwen2.5-7B-Instruct", "vllm", "standard", True, 6),
            ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "llama_cpp", "standard", True, 6),
            ("01-ai/Yi-1.5-9B", "ollama", "performance", True, 6),
        ]
        (row,) = store.aggregate("engine", "avg_tps", filters={"engine": "vllm"})
        assert row["avg_tps_avg"] == pytest.approx(98.4717, abs=1e-4)
        for run in store.scan():
            assert run.document in before.values()
            assert store.get_document(run.id) == run.document
            (attachment,) = store.attachments(run.id)
            with attachment.open() as file:
                assert file.read(2) == b"\x1f\x8b"
        assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        store.save_result({"model": "new", "engine": "e"})
        assert store.count() == 4


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
