"""The harness measures what it says; nothing here depends on how fast anything is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks import startup
from benchmarks.__main__ import main
from benchmarks.cases import CASES, Bench, Case, opened
from benchmarks.floor import Floor
from benchmarks.report import Goal, case_section, figures_document, goals_section, markdown_table, text_table
from benchmarks.timing import Figures, Sides, cpu_clock, figures, run_rounds, timed_round
from benchmarks.workload import (
    ENGINES,
    METRIC,
    METRICS_PER_RESULT,
    MODELS,
    RESULTS_PER_RUN,
    run_document,
    write_run_files,
)
from kitt_core import open_store
from kitt_core.runs import derive_rows

TINY = 3


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path, TINY, large_size=TINY, cache=tmp_path / "cache") as bench:
        yield bench


def test_a_number_always_gives_the_same_document() -> None:
    for number in range(5):
        assert json.dumps(run_document(number)) == json.dumps(run_document(number))
        assert run_document(number) != run_document(number + 1)
    assert run_document(1, small=True) != run_document(1)


def test_another_process_gives_the_same_documents() -> None:
    code = "import json; from benchmarks.workload import run_document; print(json.dumps(run_document(7)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root)
    assert json.loads(done.stdout) == run_document(7)


@pytest.mark.parametrize("number", [0, 1, 999, 10_000_000])
def test_a_standard_document_has_the_size_that_is_quoted(number: int) -> None:
    rows = derive_rows(run_document(number))
    assert len(rows.benchmarks) == RESULTS_PER_RUN
    assert {len(entry.metrics) for entry in rows.benchmarks} == {METRICS_PER_RESULT}
    assert METRIC in dict(rows.benchmarks[0].metrics)
    assert rows.problems == ()
    assert len(rows.labels) == 2
    assert 21_000 < len(json.dumps(run_document(number))) < 24_000


def test_a_small_document_is_small() -> None:
    rows = derive_rows(run_document(4, small=True))
    assert [len(entry.metrics) for entry in rows.benchmarks] == [3, 3]


def test_no_two_runs_have_the_same_time() -> None:
    assert len({run_document(number, small=True)["timestamp"] for number in range(2000)}) == 2000


def test_run_files_are_the_documents(tmp_path: Path) -> None:
    write_run_files(tmp_path, range(5, 7))
    files = sorted(tmp_path.rglob("metrics.json"))
    assert [json.loads(file.read_text()) for file in files] == [run_document(5), run_document(6)]


def test_the_floor_stores_the_same_rows_as_kitt(bench: Bench, tmp_path: Path) -> None:
    assert bench.store.count() == TINY
    bench.floor.count(ENGINES[0])
    ordered = {
        "runs": "model, engine, suite_name, timestamp, passed, total_time_seconds, kitt_version, json(raw_json)",
        "benchmarks": "test_name, test_version, run_number, passed, timestamp",
        "metrics": "metric_name, metric_value",
        "hardware": "gpu_model, gpu_vram_gb, gpu_count, cpu_model, cpu_cores, ram_gb, environment_type",
    }
    for table, columns in ordered.items():
        statement = f"SELECT {columns} FROM {table} ORDER BY {columns}"
        assert _rows(tmp_path / "kitt.db", statement) == _rows(tmp_path / "floor.db", statement), table


def _rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_both_sides_give_the_same_answers(tmp_path: Path) -> None:
    with opened(tmp_path, 120) as bench:
        newest = bench.store.list_results(limit=50)
        assert [
            (run.model, run.timestamp.isoformat(timespec="microseconds")) for run in newest if run.timestamp
        ] == [(row[1], row[4]) for row in bench.floor.newest()]
        engine = ENGINES[1]
        of_engine = {run.model for run in bench.store.list_results({"engine": engine})}
        model = next(model for model in MODELS if model in of_engine)
        wanted = bench.store.list_results({"model": model, "engine": engine}, limit=50)
        assert len(wanted) == len(bench.floor.newest_of(model, engine)) > 0
        assert bench.store.count({"engine": engine}) == bench.floor.count(engine)
        older = bench.store.list_results(limit=50, after=newest.next_cursor)
        last = newest[-1].timestamp
        assert last is not None
        assert [run.model for run in older] == [
            row[1] for row in bench.floor.newest_before(last.isoformat(timespec="microseconds"))
        ]
        means = {engine: (count, mean) for engine, count, mean in bench.floor.means(METRIC)}
        for group in bench.store.aggregate("engine", METRIC):
            count, mean = means[group["engine"]]
            assert (group["count"], group[f"{METRIC}_avg"]) == (count, pytest.approx(mean))
        middles = {row[0]: row[2] for row in bench.floor.percentiles(METRIC)}
        for group in bench.store.aggregate("engine", METRIC, statistics="p50"):
            assert group[f"{METRIC}_p50"] == pytest.approx(middles[group["engine"]], rel=0.05)


def test_a_save_of_the_floor_that_fails_leaves_nothing(tmp_path: Path) -> None:
    floor = Floor(tmp_path / "floor.db")
    document = run_document(1)
    document["results"][5]["metrics"] = {"great": 2.0, "": 10**400}
    with pytest.raises(OverflowError):
        floor.save([document])
    assert floor.save([run_document(2)])
    floor.close()
    assert _rows(tmp_path / "floor.db", "SELECT count(*) FROM runs") == [(1,)]


class _Clock:
    """Each look takes as long as the call that was made meanwhile says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: Callable[[int], float], log: list[str], name: str) -> Callable[[int], Any]:
        def prepare(number: int) -> Callable[[], None]:
            self.now += 1000  # preparing is not timed

            def call() -> None:
                log.append(f"{name}{number}")
                self.now += seconds(number)

            return call

        return prepare


def test_medians_and_ratios() -> None:
    made = figures([(2.0, 1.0), (9.0, 3.0), (8.0, 2.0)])
    assert made == Figures(8.0, 2.0, 3.0, 2.0, 4.0, rounds=3)


def test_a_round_is_the_median_of_alternating_calls() -> None:
    clock = _Clock()
    log: list[str] = []
    sides = Sides(
        clock.taking(lambda n: [5.0, 1.0, 3.0][n], log, "m"), clock.taking(lambda _: 2.0, log, "f"), calls=3
    )
    assert timed_round(sides, 0, clock) == (3.0, 2.0)
    assert log == ["f0", "m0", "m1", "f1", "f2", "m2"]


def test_cases_are_interleaved_and_the_first_round_does_not_count() -> None:
    clock = _Clock()
    log: list[str] = []
    slow_at_first = clock.taking(lambda n: 100.0 if n == 0 else 4.0, log, "a")
    other = clock.taking(lambda _: 2.0, log, "b")
    done: list[int] = []
    cases = [Sides(slow_at_first, other, 1), Sides(other, other, 1)]
    first, second = run_rounds(cases, 2, clock=clock, progress=done.append)
    assert (first.seconds, first.ratio, first.rounds) == (4.0, 2.0, 2)
    assert second.ratio == 1.0
    assert done == [0, 1, 2]
    assert [call[0] for call in log] == list("babb" + "abbb" + "babb")


def test_the_computing_of_commands_counts(tmp_path: Path) -> None:
    before = cpu_clock()
    startup.kitt(tmp_path, "--version")()
    assert cpu_clock() > before


# One case of each kind; the others fill the same stores in the same ways.
_SHORT = {"save", "list", "aggregate", "storage-list", "karr-save", "postgres-save"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case.name in _SHORT else pytest.mark.long, id=case.name) for case in CASES],
)
def test_every_case_runs(case: Case, bench: Bench) -> None:
    sides = case.sides(bench)
    measured = timed_round(Sides(sides.measured, sides.floor, calls=1), 0)
    assert all(seconds > 0 for seconds in measured)
    bench.store.count()
    assert [finding.what for finding in bench.store.verify()] == []


def test_no_two_cases_have_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_command_that_fails_is_not_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        startup.kitt(tmp_path, "nonsense")()
    assert "no such command" in capfd.readouterr().err


def case(name: str, goal: float | None = None) -> Case:
    return Case(name, "", lambda _: pytest.fail("is not run"), goal)


def test_the_table_shows_goals_kept_and_missed() -> None:
    section = case_section(
        "cases",
        [
            (case("save", 1.25), Figures(0.0012, 0.001, 1.2, 1.1, 1.3, rounds=3)),
            (case("list", 3), Figures(0.00032, 0.0001, 3.3, 3.1, 3.4, rounds=3)),
            (case("count"), Figures(1.5, 0.5, 3, 3, 3, rounds=3)),
        ],
    )
    assert [line.split() for line in text_table(section).splitlines()] == [
        ["case", "KITT", "floor", "ratio", "range", "goal"],
        ["save", "1.2", "ms", "1", "ms", "1.20", "1.10-1.30", "≤", "1.25,", "met"],
        ["list", "320", "µs", "100", "µs", "3.30", "3.10-3.40", "≤", "3,", "missed", "by", "10%"],
        ["count", "1.5", "s", "500", "ms", "3.00", "3.00-3.00"],
    ]
    assert markdown_table(section).splitlines()[:3] == [
        "| case | KITT | floor | ratio | range | goal |",
        "|---|---|---|---|---|---|",
        "| save | 1.2 ms | 1 ms | 1.20 | 1.10-1.30 | ≤ 1.25, met |",
    ]
    assert [line.cells[1:] for line in goals_section([section]).measurements] == [
        ("≤ 1.25", "1.20", "met"),
        ("≤ 3", "3.30", "missed by 10%"),
    ]


def test_goals_are_upper_or_lower_bounds() -> None:
    assert Goal(1.5, at_least=True).verdict(1.5) == "met"
    assert Goal(1.5, at_least=True).verdict(1.2) == "missed by 20%"
    assert Goal(0).verdict(0) == "met"
    assert Goal(0).verdict(2) == "missed by 2"


def test_figures_are_a_document_that_kitt_takes() -> None:
    started = datetime(2026, 3, 1, 12, tzinfo=UTC)
    measured = [
        (case("save", 1.25), Figures(0.0012, 0.001, 1.2, 1.1, 1.3, rounds=3)),
        (case("list", 3), Figures(0.00032, 0.0001, 3.2, 3.1, 3.3, rounds=3)),
    ]
    document = figures_document(
        [case_section("cases", measured)],
        version="0.1.0",
        started=started,
        seconds=9.0,
        config={"size": 10},
        system_info={"ram_gb": 8},
    )
    rows = derive_rows(document)
    assert (rows.run.passed, rows.run.passed_count, rows.run.failed_count) == (False, 1, 1)
    assert rows.run.timestamp == started
    assert dict(rows.benchmarks[0].metrics)["ratio"] == 1.2
    assert document["config"] == {"size": 10}


def test_cases_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [case.name for case in CASES]


def test_figures_are_stored_where_they_are_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = f"sqlite:///{tmp_path}/figures.db"
    options = ["--size", "2", "--rounds", "1", "--directory", str(tmp_path)]
    assert main(["count", "count", *options, "--store", target]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("count ")
    with open_store(target) as store:
        (run,) = store.list_results()
        assert (run.engine, run.model, run.suite_name) == ("kitt-benchmarks", "kitt-sqlite", "benchmarks")
        (group,) = store.aggregate("test_name", "ratio")
        assert group["test_name"] == "count"
        document = store.get_result(run.id)
        assert document is not None
        assert document["config"] == {"size": 2, "rounds": 1, "clock": "wall"}
    assert main(["count", "--cpu", *options]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"figures.db"}


def test_an_unknown_case_is_refused_with_a_cure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sav"])
    assert caught.value.code == 2
    assert "no case 'sav'; did you mean save?" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "x"])
def test_sizes_are_counts(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--size", text])
    assert "--size" in capsys.readouterr().err
