from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from kitt_core.benchmarking import LEAST_PROMPT_CHARACTERS
from kitt_core.cli.app import main
from kitt_core.cli.invocation import State
from kitt_core.config import RUN_DEFAULTS
from kitt_core.engine import Chunk, Engine, EngineSession, GenerationRequest, Usage
from kitt_core.errors import EngineError, SchemaTooOldError, StoreUnavailableError
from kitt_core.fingerprint import FingerprintSource
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager, Registry
from kitt_core.runs import CheckedRun
from kitt_core.storage import StorageBackend
from kitt_core.storage.memory import MemoryStore

from .conftest import Kitt, Terminal


@frozen
class EchoOptions:
    model: str = "echo-1"
    answers: int = 10_000


@frozen
class ServerOptions(EchoOptions):
    base_url: str = "http://localhost:1"


@frozen
class NoOptions:
    pass


class EchoSession(EngineSession):
    def __init__(self, options: EchoOptions) -> None:
        self.model = options.model
        self.left = options.answers

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        if not self.left:
            raise EngineError("the server went away")
        self.left -= 1
        yield Chunk("word ", tokens=1)
        yield Chunk("word", tokens=1, usage=Usage(1, 2))


class OneStore(MemoryStore):
    """The store of one test; closing it forgets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.save_error: Exception | None = None
        self.read_error: Exception | None = None

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        if self.save_error is not None:
            raise self.save_error
        super().write_runs(checked)

    def get_document(self, run_id: str) -> bytes | None:
        if self.read_error is not None:
            raise self.read_error
        return super().get_document(run_id)

    def close(self) -> None:
        pass


class Plugin:
    """The engines ``echo``, ``server`` and ``gone``, and the backend ``one``."""

    def __init__(self) -> None:
        self.store = OneStore()
        self.opened: list[Any] = []

    async def open(self, options: Any) -> EngineSession:
        self.opened.append(options)
        return EchoSession(options)

    async def fail(self, options: Any) -> EngineSession:
        raise EngineError(f"no server at {options.base_url}", hint="start it")

    @hookimpl
    def kitt_register_engine(self, registry: Registry[Engine]) -> None:
        registry.add(Engine(name="echo", open=self.open, options=EchoOptions))
        registry.add(Engine(name="server", open=self.open, options=ServerOptions))
        registry.add(Engine(name="gone", open=self.fail, options=ServerOptions))

    @hookimpl
    def kitt_register_storage(self, registry: Registry[StorageBackend]) -> None:
        registry.add(StorageBackend(name="one", open=lambda _: self.store, options=NoOptions))


@pytest.fixture
def plugin(plugins: PluginManager, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    monkeypatch.setenv("KITT_BACKEND", "one")
    monkeypatch.setenv("KITT_RUN_ENGINE", "echo")
    plugin = Plugin()
    plugins.register(plugin)
    return plugin


def test_a_run_is_shown_with_its_id_and_where_it_is(kitt: Kitt, plugin: Plugin) -> None:
    answer = kitt("run")
    assert (answer.code, answer.err) == (0, "")
    (run,) = plugin.store.scan()
    lines = answer.out.splitlines()
    assert lines[0] == "benchmark\trun\tstatus\tmetrics"
    assert [line.split("\t")[:3] for line in lines[1:5]] == [
        ["warmup_analysis", "1", "passed"],
        ["throughput", "1", "passed"],
        ["latency", "1", "passed"],
        ["memory", "1", "skipped"],
    ]
    assert "avg_tps" in lines[2]
    (metrics,) = Path("kitt-results").rglob("metrics.json")
    assert lines[5:] == [f"run     {run.id}", "stored  memory:", f"files   {metrics.parent}"]
    assert metrics.read_bytes() == run.document


def test_a_terminal_gets_a_table(plugins: PluginManager, plugin: Plugin, terminal: Terminal) -> None:
    state = State()
    state.plugins = plugins
    with redirect_stdout(terminal):
        assert main(["run"], state=state) == 0
    (run,) = plugin.store.scan()
    assert "throughput" in terminal.text()
    assert terminal.text().splitlines()[-3] == f"run     {run.id}"


def test_json_is_one_object_with_every_metric(kitt: Kitt, plugin: Plugin) -> None:
    answer = kitt("run", "--format", "json", "--label", "commit=abc", "-m", "echo-2", "--results-dir", "out")
    shown = json.loads(answer.out)
    (run,) = plugin.store.scan()
    assert (shown["id"], shown["location"], shown["passed"]) == (run.id, "memory:", True)
    assert Path(shown["directory"], "metrics.json").read_bytes() == run.document
    assert shown["directory"].startswith("out/echo-2/echo/")
    document = json.loads(run.document)
    assert (document["model"], document["labels"]) == ("echo-2", {"commit": "abc"})
    latency = next(found for found in shown["benchmarks"] if found["benchmark"] == "latency")
    assert latency["metrics"]["ttft_ms.p50"] == document["results"][2]["metrics"]["ttft_ms"]["p50"]


def test_csv_is_a_row_per_metric(kitt: Kitt, plugin: Plugin) -> None:
    rows = list(csv.DictReader(io.StringIO(kitt("run", "--format", "csv").out)))
    (run,) = plugin.store.scan()
    expected = json.loads(run.document)["results"][1]["metrics"]["avg_tps"]
    found = next(row for row in rows if row["metric"] == "avg_tps")
    assert (found["benchmark"], found["run"], found["status"]) == ("throughput", "1", "passed")
    assert float(found["value"]) == expected


def test_the_table_may_go_to_a_file(kitt: Kitt, plugin: Plugin) -> None:
    answer = kitt("run", "-o", "table.txt")
    (run,) = plugin.store.scan()
    assert "throughput" in Path("table.txt").read_text()
    assert answer.out.splitlines()[0] == f"run     {run.id}"


def test_a_file_that_cannot_be_written_in_the_end_hides_no_run(
    kitt: Kitt, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitt_core.files.check_writable", lambda path: None)
    answer = kitt("run", "-o", "nowhere/run.json")
    assert answer.code == 2
    error, hint = answer.err.splitlines()
    assert re.match(r"error: run [0-9a-f-]{36} is stored, but nowhere/run.json cannot be written: ", error)
    assert re.match(r"hint: `kitt storage show [0-9a-f-]{36}` shows it", hint)


def test_a_source_of_the_fingerprint_that_fails_is_a_warning(
    kitt: Kitt, plugin: Plugin, plugins: PluginManager
) -> None:
    def broken() -> dict[str, Any]:
        raise OSError("no such sensor")

    class Sensors:
        @hookimpl
        def kitt_register_fingerprint(self, registry: Registry[FingerprintSource]) -> None:
            registry.add(FingerprintSource(name="host", collect=lambda: {"os": "Linux"}))
            registry.add(FingerprintSource(name="sensor", collect=broken))

    plugins.register(Sensors())
    answer = kitt("run")
    assert (answer.code, answer.err) == (
        0,
        "warning: the fingerprint is incomplete: sensor: OSError: no such sensor\n",
    )
    (run,) = plugin.store.scan()
    assert json.loads(run.document)["system_info"]["os"] == "Linux"


class Hardware:
    """A source of the fingerprint that counts how often it is asked."""

    def __init__(self, **sections: Any) -> None:
        self.asked = 0
        self.sections = sections

    def collect(self) -> dict[str, Any]:
        self.asked += 1
        return self.sections

    @hookimpl
    def kitt_register_fingerprint(self, registry: Registry[FingerprintSource]) -> None:
        registry.add(FingerprintSource(name="hardware", collect=self.collect))


def test_the_hardware_is_read_once_and_only_when_the_engine_is_there(
    kitt: Kitt, plugin: Plugin, plugins: PluginManager
) -> None:
    hardware = Hardware(os="Linux")
    plugins.register(hardware)
    assert kitt("run", "-e", "gone").code != 0
    assert hardware.asked == 0
    assert kitt("run").code == 0
    assert hardware.asked == 1


def test_a_repository_that_is_there_needs_no_fingerprint_and_a_new_one_does(
    kitt: Kitt, plugin: Plugin, plugins: PluginManager
) -> None:
    hardware = Hardware(os="Linux")
    plugins.register(hardware)
    opened = with_karr(plugins, OneStore())
    Path("there").mkdir()
    Path("there/HEAD").touch()
    for arguments, asked in ((["there"], 0), (["new"], 1), ([], 2)):
        assert kitt("run", "-e", "gone", "--store-karr", *arguments).code != 0
        assert hardware.asked == asked
    assert [bool(options.fingerprint) for options in opened] == [False, True, True]
    assert kitt("run", "--store-karr").code == 0
    assert hardware.asked == 3, "once for the name and for the document"


def test_what_the_sources_say_is_told_to_who_wants_to_know(
    kitt: Kitt, plugin: Plugin, plugins: PluginManager
) -> None:
    plugins.register(Hardware(os="Linux", remarks=["the disk cannot be read"]))
    assert kitt("run").err == ""
    assert "the fingerprint: hardware: the disk cannot be read" in kitt("-v", "run").err


def test_a_value_of_the_fingerprint_that_no_store_takes_is_left_out_and_the_run_is_stored(
    kitt: Kitt, plugin: Plugin, plugins: PluginManager
) -> None:
    plugins.register(Hardware(os="Linux", ram_gb="64"))
    answer = kitt("run")
    assert answer.code == 0
    assert answer.err.startswith("warning: the fingerprint is incomplete: hardware: ram_gb is left out: ")
    (run,) = plugin.store.scan()
    assert "ram_gb" not in json.loads(run.document)["system_info"]


def test_runs_and_warmups_may_be_changed(kitt: Kitt, plugin: Plugin) -> None:
    shown = json.loads(kitt("run", "--runs", "2", "--skip-warmup", "--format", "json").out)
    assert [found["run"] for found in shown["benchmarks"]] == [1, 1, 2, 1, 2, 1, 2]
    (run,) = plugin.store.scan()
    assert json.loads(run.document)["config"]["skip_warmup"] is True


def test_a_suite_may_be_changed_and_the_document_says_how(kitt: Kitt, plugin: Plugin) -> None:
    options = ["--requests", 5, "--max-tokens", 7, "--prompt-characters", 64, "--concurrency", 3, "--seconds", 9]
    chosen = ["--benchmark", "latency", "--benchmark", "throughput"]
    answer = kitt("run", "-s", "standard", *chosen, *options, "--format", "json")
    assert [found["benchmark"] for found in json.loads(answer.out)["benchmarks"]] == ["throughput", "latency"]
    (run,) = plugin.store.scan()
    document = json.loads(run.document)
    assert document["suite_name"] == "standard"
    given = {"requests": 5, "max_tokens": 7, "prompt_characters": 64, "concurrency": 3, "seconds": 9.0}
    assert document["config"]["overrides"] == {"benchmarks": ["throughput", "latency"], **given}
    for entry in document["results"]:
        assert entry["metrics"]["total_iterations"] == 5
        settings = {name: entry["settings"][name] for name in ("iterations", "max_tokens", "prompt_characters")}
        assert settings == {"iterations": 5, "max_tokens": 7, "prompt_characters": 64}


def test_the_shortest_prompt_is_what_a_workload_takes(kitt: Kitt, plugin: Plugin) -> None:
    assert kitt("run", "--prompt-characters", LEAST_PROMPT_CHARACTERS).code == 0
    assert kitt("run", "--prompt-characters", LEAST_PROMPT_CHARACTERS - 1).code == 2


def test_nothing_is_said_of_changes_where_there_are_none(kitt: Kitt, plugin: Plugin) -> None:
    kitt("run")
    (run,) = plugin.store.scan()
    assert "overrides" not in json.loads(run.document)["config"]


def test_a_busy_load_generator_is_warned_of_once(
    kitt: Kitt, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EchoSession, "remote", True)
    monkeypatch.setattr("kitt_core.benchmarking.load.BUSY", 0)  # how busy it is here is not for a test to say
    monkeypatch.setattr("kitt_core.benchmarking.load._SHORTEST_WATCHED", 0)  # nor how long an echo takes
    answer = kitt("run")
    assert answer.code == 0
    (warning,) = answer.err.splitlines()
    assert re.match(
        r"warning: warmup_analysis: the load generator was busy \d+% of the time: .* \(and 2 more benchmarks\)$",
        warning,
    )
    (run,) = plugin.store.scan()
    entry = json.loads(run.document)["results"][1]
    assert entry["warnings"]
    assert entry["metrics"]["client_busy_share"] > 0
    assert kitt("-q", "run").err == ""


def test_a_benchmark_that_is_skipped_says_why(kitt: Kitt, plugin: Plugin) -> None:
    options = ["-s", "standard", "--benchmark", "streaming_latency"]
    reason = "the engine answers one request at a time, which latency measures"
    answer = kitt("run", *options)
    assert f"streaming_latency\t1\tskipped\t{reason}" in answer.out
    assert answer.code == 1, "nothing was measured"
    assert f"nothing was measured: every benchmark was skipped: {reason}" in answer.err
    (summary,) = Path("kitt-results").rglob("summary.md")
    assert "**Status:** FAILED (0/1, 1 skipped)" in summary.read_text()
    assert "| streaming_latency | 1 | SKIP | - |" in summary.read_text()
    assert f"- Skipped: {reason}" in summary.read_text()
    assert json.loads(kitt("run", *options, "--format", "json").out)["benchmarks"][0]["skipped"] == reason


def test_a_failed_benchmark_is_stored_and_exit_1(kitt: Kitt, plugin: Plugin) -> None:
    answer = kitt("run", "--engine-option", "answers=20", "--runs", "1")
    assert answer.code == 1
    (run,) = plugin.store.scan()
    error, hint = answer.err.splitlines()
    assert error == (
        "error: the run ended early: latency: no request was answered; gave up after 3 failures in a row;"
        " 17 requests were not sent; warm-up 1: the server went away"
    )
    assert hint == f"hint: `kitt storage show {run.id}` shows what happened"
    assert "throughput\t1\tfailed" in answer.out


def test_an_engine_that_cannot_be_reached_is_exit_1_and_nothing_is_stored(kitt: Kitt, plugin: Plugin) -> None:
    answer = kitt("run", "-e", "gone", "--base-url", "http://localhost:9")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "error: no server at http://localhost:9\nhint: start it\n"
    assert plugin.store.count() == 0
    assert not Path("kitt-results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-e", "ehco"], "no engine 'ehco'"),
        (["-s", "quikc"], "no suite 'quikc'"),
        (["--base-url", "http://x"], "engine echo has no option base_url"),
        (["--engine-option", "anwsers=1"], "engine echo has no option 'anwsers'"),
        (["--engine-option", "answers=few"], "option answers of engine echo is 'few', expected a whole number"),
        (["--engine-option", "answers"], "'answers' is not KEY=VALUE"),
        (["--label", "=x"], "'=x' is not KEY=VALUE"),
        (["--label", "a=1", "--label", "a=2"], "a is given twice"),
        (["--label", f"a={'x' * 1001}"], "$.labels.a has 1001 characters, expected at most 1000"),
        (["--engine-name", "x" * 1001], "$.engine has 1001 characters, expected at most 1000"),
        (["--runs", "0"], "0 is not in the range"),
        (["--requests", "0"], "0 is not in the range"),
        (["--requests", "many"], "'many' is not a valid integer"),
        (["--concurrency", "-1"], "-1 is not in the range"),
        (["--concurrency", "100000"], "100000 is not in the range"),
        (["--max-tokens", "0"], "0 is not in the range"),
        (["--prompt-characters", "31"], "31 is not in the range"),
        (["--seconds", "0"], "0.0 is not in the range"),
        (["--seconds", "nan"], "nan is not a number of seconds"),
        (["--seconds", "inf"], "inf is not a number of seconds"),
        (["--benchmark", "latencyy"], "suite quick has no benchmark 'latencyy'"),
        (["--format", "xml"], "'xml' is not one of"),
        (["-o", "nowhere/run.json"], "nowhere/run.json cannot be written: No such file or directory"),
        (["-o", "."], ". cannot be written: Is a directory"),
        (["-m", ""], "--model is empty"),
        (["--results-dir", ""], "--results-dir is empty"),
        (["extra"], "unexpected extra argument"),
    ],
)
def test_bad_use_is_exit_2_and_nothing_is_measured(
    kitt: Kitt, plugin: Plugin, arguments: list[str], message: str
) -> None:
    answer = kitt("run", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err.splitlines()[0]
    assert plugin.opened == []


def test_the_help_names_the_defaults(kitt: Kitt) -> None:
    text = " ".join(kitt("run", "--help").out.split())
    assert [value for value in RUN_DEFAULTS.values() if f"[{value}]" not in text] == []


def test_settings_come_from_the_projects_file(kitt: Kitt, plugin: Plugin) -> None:
    Path("kitt.toml").write_text(
        '[run]\nmodel = "from-file"\nresults_dir = "there"\n[engines.echo]\nanswers = 5000\n'
    )
    assert json.loads(kitt("run", "--format", "json").out)["directory"].startswith("there/from-file/")
    assert plugin.opened == [EchoOptions(model="from-file", answers=5000)]


def test_a_store_that_cannot_be_used_is_exit_4_before_anything_is_measured(kitt: Kitt, plugin: Plugin) -> None:
    plugin.store.read_error = SchemaTooOldError("too old", hint="kitt storage migrate")
    answer = kitt("run")
    assert (answer.code, answer.out, answer.err) == (4, "", "error: too old\nhint: kitt storage migrate\n")
    assert plugin.opened == []


def test_a_store_that_refuses_the_result_is_exit_4_and_the_files_stay(kitt: Kitt, plugin: Plugin) -> None:
    plugin.store.save_error = StoreUnavailableError("the disk is full")
    answer = kitt("run")
    (metrics,) = Path("kitt-results").rglob("metrics.json")
    assert (answer.code, answer.out) == (4, "")
    assert answer.err.splitlines() == [
        "error: the run was measured but is not stored: the disk is full",
        f"hint: `kitt storage import {metrics.parent}` stores it later",
    ]


def test_an_interruption_stores_what_was_measured_and_is_exit_130(
    kitt: Kitt, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(self: EchoSession, request: GenerationRequest) -> AsyncIterator[Chunk]:
        self.left -= 1
        if self.left < 9_985:
            raise KeyboardInterrupt
        yield Chunk("word", tokens=1)

    monkeypatch.setattr(EchoSession, "stream", interrupted)
    answer = kitt("run", "--format", "json")
    assert answer.code == 130
    assert answer.err.startswith("error: interrupted; what was measured until then is stored\n")
    assert json.loads(answer.out)["stopped"] == "interrupted"
    assert plugin.store.count() == 1


@pytest.mark.long  # .ci/run does the same with its second command, and compares the same bytes
def test_no_option_runs_on_a_fresh_machine(home: Path) -> None:
    pytest.importorskip("kitt_engines")
    pytest.importorskip("kitt_sqlite")
    command = [sys.executable, "-m", "kitt_core", "run", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["location"].endswith(str(home / "kitt.db"))
    from kitt_core import open_store

    with open_store("sqlite", path=home / "kitt.db") as store:
        assert store.get_document(shown["id"]) == Path(shown["directory"], "metrics.json").read_bytes()


def with_karr(plugins: PluginManager, store: OneStore) -> list[Any]:
    """Register a backend ``karr`` that gives ``store``; the list gets the options it was opened with."""

    @frozen
    class Options:
        path: Path | None = None
        fingerprint: str = ""

    opened: list[Any] = []

    def open_store(options: Any) -> OneStore:
        opened.append(options)
        return store

    class Backend:
        @hookimpl
        def kitt_register_storage(self, registry: Registry[StorageBackend]) -> None:
            registry.add(StorageBackend(name="karr", open=open_store, options=Options))

    plugins.register(Backend())
    return opened


def test_store_karr_stores_the_same_bytes_there_as_well(
    kitt: Kitt, plugin: Plugin, plugins: PluginManager
) -> None:
    karr = OneStore()
    opened = with_karr(plugins, karr)
    answer = kitt("run", "--store-karr", "there")
    assert (answer.code, answer.err) == (0, "")
    (run,), (copy,) = plugin.store.scan(), karr.scan()
    assert (copy.id, copy.document) == (run.id, run.document)
    assert opened[0].path == Path("there"), "which is not there yet"
    assert opened[0].fingerprint == json.loads(run.document)["system_info"].get("fingerprint", "")
    assert f"karr\t{karr.location}" in answer.out or f"karr    {karr.location}" in answer.out


def test_store_karr_without_a_path_leaves_the_place_to_the_backend(
    kitt: Kitt, plugin: Plugin, plugins: PluginManager
) -> None:
    karr = OneStore()
    opened = with_karr(plugins, karr)
    answer = kitt("run", "--store-karr", "--format", "json")
    assert (answer.code, opened[0].path) == (0, None)
    assert json.loads(answer.out)["karr"] == karr.location


def test_a_run_that_karr_refuses_is_stored_all_the_same(
    kitt: Kitt, plugin: Plugin, plugins: PluginManager
) -> None:
    karr = OneStore()
    karr.save_error = StoreUnavailableError("the branch is locked", hint="wait")
    with_karr(plugins, karr)
    answer = kitt("run", "--store-karr", "--format", "json")
    (run,) = plugin.store.scan()
    shown = json.loads(answer.out)
    assert (answer.code, shown["id"], shown["karr"]) == (4, run.id, None)
    error, hint = answer.err.splitlines()
    assert error == f"error: the run is stored, but not in {karr.location}: the branch is locked"
    assert f"storage import {shown['directory']}` adds it later; wait" in hint


def test_karr_is_looked_at_before_anything_is_measured(kitt: Kitt, plugin: Plugin, plugins: PluginManager) -> None:
    karr = OneStore()
    karr.read_error = StoreUnavailableError("no repository there", hint="name one")
    with_karr(plugins, karr)
    answer = kitt("run", "--store-karr")
    assert (answer.code, answer.err) == (4, "error: no repository there\nhint: name one\n")
    assert plugin.opened == []
    assert plugin.store.count() == 0


def test_store_karr_without_the_plugin_is_one_line_before_anything_is_measured(kitt: Kitt, plugin: Plugin) -> None:
    answer = kitt("run", "--store-karr")
    assert answer.code == 2
    error, hint = answer.err.splitlines()
    assert "karr" in error
    assert "pip install kitt-karr" in hint
    assert plugin.opened == []
