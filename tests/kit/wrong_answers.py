"""Stores that keep everything and give wrong answers: filters, orders, pages, statistics."""

from __future__ import annotations

import math
import re
import statistics as reference
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from kitt_core.errors import UnknownFieldError
from kitt_core.runs import Filters, MetricCondition, Order, Page, RunFilter, RunSummary, Statistic, StoredRun
from kitt_core.storage import fallbacks
from kitt_core.storage.memory import MemoryStore

from .cases import caught_by

EAST = timedelta(hours=2)


# Filters.


class WrongText(MemoryStore):
    """Compares text in another way."""

    def fits(self, pattern: str, text: str) -> bool:
        raise NotImplementedError

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        wanted = RunFilter.of(filters)
        names = ("model", "engine", "suite_name", "kitt_version", "gpu_model", "fingerprint")
        patterns = {name: value for name in names if (value := getattr(wanted, name)) is not None}
        for run in super().scan(evolve(wanted, **dict.fromkeys(patterns))):
            summary = fallbacks.summarise(fallbacks.facts_of(run))
            texts = {name: getattr(summary, name) for name in patterns}
            if all(
                texts[name] is not None and any(self.fits(pattern, texts[name]) for pattern in several)
                for name, several in patterns.items()
            ):
                yield run


@caught_by("test_text_is_case_sensitive")
class IgnoresCase(WrongText):
    """As SQL's LIKE does in SQLite."""

    def fits(self, pattern: str, text: str) -> bool:
        return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text, re.DOTALL | re.IGNORECASE) is not None


@caught_by("test_only_the_star_is_special")
class TakesUnderscoresAndPercentSignsForWildcards(WrongText):
    def fits(self, pattern: str, text: str) -> bool:
        special = {"*": ".*", "%": ".*", "_": "."}
        return re.fullmatch("".join(special.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None


@caught_by("test_a_star_is_any_text_even_none")
class TakesTheFirstPlaceForAStar(WrongText):
    """Greedy without another try: ``*b`` misses what has two of them."""

    def fits(self, pattern: str, text: str) -> bool:
        first, *parts = pattern.split("*")
        if not text.startswith(first) or (not parts and text != first):
            return False
        rest = text[len(first) :]
        for part in parts:
            _, found, rest = rest.partition(part) if part else (rest, "", rest)
            if part and not found:
                return False
        return not parts or not parts[-1] or rest == ""


@caught_by("test_a_star_is_any_text_even_none")
class StopsAStarAtALineEnd(WrongText):
    def fits(self, pattern: str, text: str) -> bool:
        return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


class Refiltered(MemoryStore):
    """Asks for something else than it was asked for."""

    def refiltered(self, wanted: RunFilter) -> RunFilter:
        raise NotImplementedError

    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        return super().scan(self.refiltered(RunFilter.of(filters)))


@caught_by("test_passed_means_the_runs_flag")
class IgnoresAFilter(Refiltered):
    def refiltered(self, wanted: RunFilter) -> RunFilter:
        return evolve(wanted, passed=None)


@caught_by("test_since_is_included_and_until_is_not")
class IncludesTheEnd(Refiltered):
    def refiltered(self, wanted: RunFilter) -> RunFilter:
        late = wanted.until and wanted.until < datetime.max.replace(tzinfo=UTC)
        return evolve(wanted, until=wanted.until + timedelta(microseconds=1)) if late and wanted.until else wanted


@caught_by("test_times_are_compared_as_instants")
class ComparesTimesInItsOwnZone(Refiltered):
    def refiltered(self, wanted: RunFilter) -> RunFilter:
        return evolve(wanted, until=wanted.until and wanted.until - EAST)


@caught_by("test_all_metric_conditions_must_hold")
class ForgetsAllButOneCondition(Refiltered):
    def refiltered(self, wanted: RunFilter) -> RunFilter:
        return evolve(wanted, metrics=wanted.metrics and wanted.metrics[:1])


@caught_by("test_a_metric_is_named_alone_or_with_its_benchmark")
class ForgetsTheBenchmarkOfAMetric(Refiltered):
    def refiltered(self, wanted: RunFilter) -> RunFilter:
        short = [MetricCondition(c.name.rpartition("/")[2], c.operator, c.value) for c in wanted.metrics or ()]
        return evolve(wanted, metrics=short or wanted.metrics)


@caught_by("test_labels_must_all_match")
class IgnoresLabels(Refiltered):
    def refiltered(self, wanted: RunFilter) -> RunFilter:
        return evolve(wanted, labels=None)


@caught_by("test_an_unknown_field_is_an_error_with_the_nearest_name")
class IgnoresAnUnknownField(MemoryStore):
    def scan(self, filters: Filters = None) -> Iterator[StoredRun]:
        try:
            return super().scan(filters)
        except UnknownFieldError:
            return super().scan()


@caught_by("test_a_value_that_cannot_be_read_is_an_error")
class SwallowsAnError(MemoryStore):
    def list_results(self, *arguments: Any, **options: Any) -> Page[RunSummary]:
        try:
            return super().list_results(*arguments, **options)
        except ValueError:
            return Page([])


@caught_by("test_since_is_included_and_until_is_not")
class CountsWithoutTheFilter(MemoryStore):
    def count(self, filters: Filters = None) -> int:
        return super().count()


# Orders and pages.


class Relisted(MemoryStore):
    """Changes a whole listing after it was made."""

    def relisted(self, lines: list[RunSummary], order: Order) -> list[RunSummary]:
        raise NotImplementedError

    def list_results(self, filters: Filters = None, **options: Any) -> Page[RunSummary]:
        page = super().list_results(filters, **options)
        order = Order.parse(options.get("order_by", "-timestamp"))
        return Page(self.relisted(list(page), order), page.next_cursor)


@caught_by("test_the_id_breaks_ties_in_the_same_direction", "model")
class ReordersTies(Relisted):
    def relisted(self, lines: list[RunSummary], order: Order) -> list[RunSummary]:
        if order.field != "model":
            return lines
        by_id = sorted(lines, key=lambda line: line.id)
        return sorted(by_id, key=lambda line: line.model or "", reverse=order.descending)


@caught_by("test_timestamps_come_in_time_order_and_missing_ones_last_both_ways")
class PutsMissingValuesFirst(Relisted):
    def relisted(self, lines: list[RunSummary], order: Order) -> list[RunSummary]:
        if order.field != "timestamp" or order.descending:
            return lines
        return sorted(lines, key=lambda line: line.timestamp is not None)


@caught_by("test_text_is_in_code_point_order", "model")
class OrdersAsUtf16(Relisted):
    def relisted(self, lines: list[RunSummary], order: Order) -> list[RunSummary]:
        if order.field != "model":
            return lines
        return sorted(lines, key=lambda line: (line.model or "").encode("utf-16-be"), reverse=order.descending)


@caught_by("test_total_time_is_ordered_as_numbers_and_non_finite_ones_come_last_both_ways")
class OrdersNumbersAsText(Relisted):
    def relisted(self, lines: list[RunSummary], order: Order) -> list[RunSummary]:
        if order.field != "total_time_seconds":
            return lines
        return sorted(lines, key=lambda line: str(line.total_time_seconds), reverse=order.descending)


@caught_by("test_limit_none_is_all_and_limit_0_is_none")
class GivesOneTooMany(MemoryStore):
    def list_results(self, filters: Filters = None, **options: Any) -> Page[RunSummary]:
        if (limit := options.get("limit")) is not None:
            options["limit"] = limit + 1
        return super().list_results(filters, **options)


@caught_by("test_cursors_walk_through_every_run_exactly_once", "model")
class SkipsARowAtACursor(MemoryStore):
    def list_results(self, filters: Filters = None, **options: Any) -> Page[RunSummary]:
        if options.get("after") is not None:
            options["offset"] = 1
        return super().list_results(filters, **options)


@caught_by("test_a_run_saved_between_two_pages_moves_none_of_the_others")
class CountsRowsInACursor(MemoryStore):
    def list_results(self, filters: Filters = None, **options: Any) -> Page[RunSummary]:
        start = int(options.pop("after", None) or options.pop("offset", 0))
        page = super().list_results(filters, offset=start, **options)
        return Page(list(page), str(start + len(page)) if page.next_cursor else None)


# Aggregates.


class Recomputed(MemoryStore):
    """Computes a statistic in another way."""

    def recomputed(self, row: dict[str, Any], values: list[float | None], statistic: Statistic) -> Any:
        raise NotImplementedError

    def aggregate(
        self,
        group_by: str | Sequence[str],
        metrics: str | Sequence[str] | None = None,
        *,
        statistics: str | Sequence[str] = ("avg",),
        filters: Filters = None,
    ) -> list[dict[str, Any]]:
        rows = super().aggregate(group_by, metrics, statistics=statistics, filters=filters)
        if group_by != "engine" or not isinstance(metrics, (str, Sequence)):
            return rows
        facts = [fallbacks.facts_of(run) for run in self.scan(filters)]
        for row in rows:
            for name in [key.rpartition("_") for key in row if "_" in key]:
                values = [
                    metric.value
                    for one in facts
                    if one.rows.run.engine == row["engine"]
                    for benchmark in one.rows.benchmarks
                    for metric in benchmark.metrics
                    if name[0] in {metric.name, f"{benchmark.test_name}/{metric.name}"}
                ]
                row["_".join((name[0], name[2]))] = self.recomputed(row, values, name[2])  # type: ignore[arg-type]
        return rows


@caught_by("test_nan_and_infinities_take_no_part_in_statistics")
class LetsNonFiniteValuesPoisonTheMean(Recomputed):
    def recomputed(self, row: dict[str, Any], values: list[float | None], statistic: Statistic) -> Any:
        numbers = [math.nan if value is None else value for value in values]
        return sum(numbers) / len(numbers) if statistic == "avg" and numbers else row[f"x_{statistic}"]


@caught_by("test_each_statistic_is_what_a_plain_reference_computes", "stddev")
class DividesByN(Recomputed):
    def recomputed(self, row: dict[str, Any], values: list[float | None], statistic: Statistic) -> Any:
        finite = [value for value in values if value is not None]
        return reference.pstdev(finite) if statistic == "stddev" and len(finite) > 1 else row[f"x_{statistic}"]


@caught_by("test_each_statistic_is_what_a_plain_reference_computes", "p90")
class TakesTheNearestRank(Recomputed):
    def recomputed(self, row: dict[str, Any], values: list[float | None], statistic: Statistic) -> Any:
        finite = sorted(value for value in values if value is not None)
        if not statistic.startswith("p") or not finite:
            return row[f"x_{statistic}"]
        return finite[math.ceil(int(statistic[1:]) / 100 * len(finite)) - 1]


@caught_by("test_count_is_of_runs_and_not_of_entries")
class CountsEntries(MemoryStore):
    def aggregate(self, group_by: str | Sequence[str], *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        rows = super().aggregate(group_by, *arguments, **options)
        return [row | {"count": row.get("x_count", row["count"])} for row in rows]
