from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kitt_core._builtin import importers
from kitt_core.errors import InputNotFoundError, InvalidDocumentError, RunExistsError, StoreUnavailableError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import ImportCandidate, Importer, PluginManager, Registry
from kitt_core.runs import Attachment, CheckedRun
from kitt_core.service.transfer.importing import ImportReport, find_candidates, import_runs
from kitt_core.storage import Capability
from kitt_core.storage.memory import MemoryStore


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as store:
        yield store


@pytest.fixture
def plugins() -> PluginManager:
    manager = PluginManager(autoload=False)
    manager.register(importers)
    return manager


def document(number: int = 0, **more: Any) -> bytes:
    return json.dumps({"model": f"m{number}", "engine": "e", **more}).encode()


def candidate(data: bytes, source: str = "here", **more: Any) -> ImportCandidate:
    return ImportCandidate(source, lambda: data, **more)


def failing(error: Exception, source: str = "bad") -> ImportCandidate:
    def read() -> bytes:
        raise error

    return ImportCandidate(source, read)


def models(store: MemoryStore) -> list[str | None]:
    return sorted((run.model for run in store.list_results()), key=str)


def reasons(report: ImportReport) -> dict[str, str]:
    return {refusal.source: refusal.reason for refusal in report.refused}


def test_the_same_tree_twice_adds_nothing(store: MemoryStore, plugins: PluginManager, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/metrics.json").write_bytes(document(number))
    first = import_runs(store, find_candidates(plugins, [tmp_path]))
    again = import_runs(store, find_candidates(plugins, [tmp_path]))
    assert (len(first.stored), first.present, first.refused) == (3, [], [])
    assert (again.stored, sorted(again.present), again.refused) == ([], sorted(first.stored), [])
    assert [store.get_document(run_id) for run_id in first.stored] == [document(n) for n in range(3)]


def test_the_same_bytes_are_stored_once_within_a_call(store: MemoryStore) -> None:
    report = import_runs(store, [candidate(document()) for _ in range(5)])
    assert len(report.stored) == 1
    assert report.present == report.stored * 4
    assert store.count() == 1


def test_bytes_that_are_there_under_another_id_are_present(store: MemoryStore) -> None:
    store.save_result(document(), run_id="other")
    assert import_runs(store, [candidate(document(), run_id="mine")]).present == ["other"]


def test_one_bad_file_in_a_thousand_costs_only_itself(
    store: MemoryStore, plugins: PluginManager, tmp_path: Path
) -> None:
    for number in range(1000):
        (tmp_path / f"{number:04}.json").write_bytes(document(number) if number != 500 else b'{"model": 1}')
    report = import_runs(store, find_candidates(plugins, [tmp_path]))
    assert (len(report.stored), store.count()) == (999, 999)
    assert reasons(report) == {str(tmp_path / "0500.json"): "$.model is 1, expected text"}


def test_a_taken_id_refuses_only_its_run(store: MemoryStore) -> None:
    store.save_result(document(9), run_id="taken")
    runs = [candidate(document(n), f"file {n}", run_id="taken" if n == 1 else None) for n in range(3)]
    report = import_runs(store, runs)
    assert models(store) == ["m0", "m2", "m9"]
    assert list(reasons(report)) == ["file 1"]
    assert isinstance(report.refused[0].error, RunExistsError)


def test_what_the_store_refuses_costs_only_its_run() -> None:
    class Narrow(MemoryStore):
        def write_runs(self, checked: Sequence[CheckedRun]) -> None:
            for run in checked:
                if run.rows.run.model == "m5":
                    raise InvalidDocumentError("no room for model m5")
            super().write_runs(checked)

    with Narrow() as store:
        report = import_runs(store, [candidate(document(n), f"file {n}") for n in range(9)])
        assert reasons(report) == {"file 5": "no room for model m5"}
        assert models(store) == [f"m{n}" for n in range(9) if n != 5]


def test_a_file_with_an_odd_name_refuses_only_its_run(store: MemoryStore) -> None:
    files = (Attachment("a\nb.txt", 0, io.BytesIO),)
    report = import_runs(store, [candidate(document(0), "odd", attachments=files), candidate(document(1))])
    assert list(reasons(report)) == ["odd"]
    assert models(store) == ["m1"]


def test_an_id_that_comes_twice_with_other_bytes_is_refused_the_second_time(store: MemoryStore) -> None:
    report = import_runs(store, [candidate(document(n), f"file {n}", run_id="same") for n in range(2)])
    assert (report.stored, list(reasons(report))) == (["same"], ["file 1"])
    assert store.get_document("same") == document(0)


def test_what_cannot_be_read_is_refused_with_its_reason(store: MemoryStore) -> None:
    errors: Sequence[Exception] = (
        PermissionError(13, "Permission denied"),
        InvalidDocumentError("no result", hint="look elsewhere"),
    )
    report = import_runs(store, [*(failing(e, str(i)) for i, e in enumerate(errors)), candidate(document())])
    assert reasons(report) == {"0": "cannot be read: Permission denied", "1": "no result (look elsewhere)"}
    assert store.count() == 1


def test_files_come_along_where_the_store_keeps_them(store: MemoryStore) -> None:
    files = (Attachment("a.gz", 2, lambda: io.BytesIO(b"gz")),)
    report = import_runs(store, [candidate(document(), attachments=files)])
    kept = list(store.attachments(report.stored[0]))
    assert [(file.name, file.open().read()) for file in kept] == [("a.gz", b"gz")]


def test_a_store_without_files_takes_the_document_alone() -> None:
    class Plain(MemoryStore):
        capabilities: ClassVar[frozenset[Capability]] = frozenset()

    files = (Attachment("a.gz", 2, lambda: io.BytesIO(b"gz")),)
    with Plain() as store:
        report = import_runs(store, [candidate(document(), attachments=files)])
        assert (len(report.stored), report.refused) == (1, [])
        assert list(store.attachments(report.stored[0])) == []


def test_a_file_that_cannot_be_opened_refuses_its_run_only(store: MemoryStore, tmp_path: Path) -> None:
    gone = tmp_path / "gone.gz"
    files = (Attachment("gone.gz", 2, lambda: gone.open("rb")),)
    report = import_runs(store, [candidate(document(0), "bad", attachments=files), candidate(document(1))])
    assert reasons(report) == {"bad": "attachment gone.gz cannot be read: No such file or directory"}
    assert models(store) == ["m1"]


def test_each_new_run_is_announced_after_it_is_stored(store: MemoryStore) -> None:
    heard: list[tuple[str, bool]] = []

    def announce(run: CheckedRun) -> None:
        heard.append((run.id, store.get_document(run.id) is not None))

    store.save_result(document(0))
    report = import_runs(store, [candidate(document(n)) for n in range(3)], announce=announce)
    assert heard == [(run_id, True) for run_id in report.stored]
    assert len(heard) == 2


def test_progress_counts_every_document(store: MemoryStore) -> None:
    seen: list[int] = []
    runs = [*(candidate(document(n)) for n in range(250)), failing(InvalidDocumentError("x"))]
    import_runs(store, runs, progress=lambda done, total: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == 251


def test_documents_are_read_a_batch_at_a_time() -> None:
    unsaved: list[int] = []

    class Watched(MemoryStore):
        def write_runs(self, runs: Sequence[CheckedRun]) -> None:
            super().write_runs(runs)
            unsaved.append(len(runs))

    large = "x" * (6 << 20)
    with Watched() as store:
        import_runs(store, (candidate(document(n)) for n in range(250)))
        assert unsaved == [100, 100, 50]
        unsaved.clear()
        import_runs(store, (candidate(document(n, large=large)) for n in range(4)))
        assert max(unsaved) <= 3


def test_a_store_that_fails_ends_the_import_and_keeps_what_it_has() -> None:
    class Full(MemoryStore):
        def write_runs(self, runs: Sequence[CheckedRun]) -> None:
            if self.count() >= 100:
                raise StoreUnavailableError("the disk is full")
            super().write_runs(runs)

    with Full() as store:
        with pytest.raises(StoreUnavailableError):
            import_runs(store, (candidate(document(n)) for n in range(250)))
        assert store.count() == 100


Find = Callable[[Iterable[str | Path]], ImportReport]


@pytest.fixture
def imported(store: MemoryStore, plugins: PluginManager) -> Find:
    return lambda paths: import_runs(store, find_candidates(plugins, paths))


def test_a_missing_path_is_said_before_anything_is_stored(
    store: MemoryStore, imported: Find, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_bytes(document())
    with pytest.raises(InputNotFoundError, match="nope: no such file"):
        imported([tmp_path / "a.json", tmp_path / "nope"])
    assert store.count() == 0


def test_a_path_without_results_is_refused(imported: Find, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "lines.jsonl").write_bytes(b"\n\n")
    (tmp_path / "a.txt").write_bytes(document())
    (tmp_path / "good.json").write_bytes(document())
    names = ["empty", "lines.jsonl", "a.txt", "good.json"]
    report = imported([tmp_path / name for name in names])
    assert [Path(refusal.source).name for refusal in report.refused] == names[:3]
    assert [type(refusal.error) for refusal in report.refused] == [
        InputNotFoundError,
        InputNotFoundError,
        InvalidDocumentError,
    ]
    assert len(report.stored) == 1


def test_standard_input_is_read_where_a_hyphen_is_given(store: MemoryStore, plugins: PluginManager) -> None:
    stream = io.BytesIO(document(1) + b"\n" + document(2) + b"\n" + b"bad\n")
    report = import_runs(store, find_candidates(plugins, ["-"], standard_input=stream))
    assert models(store) == ["m1", "m2"]
    assert list(reasons(report)) == ["standard input:3"]


def test_a_named_pipe_is_read_like_standard_input(store: MemoryStore, imported: Find, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    other_end = threading.Thread(target=pipe.write_bytes, args=(document(7),))
    other_end.start()
    assert len(imported([pipe]).stored) == 1
    other_end.join()
    assert models(store) == ["m7"]


def test_another_importer_is_asked_before_the_one_that_takes_any_json(
    store: MemoryStore, plugins: PluginManager, imported: Find, tmp_path: Path
) -> None:
    class Other:
        @staticmethod
        @hookimpl
        def kitt_register_importer(registry: Registry[Importer]) -> None:
            registry.add(
                Importer(
                    "zebra", lambda path: path.name == "zebra.json", lambda path: iter([candidate(document(5))])
                )
            )

    plugins.register(Other(), "zebra")
    (tmp_path / "zebra.json").write_bytes(document(1))
    imported([tmp_path / "zebra.json"])
    assert models(store) == ["m5"]
