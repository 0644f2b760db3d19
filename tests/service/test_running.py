from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kitt_core import rundir
from kitt_core.benchmarking.memory import Memory
from kitt_core.benchmarking.runner import RunProgress
from kitt_core.benchmarking.suites import PlannedBenchmark, Suite
from kitt_core.benchmarking.throughput import Throughput
from kitt_core.benchmarking.workload import Workload
from kitt_core.config import Configuration
from kitt_core.engine import Chunk, EngineSession, GenerationRequest
from kitt_core.errors import (
    ConfigurationError,
    EngineError,
    InvalidDocumentError,
    KittError,
    PluginError,
    SchemaMissingError,
    SchemaTooNewError,
    SchemaTooOldError,
    StoreUnavailableError,
)
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager
from kitt_core.runs import CheckedRun, SchemaState, SchemaStatus
from kitt_core.service.run.engine_choice import select_engine
from kitt_core.service.run.running import FinishedRun, RunPlan, perform
from kitt_core.storage import Capability, ResultStore
from kitt_core.storage.memory import MemoryStore

from .scripted_engine import ScriptedPlugin, ScriptedSession

SUITE = Suite("probe", "for tests", (PlannedBenchmark(Throughput(Workload(iterations=3, warmups=1)), runs=2),))
SYSTEM_INFO = {"os": "Linux", "fingerprint": "test-machine"}


class Bench:
    """A manager with a scripted engine, a store and a place for files."""

    def __init__(self, tmp_path: Path) -> None:
        self.plugins = PluginManager(disabled=(), autoload=False)
        self.engine = ScriptedPlugin()
        self.plugins.register(self.engine)
        self.store: ResultStore = MemoryStore()
        self.results = tmp_path / "kitt-results"
        self.suite = SUITE
        self.options: dict[str, str] = {}
        self.labels: dict[str, str] = {}

    def run(self, **named: Any) -> FinishedRun:
        engine = select_engine(Configuration(), self.plugins, name="scripted", options=self.options)
        plan = RunPlan(engine, self.suite, lambda: SYSTEM_INFO, self.results, labels=self.labels)
        return perform(plan, self.store, self.plugins, **named)

    def stored(self) -> int:
        return self.store.count()

    def directories(self) -> list[Path]:
        return [run.directory for run in rundir.find_runs(self.results)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_store_the_file_and_the_run_hold_the_same_bytes(bench: Bench) -> None:
    finished = bench.run()
    document = bench.store.get_document(finished.run.id)
    assert document == finished.run.document == (finished.directory / "metrics.json").read_bytes()
    assert finished.directory == bench.directories()[0]
    identity = json.loads((finished.directory / "run.json").read_bytes())
    stored = next(iter(bench.store.scan()))
    assert (identity["id"], identity["sha256"]) == (stored.id, stored.sha256)
    assert stored.created_at == finished.run.created_at


def test_the_document_says_what_was_run_and_where(bench: Bench) -> None:
    bench.labels = {"commit": "abc"}
    bench.options = {"key": "hunter3"}
    document = json.loads(bench.run().run.document)
    assert (document["engine"], document["model"], document["suite_name"]) == ("scripted", "scripted-1", "probe")
    assert document["system_info"] == SYSTEM_INFO
    assert document["labels"] == {"commit": "abc"}
    assert document["passed"] is True
    assert [entry["run_number"] for entry in document["results"]] == [1, 2]
    assert document["config"]["engine_options"] == {
        "model": "scripted-1",
        "base_url": "http://user:***@localhost/v1",
        "fail_after": None,
        "key": "***",
    }
    assert "hunter" not in json.dumps(document)


def test_samples_are_attached_and_their_temporary_files_gone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    finished = bench.run()
    (attachment,) = bench.store.attachments(finished.run.id)
    with attachment.open() as file:
        assert file.read() == (finished.directory / "outputs" / attachment.name).read_bytes()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("fails", ["write", "close"])
def test_samples_that_cannot_be_written_cost_no_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, fails, full)
    finished = bench.run()
    document = json.loads(finished.run.document)
    assert document["passed"] is True
    assert document["outputs_incomplete"].endswith(": No space left on device")
    assert [file.name for file in bench.store.attachments(finished.run.id)] == []
    assert bench.stored() == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_store_without_attachments_gets_none(bench: Bench) -> None:
    class Plain(MemoryStore):
        capabilities: ClassVar = frozenset({Capability.DELETE})

    bench.store = Plain()
    finished = bench.run()
    assert list(bench.store.attachments(finished.run.id)) == []
    assert list((finished.directory / "outputs").iterdir()) != []


def test_progress_reaches_its_end(bench: Bench) -> None:
    seen: list[RunProgress] = []
    bench.run(on_progress=seen.append)
    assert (seen[-1].requests_done, seen[-1].requests_total) == (8, 8)


def test_listeners_hear_of_the_run_once(bench: Bench) -> None:
    heard: list[tuple[str, str]] = []

    class Listener:
        @hookimpl
        def kitt_run_saved(self, run: CheckedRun, location: str) -> None:
            assert bench.store.get_document(run.id) == run.document
            heard.append((run.id, location))
            raise RuntimeError("a listener's own trouble")

    bench.plugins.register(Listener())
    finished = bench.run()
    assert heard == [(finished.run.id, "memory:")]


@pytest.mark.parametrize(("signals", "reached"), [(1, True), (2, False)])
def test_a_signal_in_a_listener_does_not_hide_where_the_run_is(
    bench: Bench, caplog: pytest.LogCaptureFixture, signals: int, reached: bool
) -> None:
    ended: list[str] = []

    class Slow:
        @hookimpl
        def kitt_run_saved(self, run: CheckedRun) -> None:
            for _ in range(signals):
                signal.raise_signal(signal.SIGINT)
            ended.append(run.id)

    bench.plugins.register(Slow())
    finished = bench.run()
    assert (finished.interrupted, finished.measured.interrupted) == (True, False)
    assert bench.store.get_document(finished.run.id) == finished.run.document
    assert ended == [finished.run.id] * reached
    assert [record.getMessage() for record in caplog.records] == (
        [] if reached else ["a listener was interrupted; the run is stored"]
    )


def test_a_store_over_the_same_tree_writes_the_run_once(bench: Bench) -> None:
    class Tree(MemoryStore):
        run_tree = bench.results

        def write_runs(self, checked: Sequence[CheckedRun]) -> None:
            super().write_runs(checked)
            rundir.write_runs(bench.results, checked)

    bench.store = Tree()
    finished = bench.run()
    assert bench.directories() == [finished.directory]
    assert (finished.directory / "outputs").is_dir()


def test_an_engine_that_cannot_be_opened_leaves_nothing(bench: Bench) -> None:
    bench.engine.opening = EngineError("no server at http://localhost")
    with pytest.raises(EngineError, match="no server"):
        bench.run()
    assert bench.stored() == 0
    assert not bench.results.exists()


def test_what_a_stranger_raises_while_opening_is_the_engines_error(bench: Bench) -> None:
    bench.engine.opening = ZeroDivisionError("by\nzero")
    with pytest.raises(EngineError, match="engine scripted failed: ZeroDivisionError: by zero"):
        bench.run()


def test_failing_requests_are_a_result(bench: Bench) -> None:
    bench.options = {"fail_after": "5"}
    finished = bench.run()
    assert not finished.measured.passed
    document = json.loads(finished.run.document)
    assert [entry["passed"] for entry in document["results"]] == [True, False]
    assert "the server went away" in document["results"][1]["errors"][0]
    assert bench.stored() == 1


class InterruptedSession(EngineSession):
    """The user presses Ctrl-C while the third request is answered."""

    model = "interrupted"

    def __init__(self) -> None:
        self.requests = 0

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        self.requests += 1
        if self.requests == 3:
            raise KeyboardInterrupt
        yield Chunk("word", tokens=1)


def test_an_interruption_keeps_what_was_measured(bench: Bench) -> None:
    bench.engine.session = lambda _: InterruptedSession()
    finished = bench.run()
    assert finished.measured.interrupted
    assert json.loads(finished.run.document)["stopped"] == "interrupted"
    assert bench.stored() == 1


def test_an_engine_that_cannot_say_goodbye_or_who_it_is_costs_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.engine.closing = RuntimeError("bye")
    loop: dict[str, Any] = {}
    loop["self"] = loop
    bench.engine.description = loop
    finished = bench.run()
    assert json.loads(finished.run.document)["engine_info"] == {"name": "scripted"}
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "engine scripted cannot describe itself",
        "engine scripted did not close",
    ]


class Strange(ScriptedSession):
    """Names its model with a number, and reports memory in a type of its own."""

    def __init__(self, options: Any, reading: object) -> None:
        super().__init__(options, {"deep": nested(600)}, None)
        self.model = 7  # type: ignore[assignment]
        self.reading = reading

    def memory_gb(self) -> Mapping[str, float]:
        return {"gpu_memory_gb": self.reading}  # type: ignore[dict-item]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_what_an_engine_says_wrongly_of_itself_is_no_reason_to_lose_the_run(bench: Bench) -> None:
    bench.engine.session = lambda options: Strange(options, 1.0)
    document = json.loads(bench.run().run.document)
    assert (document["model"], document["engine_info"]) == ("7", {"name": "scripted"})
    assert bench.stored() == 1


def test_a_document_that_no_store_takes_is_kept_in_a_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reading(float):
        def __round__(self, digits: Any = None) -> Any:  # what numpy's float32 would do: no JSON
            return Decimal(self)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bench.engine.session = lambda options: Strange(options, Reading(1.5))
    bench.suite = Suite("probe", "", (PlannedBenchmark(Memory(Workload(iterations=1, warmups=0))),))
    with pytest.raises(
        InvalidDocumentError, match="the run was measured but cannot be stored: TypeError"
    ) as caught:
        bench.run()
    (kept,) = tmp_path.glob("kitt-*.json")
    assert str(kept) in (caught.value.hint or "")
    assert json.loads(kept.read_bytes())["results"][0]["test_name"] == "memory"
    assert (bench.stored(), bench.directories()) == (0, [])


class Refusing(MemoryStore):
    """Is well until something is saved."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreUnavailableError("the disk is full", hint="free some space"), "the disk is full"),
        (ValueError("a defect"), "ValueError: a defect"),
    ],
)
def test_a_store_that_refuses_leaves_the_files_and_says_how_to_import_them(
    bench: Bench, error: Exception, reason: str
) -> None:
    bench.store = Refusing(error)
    bench.results = bench.results.with_name("my results")
    with pytest.raises(StoreUnavailableError) as caught:
        bench.run()
    (directory,) = bench.directories()
    assert caught.value.message == f"the run was measured but is not stored: {reason}"
    assert caught.value.hint is not None
    assert f"`kitt storage import '{directory}'`" in caught.value.hint
    assert caught.value.exit_code == 4


def test_a_store_over_the_tree_that_refuses_leaves_the_document_elsewhere(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RefusingTree(Refusing):
        run_tree = bench.results

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bench.store = RefusingTree(StoreUnavailableError("full"))
    with pytest.raises(StoreUnavailableError) as caught:
        bench.run()
    (rescued,) = tmp_path.glob("kitt-*.json")
    assert str(rescued) in str(caught.value.hint)
    assert json.loads(rescued.read_bytes())["model"] == "scripted-1"


def test_files_that_cannot_be_written_do_not_keep_the_run_from_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(root: Path, run: CheckedRun) -> Path:
        del run
        raise StoreUnavailableError(f"{root} cannot be written to: No space left on device")

    monkeypatch.setattr(rundir, "write_run", full)
    with pytest.raises(StoreUnavailableError, match="is in memory:, but its files could not be written"):
        bench.run()
    assert bench.stored() == 1


class Stated(MemoryStore):
    """A store whose schema is in some state."""

    def __init__(self, state: SchemaState, error: Exception, *, prepares: bool = False) -> None:
        super().__init__()
        self.state = state
        self.error = error
        self.prepares = prepares

    def prepares_itself(self, status: SchemaStatus) -> bool:
        assert status.state is self.state
        return self.prepares

    def schema_status(self) -> SchemaStatus:
        return SchemaStatus(version=1, newest=12, state=self.state)

    def get_document(self, run_id: str) -> bytes | None:
        del run_id
        raise self.error


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (SchemaState.NEW, SchemaTooNewError("newer")),
        (SchemaState.OLD, SchemaTooOldError("older")),
        (SchemaState.MISSING, SchemaMissingError("no tables")),
        (SchemaState.CURRENT, StoreUnavailableError("gone")),
    ],
)
def test_an_unusable_store_is_found_out_before_anything_is_measured(
    bench: Bench, state: SchemaState, error: KittError
) -> None:
    bench.store = Stated(state, error)
    with pytest.raises(type(error)) as caught:
        bench.run()
    assert caught.value.exit_code == 4
    assert bench.engine.opened == []


def test_a_store_that_cannot_be_made_is_found_out_before_measuring(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    class Misplaced(MemoryStore):
        paths = (tmp_path / "file/runs.db",)

    bench.store = Misplaced()
    with pytest.raises(StoreUnavailableError, match=r"memory: cannot be written: .*file is not a directory"):
        bench.run()
    assert bench.engine.opened == []


@pytest.mark.parametrize("state", [SchemaState.OLD, SchemaState.MISSING])
def test_a_store_that_makes_itself_ready_is_not_read_before_the_save(bench: Bench, state: SchemaState) -> None:
    bench.store = Stated(state, AssertionError("read before the save"), prepares=True)
    finished = bench.run()
    assert finished.directory.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_found_out_before_anything_is_measured(bench: Bench) -> None:
    bench.results.parent.chmod(0o500)
    with pytest.raises(StoreUnavailableError, match="is not writable"):
        bench.run()
    assert bench.engine.opened == []


def test_a_file_in_the_directorys_place_is_found_out_before_anything_is_measured(bench: Bench) -> None:
    bench.results.write_text("no directory")
    with pytest.raises(StoreUnavailableError, match="is not a directory"):
        bench.run()
    assert bench.engine.opened == []


def selection(tmp_path: Path, **named: Any) -> dict[str, tuple[Any, str]]:
    plugins = PluginManager(disabled=(), autoload=False)
    plugins.register(ScriptedPlugin())
    file = tmp_path / "kitt.toml"
    tables = {
        "run": {"engine": "scripted", "model": "from-file", "base_url": "http://file"},
        "engines": {"scripted": {"fail_after": 7}},
    }
    configuration = Configuration(((file, tables),), {"SCRIPTED_KEY": "secret", "KITT_RUN_MODEL": "from-env"})
    found = select_engine(configuration, plugins, **named)
    given = {name: (setting.value, setting.origin) for name, setting in found.settings.items()}
    return {"engine": (found.engine.name, found.name.origin), **given}


def test_engine_options_come_from_flags_then_environment_then_files(tmp_path: Path) -> None:
    file = str(tmp_path / "kitt.toml")
    assert selection(tmp_path) == {
        "engine": ("scripted", file),
        "model": ("from-env", "KITT_RUN_MODEL"),
        "base_url": ("http://file", file),
        "fail_after": (7, file),
        "key": ("secret", "SCRIPTED_KEY"),
    }
    flags = selection(tmp_path, model="from-flag", options={"fail_after": "1"})
    assert flags["model"] == ("from-flag", "flag")
    assert flags["fail_after"] == ("1", "flag")


def test_a_base_url_counts_only_for_engines_that_have_one(tmp_path: Path) -> None:
    assert "base_url" not in selection(tmp_path, name="other")
    with pytest.raises(ConfigurationError, match="engine other has no option base_url") as caught:
        selection(tmp_path, name="other", base_url="http://x")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"name": "nothing"}, PluginError),
        ({"options": {"fial_after": "1"}}, ConfigurationError),
        ({"options": {"fail_after": "soon"}}, ConfigurationError),
    ],
)
def test_engines_and_options_that_do_not_exist(
    tmp_path: Path, named: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        selection(tmp_path, **named)
