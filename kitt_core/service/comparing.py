"""Two runs side by side: what was measured in both, and what else they differ in.

Nothing is judged here: a ratio says how two numbers relate, not whether the difference is significant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from attrs import field, frozen

from kitt_core.benchmarking.catalogue import CATALOGUE, MetricDefinition, definition_of
from kitt_core.presentation import leaves, some_of
from kitt_core.runs.model import BenchmarkRow
from kitt_core.runs.rows import clean_text, entries_of
from kitt_core.runs.statistics import mean
from kitt_core.service.run_lookup import Subject

__all__ = ["UNKNOWN_DIRECTION", "ComparedMetric", "Comparison", "Difference", "compare_runs", "unmatched"]

UNKNOWN_DIRECTION: Final = "unknown"
"""The direction of a metric that is not in the catalogue."""

_MEASURED: Final = frozenset(
    {
        "id",
        "results",
        "timestamp",
        "passed",
        "total_benchmarks",
        "passed_count",
        "failed_count",
        "skipped_count",
        "total_time_seconds",
        "outputs_incomplete",
        "stopped",
    }
)
"""Keys of a document that are results of a run, not its conditions."""
_MEASURED_PATHS: Final = frozenset(
    {"config.prompt_salt", "engine_info.answers_ended_early", "engine_info.retries"}
)
"""The same for nested keys; the salt is different in every run."""
_ORDER: Final = {definition.name: place for place, definition in enumerate(CATALOGUE)}


@frozen
class Difference:
    """Something besides the metrics in which the runs differ.

    Attributes:
        what: A path into the document (``system_info.gpu.model``), or a benchmark and its setting
            (``throughput: concurrency``).
        a: The first run's value, None if it has none.
        b: The second run's.
    """

    what: str
    a: Any
    b: Any


@frozen
class ComparedMetric:
    """One metric of one benchmark in both runs.

    Attributes:
        benchmark: The benchmark, with the settings that tell its cases apart in brackets.
        metric: The metric's name.
        a: The mean over the first run's entries, in ``unit``; None if there is no finite value.
        b: The second run's.
        ratio: ``b / a``; None where it is not defined or the two are not the same measure.
        unit: Empty if the metric is not in the catalogue.
        direction: Which way is better: a `Direction`, or `UNKNOWN_DIRECTION`.
        definition_a: Id of the exact definition that the first run measured by, None if that is not known.
        definition_b: The second run's.
        n_a: How many entries of the first run ``a`` is the mean of.
        n_b: The second run's.
        notes: What to know before the two are compared, a few words each.
    """

    benchmark: str
    metric: str
    a: float | None
    b: float | None
    ratio: float | None
    unit: str
    direction: str
    definition_a: str | None
    definition_b: str | None
    n_a: int
    n_b: int
    notes: tuple[str, ...] = ()


@frozen
class Comparison:
    """What two runs have in common, and what they differ in.

    Attributes:
        a: The first run; its values are the divisors.
        b: The second run.
        differences: What they differ in besides the metrics.
        common: The metrics that both have: benchmarks in the first run's order, metrics in the catalogue's.
        alone: The metrics that only one of them has.
    """

    a: Subject
    b: Subject
    differences: tuple[Difference, ...]
    common: tuple[ComparedMetric, ...]
    alone: tuple[ComparedMetric, ...]


def compare_runs(a: Subject, b: Subject, *, metrics: Sequence[str] = (), incomplete: bool = False) -> Comparison:
    """Compare two runs side by side.

    Several entries of one benchmark (``run_number``) are combined into their mean. Only entries that passed count;
    if none of them has a metric, the failed ones do, and a note says so. Values that are not finite are ignored.

    If a benchmark's entries have different settings within one run, each combination of settings is a case, which
    is compared with the same case in the other run. Where one name may stand for two measures (different
    ``test_version``, or a definition that is known for one side only), there are values but no ratio.

    Args:
        a: The first run.
        b: The second run.
        metrics: Patterns with ``*``; ``metric`` or ``benchmark/metric`` must match one of them. Without any, all
            metrics are compared.
        incomplete: Whether entries of benchmarks that were interrupted count; by default, their metrics are left
            out.
    """
    cases = list(_cases(a, b, incomplete=incomplete))
    differences = [*_document_differences(a.document, b.document)]
    compared: list[ComparedMetric] = []
    for case in cases:
        differences += case.differences()
        compared += case.metrics(metrics)
    return Comparison(
        a,
        b,
        tuple(differences),
        tuple(row for row in compared if _is_common(row)),
        tuple(row for row in compared if not _is_common(row)),
    )


def unmatched(a: Subject, b: Subject, patterns: Sequence[str]) -> dict[str, list[str]]:
    """Return the patterns that no metric of either run matches, each with the names that it could have matched."""
    names = {
        f"{benchmark.test_name or ''}/{metric.name}": metric.name
        for subject in (a, b)
        for benchmark in subject.rows.benchmarks
        for metric in benchmark.metrics
    }
    known = sorted({*names.values()}), sorted(names)
    return {
        pattern: known["/" in pattern]
        for pattern in patterns
        if not any(_matches(pattern, name) or _matches(pattern, full) for full, name in names.items())
    }


@frozen
class _Entry:
    """An entry of ``results``: its row, and what else the document says about it."""

    row: BenchmarkRow
    raw: Mapping[str, Any]
    defined: bool  # whether the catalogue's definitions apply, because `kitt run` measured it
    settings: dict[str, Any]
    values: dict[str, float | None] = field(repr=False)

    @property
    def name(self) -> str:
        return self.row.test_name or ""

    @property
    def failed(self) -> bool:
        return not self.row.passed and not self.raw.get("skipped")


@frozen
class _Value:
    """A metric in the entries of one run."""

    mean: float | None
    n: int
    present: bool
    failed: bool
    definition: str | None


@frozen
class _Case:
    """A benchmark, or one combination of its settings if it was run with several, in both runs."""

    label: str
    test_name: str
    a: tuple[_Entry, ...]
    b: tuple[_Entry, ...]

    def differences(self) -> Iterator[Difference]:
        facts = _case_facts(self.a), _case_facts(self.b)
        if self.a and self.b:
            yield from _differing(*facts, prefix=f"{self.label}: ")
        else:
            yield Difference(f"{self.label}: entries", len(self.a), len(self.b))

    def metrics(self, patterns: Sequence[str]) -> list[ComparedMetric]:
        names = {name for entry in (*self.a, *self.b) for name in entry.values}
        if patterns:
            full = {name: f"{self.test_name}/{name}" for name in names}
            names = {name for name in names if any(_matches(p, name) or _matches(p, full[name]) for p in patterns)}
        return [self._compared(name) for name in sorted(names, key=_catalogue_order)]

    def _compared(self, name: str) -> ComparedMetric:
        known = definition_of(name)
        a, b = _value(self.a, name, known), _value(self.b, name, known)
        doubts = list(self._doubts(a, b)) if a.present and b.present else []
        return ComparedMetric(
            benchmark=self.label,
            metric=name,
            a=a.mean,
            b=b.mean,
            ratio=None if doubts else _ratio(a.mean, b.mean),
            unit=known.unit if known else "",
            direction=known.direction.value if known else UNKNOWN_DIRECTION,
            definition_a=a.definition,
            definition_b=b.definition,
            n_a=a.n,
            n_b=b.n,
            notes=(*doubts, *self._notes(name, known, a, b)),
        )

    def _doubts(self, a: _Value, b: _Value) -> Iterator[str]:
        """Yield why the two may not be the same measure."""
        if _versions(self.a) != _versions(self.b):
            yield "different test_version"
        if a.definition != b.definition:
            unknown = " and ".join(s for s, v in (("A", a), ("B", b)) if v.definition is None)
            yield f"definition unknown in {unknown}" if unknown else "different definition"

    def _notes(self, name: str, known: MetricDefinition | None, a: _Value, b: _Value) -> Iterator[str]:
        if a.present != b.present:
            side, other, entries = ("A", "B", self.b) if a.present else ("B", "A", self.a)
            reason = _why_not_measured(entries, name)
            yield f"only in {side}" + (f"; {other}: {reason}" if reason else "")
        else:
            if different := self._different_settings():
                yield f"different settings: {some_of(different)}"
            if _sources(self.a) != _sources(self.b) and _counts_tokens(known):
                yield "different token_count_source"
        for side, value, entries in (("A", a, self.a), ("B", b, self.b)):
            failed = sum(1 for entry in entries if entry.failed)
            if failed and value.present:
                yield f"{failed} of {len(entries)} failed in {side}{'' if value.failed else ' and left out'}"
            if value.present and value.mean is None:
                yield f"no finite value in {side}"

    def _different_settings(self) -> list[str]:
        """Return the settings that differ between the two sides; empty if one side states none."""
        a, b = (entries[0].settings if entries else {} for entries in (self.a, self.b))
        return [difference.what for difference in _differing(a, b)] if a and b else []


def _is_common(row: ComparedMetric) -> bool:
    return not any(note.startswith("only in ") for note in row.notes)


def _cases(a: Subject, b: Subject, *, incomplete: bool) -> Iterator[_Case]:
    entries_a, entries_b = (_by_name(each, incomplete=incomplete) for each in (a, b))
    for name in dict.fromkeys([*entries_a, *entries_b]):
        sides = entries_a.get(name, []), entries_b.get(name, [])
        varying = sorted(_varying(sides[0]) | _varying(sides[1]))
        keyed = [_by_settings(side, varying) for side in sides]
        for key in dict.fromkeys([*keyed[0], *keyed[1]]):
            own = tuple(keyed[0].get(key, ())), tuple(keyed[1].get(key, ()))
            settings = ", ".join(f"{k}={v}" for k, v in zip(varying, key, strict=True))
            label = f"{name} [{settings}]" if settings else name
            yield _Case(label, name, *own)


def _by_name(subject: Subject, *, incomplete: bool) -> dict[str, list[_Entry]]:
    # Documents of KITT 1.x and of other tools use the catalogue's names without saying what they mean by them.
    ours = isinstance(subject.document.get("engine_info"), Mapping)
    found: dict[str, list[_Entry]] = {}
    for row, raw in zip(subject.rows.benchmarks, entries_of(subject.document), strict=False):
        settings = raw.get("settings")
        stated = leaves(settings) if isinstance(settings, Mapping) else None
        left_out = raw.get("incomplete") and not incomplete
        values = {} if left_out else dict(row.metrics)
        entry = _Entry(row, raw, ours and stated is not None, stated or {}, values)
        found.setdefault(entry.name, []).append(entry)
    return found


def _varying(entries: Sequence[_Entry]) -> set[str]:
    keys = {key for entry in entries for key in entry.settings}
    return {key for key in keys if len({_spelled(entry.settings.get(key)) for entry in entries}) > 1}


def _by_settings(entries: Iterable[_Entry], keys: Sequence[str]) -> dict[tuple[str, ...], list[_Entry]]:
    found: dict[tuple[str, ...], list[_Entry]] = {}
    for entry in entries:
        found.setdefault(tuple(_spelled(entry.settings.get(key)) for key in keys), []).append(entry)
    return found


def _value(entries: Sequence[_Entry], name: str, known: MetricDefinition | None) -> _Value:
    having = [entry for entry in entries if name in entry.values]
    passed = [entry for entry in having if entry.row.passed]
    counted = passed or having
    finite = [v for entry in counted if (v := entry.values[name]) is not None and math.isfinite(v)]
    defined = bool(counted) and known is not None and all(entry.defined for entry in counted)
    return _Value(
        mean=mean(finite) if finite else None,
        n=len(finite),
        present=bool(having),
        failed=bool(having) and not passed,
        definition=known.definition if known is not None and defined else None,
    )


def _ratio(a: float | None, b: float | None) -> float | None:
    if a is None or b is None or a == 0:
        return None
    ratio = b / a
    return ratio if math.isfinite(ratio) else None


def _case_facts(entries: Sequence[_Entry]) -> dict[str, Any]:
    facts: dict[str, Any] = dict(entries[0].settings) if entries else {}  # the same in all entries of a case
    facts["entries"] = len(entries)
    facts["test_version"] = ", ".join(_versions(entries))
    facts["token_count_source"] = ", ".join(_sources(entries)) or None
    facts["failed entries"] = sum(1 for entry in entries if entry.failed)
    facts["incomplete"] = next((e.raw["incomplete"] for e in entries if e.raw.get("incomplete")), None)
    facts["skipped"] = next((entry.raw["skipped"] for entry in entries if entry.raw.get("skipped")), None)
    return facts


def _versions(entries: Iterable[_Entry]) -> list[str]:
    return sorted({entry.row.test_version or "" for entry in entries})


def _sources(entries: Iterable[_Entry]) -> list[str]:
    given = (entry.raw.get("token_count_source") for entry in entries)
    return sorted({clean_text(source) for source in given if isinstance(source, str)})


def _why_not_measured(entries: Iterable[_Entry], name: str) -> str | None:
    for entry in entries:
        reasons = entry.raw.get("not_measured")
        given = reasons if isinstance(reasons, Mapping) else {}
        reason = given.get(name, given.get(name.partition(".")[0], entry.raw.get("skipped")))
        if isinstance(reason, str):
            return reason
        if isinstance(measured := entry.raw.get("incomplete"), str):
            return f"interrupted after {measured}"
    return None


def _counts_tokens(known: MetricDefinition | None) -> bool:
    return known is None or known.unit.startswith("token") or known.definition.startswith("tpot")


def _catalogue_order(name: str) -> tuple[int, str]:
    known = definition_of(name)
    return _ORDER.get(known.name, len(_ORDER)) if known else len(_ORDER), name


def _matches(pattern: str, text: str) -> bool:
    return fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))


def _document_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    return _differing(_conditions(a), _conditions(b))


def _conditions(document: Mapping[str, Any]) -> dict[str, Any]:
    values = leaves({key: value for key, value in document.items() if key not in _MEASURED})
    return {path: value for path, value in values.items() if path not in _MEASURED_PATHS}


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[Difference]:
    for key in dict.fromkeys([*a, *b]):
        if _spelled(a.get(key)) != _spelled(b.get(key)):
            yield Difference(f"{prefix}{key}", a.get(key), b.get(key))


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
