"""What is particular to trees: older KITTs' layouts, files of others, names."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core.errors import InvalidDocumentError, RunExistsError, StoreUnavailableError
from kitt_core.plugins import Registry
from kitt_core.runs import Attachment, Severity, check_run
from kitt_core.storage import StorageBackend
from kitt_json import plugin
from kitt_json.options import JSONOptions
from kitt_json.store import JSONResultStore

LEGACY = Path(__file__).parents[4] / "shared/legacy/flat_results.tar.gz"
OLD = b'{\r\n  "model": "org/name", "engine": "vllm", "results": [], "_id": 1.0e3\r\n}'


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


def test_a_changed_document_is_damage(store: JSONResultStore) -> None:
    run_id = store.save_result({"model": "m", "engine": "e"})
    assert list(store.verify()) == []
    (path,) = store.run_tree.rglob("metrics.json")
    path.write_bytes(OLD)
    (first, *_) = store.verify()
    assert (first.run_id, first.severity) == (run_id, Severity.DAMAGE)
    assert "SHA-256" in first.what


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
