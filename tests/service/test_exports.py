from __future__ import annotations

import io
import json
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from kitt_core._builtin import exporters
from kitt_core.errors import ConfigurationError, PluginError, RunNotFoundError
from kitt_core.files import check_output, replaced_file
from kitt_core.plugins import EXPORTERS, Exporter, PluginManager
from kitt_core.runs import StoredRun
from kitt_core.service.transfer.exporting import (
    choose_exporter,
    export_to_directory,
    export_to_stream,
    select_runs,
)
from kitt_core.storage.memory import MemoryStore

DOCUMENTS = {name: json.dumps({"model": name, "engine": "e"}, indent=3).encode() for name in ("a", "b", "c")}


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as store:
        for name, document in DOCUMENTS.items():
            store.save_result(document, run_id=name)
        yield store


@pytest.fixture
def plugins() -> PluginManager:
    manager = PluginManager(autoload=False)
    manager.register(exporters)
    return manager


@pytest.fixture
def as_json(plugins: PluginManager) -> Exporter:
    return plugins.find(EXPORTERS, "json")


@pytest.fixture
def as_lines(plugins: PluginManager) -> Exporter:
    return plugins.find(EXPORTERS, "jsonl")


@pytest.mark.parametrize(
    ("name", "file", "chosen"),
    [
        (None, None, "json"),
        (None, "out", "json"),
        (None, "out.json", "json"),
        (None, "out.CSV", "csv"),
        (None, "out.md", "markdown"),
        ("jsonl", "out.csv", "jsonl"),
    ],
)
def test_the_format_is_the_named_one_else_that_of_the_extension(
    plugins: PluginManager, name: str | None, file: str | None, chosen: str
) -> None:
    assert choose_exporter(plugins, name, None if file is None else Path(file)).name == chosen


def test_unknown_formats_are_errors_with_the_known_ones(plugins: PluginManager) -> None:
    with pytest.raises(ConfigurationError, match=r"\.txt.*\.csv, \.json"):
        choose_exporter(plugins, None, Path("out.txt"))
    with pytest.raises(PluginError, match="no exporter 'cvs'"):
        choose_exporter(plugins, "cvs", None)


def test_runs_are_selected_by_id_by_value_and_by_both(store: MemoryStore) -> None:
    def ids(*wanted: str, **filters: str) -> list[str]:
        return sorted(run.id for run in select_runs(store, wanted, filters))

    assert ids() == ["a", "b", "c"]
    assert ids("a", "c") == ["a", "c"]
    assert ids(model="b") == ["b"]
    assert ids("a", "b", model="b") == ["b"]


def test_nothing_selected_is_an_error(store: MemoryStore) -> None:
    with pytest.raises(RunNotFoundError, match="no run in memory: matches"):
        list(select_runs(store, filters={"model": "x"}))
    with pytest.raises(RunNotFoundError, match="run x is no longer in memory:"):
        list(select_runs(store, ["a", "x"]))


def test_a_format_of_one_run_writes_its_bytes(store: MemoryStore, as_json: Exporter) -> None:
    stream = io.BytesIO()
    assert export_to_stream(as_json, select_runs(store, ["b"]), stream) == 1
    assert stream.getvalue() == DOCUMENTS["b"]


def test_several_runs_in_a_format_of_one_are_refused_before_anything_is_written(
    store: MemoryStore, as_json: Exporter
) -> None:
    stream = io.BytesIO()
    with pytest.raises(ConfigurationError, match="several runs are selected") as caught:
        export_to_stream(as_json, select_runs(store), stream)
    assert stream.getvalue() == b""
    assert caught.value.hint is not None
    assert "-o DIR/" in caught.value.hint


def test_several_runs_in_another_format_are_streamed_and_counted(store: MemoryStore, as_lines: Exporter) -> None:
    stream = io.BytesIO()
    seen: list[int] = []
    count = export_to_stream(as_lines, select_runs(store), stream, progress=lambda done, total: seen.append(done))
    assert (count, seen) == (3, [1, 2, 3])
    assert sorted(json.loads(line)["model"] for line in stream.getvalue().splitlines()) == ["a", "b", "c"]


def test_a_directory_gets_a_verbatim_file_per_run(store: MemoryStore, as_json: Exporter, tmp_path: Path) -> None:
    target = tmp_path / "new/out"
    assert export_to_directory(as_json, select_runs(store), target) == 3
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        f"{name}.json": document for name, document in DOCUMENTS.items()
    }


def test_an_empty_selection_leaves_no_directory(store: MemoryStore, as_json: Exporter, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        export_to_directory(as_json, select_runs(store, filters={"model": "x"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_fails_leaves_the_file_as_it_was(store: MemoryStore, tmp_path: Path) -> None:
    def write(runs: Iterable[StoredRun], stream: BinaryIO) -> None:
        for run in runs:
            stream.write(run.document)
            raise RuntimeError

    target = tmp_path / "a.bad"
    target.write_bytes(b"before")
    with pytest.raises(PluginError):
        export_to_directory(Exporter("bad", write, ".bad"), select_runs(store, ["a"]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bad"]
    assert target.read_bytes() == b"before"


def test_a_place_that_cannot_be_written_is_named(store: MemoryStore, as_json: Exporter, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="file/out cannot be created: Not a directory"):
        export_to_directory(as_json, select_runs(store), tmp_path / "file/out")
    missing = replaced_file(tmp_path / "missing/f")
    with pytest.raises(ConfigurationError, match="missing/f cannot be written: No such file"), missing:
        pass


def test_a_replaced_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"before")
    target.chmod(0o640)
    link.symlink_to(target)
    with replaced_file(link) as file:
        file.write(b"after")
        assert target.read_bytes() == b"before"
    assert target.read_bytes() == b"after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert link.is_symlink()


def test_a_device_is_written_to_and_not_replaced() -> None:
    null = Path("/dev/null")
    with replaced_file(null) as file:
        file.write(b"gone")
    assert null.is_char_device()


def test_the_store_and_what_is_in_it_is_no_output(tmp_path: Path) -> None:
    database, tree = tmp_path / "runs.db", tmp_path / "kitt-results"
    database.touch()
    tree.mkdir()
    (tmp_path / "link").symlink_to(database)
    (tmp_path / "twin").hardlink_to(database)
    (tmp_path / "way").symlink_to(tree)
    stored = (database, database.with_name("runs.db-wal"), tree)
    for name in (
        "runs.db",
        "x/../runs.db",
        "link",
        "twin",
        "runs.db-wal",
        "kitt-results",
        "kitt-results/m/e",
        "way/f",
    ):
        with pytest.raises(ConfigurationError, match="it belongs to the store"):
            check_output(tmp_path / name, stored)
    for name in ("runs.db2", "kitt-results.csv", "new"):
        check_output(tmp_path / name, stored)


def test_a_run_that_is_called_as_the_store_does_not_overwrite_it(tmp_path: Path, as_json: Exporter) -> None:
    target = tmp_path / "a.json"
    target.write_bytes(b"the store")
    with MemoryStore() as store:
        store.save_result(DOCUMENTS["a"], run_id="a")
        with pytest.raises(ConfigurationError, match="it belongs to the store"):
            export_to_directory(as_json, select_runs(store), tmp_path, store=(target,))
    assert target.read_bytes() == b"the store"
