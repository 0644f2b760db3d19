"""What `aggregate` computes: groups and statistics, as checked values like those of `runs.query`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast, get_args

from attrs import frozen

from kitt_core.errors import InvalidQueryError, UnknownFieldError
from kitt_core.runs.query import nearest
from kitt_core.runs.rows import clean_text

__all__ = ["GROUP_FIELDS", "PERIODS", "STATISTICS", "Aggregation", "Statistic", "grouped_label"]

Statistic = Literal["avg", "min", "max", "sum", "count", "stddev", "p50", "p90", "p95", "p99"]

STATISTICS: Final[tuple[Statistic, ...]] = get_args(Statistic)
"""Over the entries of a group: sample standard deviation, percentiles by linear interpolation."""

GROUP_FIELDS: Final = (
    "model",
    "engine",
    "suite_name",
    "passed",
    "kitt_version",
    "gpu_model",
    "environment_type",
    "fingerprint",
    "machine",
    "software",
    "day",
    "week",
    "month",
    "test_name",
)
"""What `aggregate` may group by, in addition to ``label:<key>``.

``machine`` and ``software`` are the labels of these names. ``day``, ``week`` (its Monday) and ``month`` are
those of the run's timestamp in UTC: 2025-01-31, 2025-01-27 and 2025-01.
"""

PERIODS: Final = ("day", "week", "month")
"""The groups that are derived from the run's timestamp."""

_LABEL: Final = "label:"
_LABELS: Final = ("machine", "software")
_OTHER_NAMES: Final[Mapping[str, Statistic]] = {"median": "p50", "mean": "avg"}


def grouped_label(field: str) -> str | None:
    """Return the key of the label that a field of ``group_by`` stands for, None if it is another field."""
    if field in _LABELS:
        return field
    return clean_text(field.removeprefix(_LABEL)) if field.startswith(_LABEL) else None


@frozen
class Aggregation:
    """What `aggregate` computes.

    Attributes:
        group_by: Some of `GROUP_FIELDS`, or ``label:<key>``.
        metrics: Metric names; empty for counts only.
        statistics: Some of `STATISTICS`, for each metric; ``median`` is read as ``p50``, and ``mean`` as ``avg``.
    """

    group_by: tuple[str, ...]
    metrics: tuple[str, ...]
    statistics: tuple[Statistic, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of the statistics in a row, in order."""
        return tuple(f"{name}_{statistic}" for name in self.metrics for statistic in self.statistics)

    @classmethod
    def of(
        cls,
        group_by: str | Sequence[str],
        metrics: str | Sequence[str] | None,
        statistics: str | Sequence[str],
    ) -> Aggregation:
        """Check a caller's arguments.

        Raises:
            UnknownFieldError: A field or statistic does not exist.
            InvalidQueryError: There is no field to group by, or no statistic for the metrics.
        """
        groups = _texts(group_by, "group_by")
        if not groups:
            raise InvalidQueryError(
                "group_by is empty, expected a field", hint=f"known: {', '.join(GROUP_FIELDS)}, {_LABEL}<key>"
            )
        for name in groups:
            if name not in GROUP_FIELDS and not name.startswith(_LABEL):
                label = name[: len(_LABEL)].lower() == _LABEL
                known = [f"{_LABEL}{name[len(_LABEL) :]}"] if label else [*GROUP_FIELDS, f"{_LABEL}<key>"]
                raise UnknownFieldError(f"cannot group by {name!r}", hint=nearest(name, known))
        wanted = tuple(dict.fromkeys(_OTHER_NAMES.get(name, name) for name in _texts(statistics, "statistics")))
        for name in wanted:
            if name not in STATISTICS:
                raise UnknownFieldError(f"unknown statistic {name!r}", hint=nearest(name, STATISTICS))
        names = tuple(clean_text(name) for name in _texts(metrics or (), "metrics"))
        if names and not wanted:
            raise InvalidQueryError(
                "statistics is empty, expected at least one", hint=f"known: {', '.join(STATISTICS)}"
            )
        return cls(groups, names, cast("tuple[Statistic, ...]", wanted))


def _texts(value: str | Sequence[str], name: str) -> tuple[str, ...]:
    values = (value,) if isinstance(value, str) else tuple(value)
    for item in values:
        if not isinstance(item, str):
            raise InvalidQueryError(f"{name} holds {item!r}, expected text")
    return tuple(dict.fromkeys(values))
