"""The kit catches small faults in the real SQLite store, each by a test that can be named."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from sqlalchemy import ColumnElement, Table, bindparam, func, literal, select

from kitt_core.runs import CheckedRun, codec
from kitt_core.runs.statistics import compute
from kitt_core.storage import ResultStore
from kitt_sql import conditions, queries, records
from kitt_sql import store as shared
from kitt_sql.dialect import SQLiteDialect
from kitt_sql.sqlite import engine
from kitt_sql.sqlite import store as sqlite
from kitt_sqlite import SQLiteResultStore

from .outcomes import Outcome, outcome

Mutate = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def fresh_statements() -> Iterator[None]:
    """Statements are built once per shape; those of a mutant must neither be missing nor stay."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    for module in (queries, records):
        for function in vars(module).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()


def with_runs(change: Callable[[CheckedRun], CheckedRun]) -> Mutate:
    """Store another run than the one that was given."""
    original = records.records_of
    return lambda patch: patch.setattr(sqlite, "records_of", lambda run: original(change(run)))


def with_rows(**rows: Any) -> Mutate:
    return with_runs(lambda run: evolve(run, rows=evolve(run.rows, **rows)))


def ties_in_one_direction(patch: pytest.MonkeyPatch) -> None:
    class OneDirection:
        """An id that is ordered upwards whatever is asked for."""

        def __init__(self, column: ColumnElement[Any]) -> None:
            self.column = column

        def asc(self) -> Any:
            return self.column.asc()

        desc = asc

    original = queries.list_page.__wrapped__

    class Dialect(SQLiteDialect):
        def code_points(self, text: ColumnElement[Any]) -> Any:
            made = super().code_points(text)
            return OneDirection(made) if getattr(text, "name", None) == "id" else made

    patch.setattr(queries, "list_page", lambda shape, order, phase, _: original(shape, order, phase, Dialect()))


def infinities_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(queries, "finite", lambda number: number.is_not(None))


def text_without_case(patch: pytest.MonkeyPatch) -> None:
    original = conditions._text_clause

    def clause(kind: str, text: ColumnElement[Any], name: str, dialect: Any) -> Any:
        if kind == "equal" and name.startswith("f") and str(text.type) == "TEXT":
            return func.lower(text) == func.lower(bindparam(name))
        return original(kind, text, name, dialect)

    patch.setattr(conditions, "_text_clause", clause)


def digest_of_the_parsed_document(run: CheckedRun) -> CheckedRun:
    return evolve(run, sha256=codec.digest(json.dumps(codec.parse(run.document)).encode()))


def benchmarks_off_by_one(patch: pytest.MonkeyPatch) -> None:
    original = records.with_benchmark_ids

    def shifted(given: Iterable[Any], first: int) -> Any:
        numbered, measured = original(given, first)
        count = max(len(numbered), 1)
        return numbered, [(first + (key - first + 1) % count, *rest) for key, *rest in measured]

    patch.setattr(sqlite, "with_benchmark_ids", shifted)


def offset_ignored(patch: pytest.MonkeyPatch) -> None:
    original: Any = shared.SqlResultStore._page_rows

    def rows(self: Any, *arguments: Any) -> Any:
        return original(self, *arguments[:-1], 0)

    patch.setattr(shared.SqlResultStore, "_page_rows", rows)


def cursor_without_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shared, "_cursor_key", lambda key: None)


def no_foreign_keys(patch: pytest.MonkeyPatch) -> None:
    original: Any = engine.SQLiteFile._configure

    def configure(self: Any, connection: Any, *arguments: Any) -> None:
        original(self, connection, *arguments)
        connection.execute("PRAGMA foreign_keys=OFF")

    patch.setattr(engine.SQLiteFile, "_configure", configure)


def no_transaction(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "_begin", lambda connection: None)
    patch.setattr(engine, "BEGIN_WRITE", "SELECT 1")


def times_without_fixed_width(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(records, "format_utc", lambda moment: moment.isoformat())


def population_deviation(patch: pytest.MonkeyPatch) -> None:
    original = compute
    patch.setattr(
        shared,
        "compute",
        lambda name, values: statistics.pstdev(values) if name == "stddev" and values else original(name, values),
    )


def since_left_out(patch: pytest.MonkeyPatch) -> None:
    original = conditions._clause

    def clause(part: conditions.Part, name: str, dialect: Any) -> Any:
        made = original(part, name, dialect)
        return made.left > made.right if part.kind == "since" else made

    patch.setattr(conditions, "_clause", clause)


def entries_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(queries, "distinct", lambda column: column)


def insert_or_replace(patch: pytest.MonkeyPatch) -> None:
    original = records.insert_statement

    def statement(table: Table, dialect: Any) -> str:
        return original(table, dialect).replace("INSERT INTO", "INSERT OR REPLACE INTO")

    patch.setattr(sqlite, "insert_statement", statement)


def scan_without_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(queries, "last_position", lambda dialect: select(literal(2**62)))


def scan_from_the_start(patch: pytest.MonkeyPatch) -> None:
    original = queries.scan_page.__wrapped__

    def page(shape: Any, dialect: Any) -> Any:
        # One row at the border of two pages comes twice.
        return original(shape, dialect).with_only_columns(
            dialect.scan_position() - 1, *list(original(shape, dialect).selected_columns)[1:]
        )

    patch.setattr(queries, "scan_page", page)


def benchmark_of_a_metric_ignored(patch: pytest.MonkeyPatch) -> None:
    original = conditions.name_values

    def values(name: str) -> Any:
        return original(name) | ({"_name": name.rpartition("/")[2]} if "/" in name else {})

    patch.setattr(conditions, "name_values", values)


def percent_special(patch: pytest.MonkeyPatch) -> None:
    def like(self: Any, text: ColumnElement[Any], name: str) -> Any:
        return text.like(func.replace(bindparam(name), "*", "%"))

    patch.setattr(SQLiteDialect, "like", like)
    patch.setattr(SQLiteDialect, "pattern_value", lambda self, pattern: pattern)


def means_of_the_least_entry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SQLiteDialect, "average", lambda self, number: func.min(number))


MUTANTS: dict[str, tuple[Mutate, str, tuple[Any, ...]]] = {
    "ties in one direction": (
        ties_in_one_direction, "test_the_id_breaks_ties_in_the_same_direction", ("model",)
    ),
    "infinities count": (infinities_count, "test_nan_and_infinities_take_no_part_in_statistics", ()),
    "text without case": (text_without_case, "test_text_is_case_sensitive", ()),
    "percent special": (percent_special, "test_only_the_star_is_special", ()),
    "digest of the parsed document": (
        with_runs(digest_of_the_parsed_document), "test_the_sha256_of_a_stored_run_is_that_of_its_bytes", ()
    ),
    "labels not inserted": (with_rows(labels=()), "test_labels_must_all_match", ()),
    "hardware not inserted": (with_rows(hardware=None), "test_a_text_field_matches_only_its_own_field", ()),
    "benchmarks off by one": (
        benchmarks_off_by_one, "test_a_metric_is_named_alone_or_with_its_benchmark", ()
    ),
    "benchmark of a metric ignored": (
        benchmark_of_a_metric_ignored, "test_a_metric_is_named_alone_or_with_its_benchmark", ()
    ),
    "offset ignored": (offset_ignored, "test_an_offset_leaves_out_the_first", ()),
    "cursor without key": (cursor_without_key, "test_cursors_walk_through_every_run_exactly_once", ("model",)),
    "no foreign keys": (no_foreign_keys, "test_a_deleted_run_is_gone_from_every_answer", ()),
    "no transaction": (no_transaction, "test_a_batch_with_an_id_that_other_bytes_have_stores_nothing", ()),
    "times without fixed width": (times_without_fixed_width, "test_times_are_compared_as_instants", ()),
    "population deviation": (
        population_deviation, "test_each_statistic_is_what_a_plain_reference_computes", ("stddev",)
    ),
    "since left out": (since_left_out, "test_since_is_included_and_until_is_not", ()),
    "entries counted": (
        entries_counted, "test_by_test_name_a_run_counts_once_in_each_of_its_benchmarks", ()
    ),
    "insert or replace": (insert_or_replace, "test_the_same_id_with_other_bytes_is_a_run_exists_error", ()),
    "scan without end": (
        scan_without_end, "test_a_save_inside_the_loop_works_and_nothing_comes_twice", ()
    ),
    "mean is the least": (means_of_the_least_entry, "test_a_metric_orders_by_the_runs_mean", ()),
}  # fmt: skip


def result(path: Path, test: str, arguments: tuple[Any, ...]) -> Outcome:
    def opened() -> ResultStore:
        return SQLiteResultStore(path, synchronous="OFF")

    return outcome(opened, test, *arguments, reopen=opened)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_fails_a_test_that_the_store_passes(
    mutant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate, test, arguments = MUTANTS[mutant]
    assert result(tmp_path / "right.db", test, arguments) == "passed"
    _forget()
    mutate(monkeypatch)
    assert result(tmp_path / "mutant.db", test, arguments) == "failed"
