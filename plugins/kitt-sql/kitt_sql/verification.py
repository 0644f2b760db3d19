"""Whether the rows of a run are those that its document gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from attrs import asdict, fields
from sqlalchemy import Connection, Text, bindparam, select

from kitt_core.runs import BenchmarkRow, HardwareRow, MetricRow, RunRow, RunRows, StoredRun
from kitt_sql.dialect import QueryDialect
from kitt_sql.rollup import Summary, has_fresh_values, measured_in, stored_summaries, summaries_of, values_of
from kitt_sql.schema.tables import benchmarks, hardware, metrics, run_labels, runs

__all__ = ["differences", "stored_rows"]

_ROUNDING: Final = 1e-9


def differences(
    run: StoredRun, stored: RunRows, rolled_up: Sequence[Summary] | None, derived: RunRows
) -> Iterator[str]:
    """Yield how the stored rows of a run differ from those that its document gives.

    Args:
        run: The run.
        stored: Its rows as `stored_rows` returns them.
        rolled_up: Its summaries, None if it is not rolled up yet.
        derived: Those that its document gives.
    """
    if not run.sha256:
        yield "it has no row in run_documents"
    if run.created_at is None:
        yield "runs.created_at cannot be read"
    yield from stored.problems
    for name, value in asdict(derived.run).items():
        found = getattr(stored.run, name)
        if found != value:
            yield f"runs.{name} is {found!r}, its document gives {value!r}"
    if len(stored.benchmarks) != len(derived.benchmarks):
        yield f"rows in benchmarks: {len(stored.benchmarks)}, its document gives {len(derived.benchmarks)}"
    elif stored.benchmarks != derived.benchmarks:
        pairs = zip(stored.benchmarks, derived.benchmarks, strict=True)
        position, entry = next((i, ours) for i, (theirs, ours) in enumerate(pairs) if theirs != ours)
        yield f"the rows of results[{position}] ({entry.test_name}) are not those that its document gives"
    if stored.hardware != derived.hardware:
        yield "its row in hardware is not the one that its document gives"
    if dict(stored.labels) != dict(derived.labels):
        yield "its rows in run_labels are not those that its document gives"
    wanted = summaries_of(measured_in(derived.benchmarks))
    if rolled_up is not None and not (len(rolled_up) == len(wanted) and all(map(_agree, rolled_up, wanted))):
        yield "its rows in metric_rollup are not those that its document gives"


def _agree(found: Summary, wanted: Summary) -> bool:
    """Whether two summaries are equal, but for the order in which a database added the values."""
    mine, ours = (
        sorted(values_of(each.entries, each.least, each.greatest, each.numbers)) for each in (found, wanted)
    )
    rounding = _ROUNDING * max(abs(wanted.least), abs(wanted.greatest))
    return (
        (found.name, mine, found.least, found.greatest) == (wanted.name, ours, wanted.least, wanted.greatest)
        and math.isclose(found.mean, wanted.mean, abs_tol=rounding)
        and math.isclose(found.total, wanted.total, abs_tol=rounding * wanted.entries)
    )


def stored_rows(
    connection: Connection, run_id: str, dialect: QueryDialect
) -> tuple[RunRows, list[Summary] | None] | None:
    """Return a run's rows and summaries as they are in the database, None if there is no such run."""
    named = {"run_id": run_id}
    run = connection.execute(_RUN, named).one_or_none()
    if run is None:
        return None
    machines = connection.execute(_MACHINES, named).all()
    rows = RunRows(
        run=RunRow(*run),
        benchmarks=tuple(_stored_benchmarks(connection.execute(_ENTRIES, named))),
        hardware=HardwareRow(*machines[0]) if machines else None,
        labels=tuple((key, value) for key, value in connection.execute(_LABELS, named)),
        problems=(f"{len(machines)} rows in hardware, its document gives one",) if len(machines) > 1 else (),
    )
    if dialect.rolls_up_later and connection.execute(has_fresh_values(), named).scalar():
        return rows, None
    return rows, [Summary(*row) for row in connection.execute(stored_summaries(dialect), named)]


def _stored_benchmarks(rows: Iterable[Any]) -> Iterator[BenchmarkRow]:
    for _, found in groupby(rows, key=lambda row: row[0]):
        entries = list(found)
        measured = tuple(MetricRow(row[-2], row[-1]) for row in entries if row[-3] is not None)
        name, version, number, passed, moment = entries[0][1:6]
        yield BenchmarkRow(name, version, number, passed, moment, measured)


def _columns(table: Any, row_type: type[Any]) -> list[Any]:
    return [table.c[attribute.name] for attribute in fields(row_type)]


_RUN_ID: Final = bindparam("run_id", type_=Text)
_RUN: Final = select(*_columns(runs, RunRow)).where(runs.c.id == _RUN_ID)
_MACHINES: Final = select(*_columns(hardware, HardwareRow)).where(hardware.c.run_id == _RUN_ID)
_LABELS: Final = select(run_labels.c.key, run_labels.c.value).where(run_labels.c.run_id == _RUN_ID)
_ENTRIES: Final = (
    select(
        benchmarks.c.id,
        *(benchmarks.c[name] for name in ("test_name", "test_version", "run_number", "passed", "timestamp")),
        *(metrics.c.id, metrics.c.metric_name, metrics.c.metric_value),
    )
    .select_from(benchmarks.outerjoin(metrics, metrics.c.benchmark_id == benchmarks.c.id))
    .where(benchmarks.c.run_id == _RUN_ID)
    .order_by(benchmarks.c.id, metrics.c.id)
)
