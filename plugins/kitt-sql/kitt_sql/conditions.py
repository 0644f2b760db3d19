"""Filters as SQL: the shape of a filter is the key of a statement, its values are bound.

A `RunFilter` becomes groups of alternatives (a run must meet one of each group). The *shape* is what remains when
the values are taken out; filters of the same shape share a statement, which is built once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Text, and_, bindparam, false, or_, select
from sqlalchemy.types import Double

from kitt_core.runs import MetricCondition, Patterns, RunFilter
from kitt_sql.dialect import QueryDialect
from kitt_sql.rollup import finite, run_summaries
from kitt_sql.schema.tables import benchmarks, hardware, metrics, run_documents, run_labels, runs

__all__ = ["Part", "Shape", "metric_named", "name_values", "needs_hardware", "read_filter", "where"]

_HARDWARE: Final = ("gpu_model", "environment_type", "fingerprint")
_COLUMNS: Final[dict[str, ColumnElement[Any]]] = {
    **{name: runs.c[name] for name in ("id", "model", "engine", "suite_name", "kitt_version", "passed")},
    **{name: hardware.c[name] for name in _HARDWARE},
    "sha256": run_documents.c.sha256,
    "label": run_labels.c.value,
}
_SEARCHED: Final = (runs.c.model, runs.c.engine, runs.c.suite_name, hardware.c.gpu_model, hardware.c.fingerprint)


class Part(NamedTuple):
    """One test without its values.

    Attributes:
        kind: ``equal``, ``among``, ``like``, ``since``, ``until``, ``search`` or a metric's operator.
        field: The filter's field, ``label`` or ``metric``.
        splits: For a metric: in how many ways its name can be read as ``benchmark/name``.
    """

    kind: str
    field: str
    splits: int = 0


Shape = tuple[tuple[Part, ...], ...]
Values = dict[str, Any]


def read_filter(wanted: RunFilter, dialect: QueryDialect) -> tuple[Shape, Values]:
    """Return the filter's shape and the values to be bound, named by their place in it."""
    groups: list[tuple[Part, ...]] = []
    values: Values = {}
    for group in _groups(wanted, dialect):
        for position, (_, bound) in enumerate(group):
            prefix = f"f{len(groups)}_{position}"
            values |= {f"{prefix}{suffix}": value for suffix, value in bound.items()}
        groups.append(tuple(part for part, _ in group))
    return tuple(groups), values


_Group = list[tuple[Part, Values]]


def _groups(wanted: RunFilter, dialect: QueryDialect) -> Iterator[_Group]:
    for field in ("id", "model", "engine", "suite_name", "kitt_version", *_HARDWARE, "sha256"):
        patterns: Patterns | None = getattr(wanted, field)
        if patterns is not None:
            yield list(_text_parts(field, patterns, dialect))
    if wanted.passed is not None:
        yield [(Part("equal", "passed"), {"": wanted.passed})]
    if wanted.since is not None:
        yield [(Part("since", "timestamp"), {"": wanted.since})]
    if wanted.until is not None:
        yield [(Part("until", "timestamp"), {"": wanted.until})]
    for key, patterns in wanted.labels or ():
        yield [(part, {**bound, "_key": key}) for part, bound in _text_parts("label", patterns, dialect)]
    for condition in wanted.metrics or ():
        yield [_metric_part(condition)]
    if wanted.search:  # an empty text is part of every run, even of one without any text
        yield [(Part("search", ""), {"": wanted.search.casefold()})]


def _text_parts(field: str, patterns: Patterns, dialect: QueryDialect) -> Iterator[tuple[Part, Values]]:
    exact = [pattern for pattern in patterns if "*" not in pattern]
    if len(exact) == 1:
        yield Part("equal", field), {"": exact[0]}
    elif exact:
        yield Part("among", field), {"": dialect.list_value(exact)}
    for pattern in patterns:
        if "*" in pattern:
            yield Part("like", field), {"": dialect.pattern_value(pattern)}


def _metric_part(condition: MetricCondition) -> tuple[Part, Values]:
    values = name_values(condition.name)
    part = Part(condition.operator, "metric", len(values) // 2)
    return part, {"": condition.value} | values


def name_values(name: str) -> Values:
    """Return the values that `metric_named` wants: the name, and each way to split it at a slash."""
    values = {"_name": name}
    for i, slash in enumerate(i for i, character in enumerate(name) if character == "/"):
        values |= {f"_benchmark{i}": name[:slash], f"_name{i}": name[slash + 1 :]}
    return values


def metric_named(prefix: str, splits: int) -> ColumnElement[bool]:
    """Return the test whether a metric row (with its benchmark) is named ``name`` or ``benchmark/name``."""
    return or_(
        metrics.c.metric_name == bindparam(f"{prefix}_name", type_=Text),
        *(
            and_(
                metrics.c.metric_name == bindparam(f"{prefix}_name{i}", type_=Text),
                benchmarks.c.test_name == bindparam(f"{prefix}_benchmark{i}", type_=Text),
            )
            for i in range(splits)
        ),
    )


def needs_hardware(shape: Shape) -> bool:
    """Whether the statement must join the hardware."""
    return any(part.field in _HARDWARE or part.kind == "search" for group in shape for part in group)


def where(shape: Shape, dialect: QueryDialect) -> list[ColumnElement[bool]]:
    """Return the conditions of ``shape``, their parameters named as `read_filter` names the values."""
    return [
        or_(false(), *(_clause(part, f"f{i}_{j}", dialect) for j, part in enumerate(group)))
        for i, group in enumerate(shape)
    ]


def _clause(part: Part, name: str, dialect: QueryDialect) -> ColumnElement[bool]:
    match part.kind, part.field:
        case "since", _:
            return runs.c.timestamp >= bindparam(name, type_=runs.c.timestamp.type)
        case "until", _:
            return runs.c.timestamp < bindparam(name, type_=runs.c.timestamp.type)
        case "search", _:
            return or_(*(dialect.contains(dialect.folded(text), name) for text in _SEARCHED))
        case operator, "metric":
            return _metric_clause(operator, name, part.splits, dialect)
        case kind, "label":
            key = run_labels.c.key == bindparam(f"{name}_key", type_=Text)
            test = _text_clause(kind, run_labels.c.value, name, dialect)
            return runs.c.id.in_(select(run_labels.c.run_id).where(key, test))
        case kind, "sha256":
            test = _text_clause(kind, run_documents.c.sha256, name, dialect)
            return runs.c.id.in_(select(run_documents.c.run_id).where(test))
        case kind, field:
            return _text_clause(kind, _COLUMNS[field], name, dialect)


def _text_clause(kind: str, text: ColumnElement[Any], name: str, dialect: QueryDialect) -> ColumnElement[bool]:
    if kind == "among":
        return dialect.among(text, name)
    if kind == "like":
        return dialect.like(text, name)
    return text == bindparam(name, type_=text.type)


def _metric_clause(operator: str, name: str, splits: int, dialect: QueryDialect) -> ColumnElement[bool]:
    limit = bindparam(name, type_=Double)
    summaries = run_summaries(name, dialect).c
    tests = {
        "<": summaries.least < limit,
        "<=": summaries.least <= limit,
        ">": summaries.greatest > limit,
        ">=": summaries.greatest >= limit,
        "!=": or_(summaries.least != limit, summaries.greatest != limit),
    }
    # Not EXISTS: SQLite would search all entries of that name again for each run.
    if not splits and operator in tests:
        return runs.c.id.in_(select(summaries.run_id).where(tests[operator]))
    value = metrics.c.metric_value
    compared = value.op(operator, is_comparison=True)(limit)
    return runs.c.id.in_(
        select(benchmarks.c.run_id)
        .select_from(benchmarks.join(metrics, metrics.c.benchmark_id == benchmarks.c.id))
        .where(metric_named(name, splits), compared, finite(value))
    )
