# ruff: noqa: RUF001, SIM905 - characters that look alike are what is tested; words in a line are easier to read
"""A corpus of small runs that is rich in what databases treat differently, the same on every machine."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kitt_core.runs import CheckedRun, check_run
from kitt_core.testing.documents import UNFIT

SEED: Final = 20250730

NAMES: Final = (
    # What a language's order, a database's folding and a code point's order do not agree on.
    *"e é e\u0301 E É f z Z ß ss SS ẞ straße STRASSE Straße ı i I İ i\u0307 ﬁ fi FI".split(),
    *"Σ σ ς ΟΔΟΣ οδος οδός ŉ ʼn K k".split(),
    # Above U+FFFF, and what UTF-16 would sort behind it.
    *"\uff5e \U0001f999 \U00010000 \uffff \ue000 \U0010ffff".split(),
    # What patterns, quoting and escaping trip over.
    *("", " ", "  ", " a", "a ", "a\nb", "a\tb"),
    *"a % _ \\ a\\b a%b a_b axb [a] [ ] ? a*b * ' \" '' $1 %s :name {a} NULL null 0 10 9 -1 1e3 a/b".split(),
    # What columns cannot hold.
    *("\x00", "a\x00b", "\ud800", "a\udfffb", "\ufffd", "\x01", "\x7f"),
    *("org/model-7B", "org/model-13B", "Org/Model-7B", "org_model-7B", "模型", "м", "x" * 300),
)

_INSTANTS: Final = (
    *(None, "", "2025-01-01 00:00:00"),
    *"2025-01-01 2025-01-01T00:00:00 2025-01-01T00:00:00Z 2025-01-01T05:45:00+05:45 2025-W01-3".split(),
    *"2024-12-31T13:00:00-11:00 2025-01-01T14:00:00+14:00 2025-01-01T00:00:00.000001 20250101T000000Z".split(),
    *"2024-12-31T23:59:59.999999 2025-03-30T02:30:00+01:00 2025-10-26T02:30:00+02:00".split(),
    *"2025-10-26T02:30:00+01:00 0001-01-01T00:00:00Z 0001-01-01T00:00:00.000001 1970-01-01".split(),
    *"9999-12-31T23:59:59.999999Z 9999-12-31T12:00:00-11:59 1969-12-31T23:59:59.999999Z".split(),
    *"1883-11-18T12:03:57-05:00 1582-10-10T00:00:00Z 2016-12-31T23:59:59.9Z 2038-01-19T03:14:08Z".split(),
)
_INTEGERS: Final = (0, 0, 1, 2, -1, 2**31 - 1, -(2**31), None)
# What is summed is a multiple of 1/4 or, in `edge`, a power of two: a sum is exact in whatever order it is made.
# Of `wild` a run has one value, which is its own mean.
_SECONDS: Final = "0 -0.0 0.25 1.5 1.5 3600 5e-324 1e308 1.7976931348623157e308 1e400".split()
_ODD_SECONDS: Final = [*"NaN Infinity -Infinity -1e400 null 9007199254740993 -1e308".split(), "7" * 400]
_EDGES: Final = "5e-324 -0.0 0 4.49423283715579e307 8.98846567431158e307 2.2250738585072014e-308 1e-400".split()
_WILD: Final = (
    "1.7976931348623157e308",
    *"NaN Infinity -Infinity 1e400 -1e400 1e308 -1e308 9007199254740993 9007199254740992 0.1 0.3".split(),
    *"-9223372036854775808 9223372036854775807 18446744073709551616 16777217 2147483648 1e22 1e23".split(),
    *'123456789.123456789 3.0000000000000004 true "1.5" null'.split(),
    *("7" * 400, "-" + "7" * 400),
)
_TESTS: Final = (*"throughput throughput latency Latency a/b a é %".split(), "", None, "a\x00", "\ud800")
_METRICS: Final = (*"avg_tps avg_tps ttft_ms.p99 b/c c é % \U0001f999".split(), "", "a\x00", "m\ud800")
_LABELS: Final = (*"team Team a=b é machine % '".split(), "", "k\x00", "\ud800")
_ID: Final = "aAbBzZ09._-"

RAW = "\ue001"
"""Marks text that stands in the document as it is: numbers that no float has."""


def corpus(number: int) -> Iterator[list[CheckedRun]]:
    """Yield ``number`` runs in batches."""
    dice = random.Random(SEED)
    ids: set[str] = set()
    batch: list[CheckedRun] = []
    while len(ids) < number:
        run_id = _new_id(dice)
        if run_id in ids:
            continue
        ids.add(run_id)
        strict = dice.random() > 0.03
        document = _document(dice) if strict else dice.choice(list(UNFIT.values()))
        batch.append(check_run(document, run_id=run_id, created_at=_created(dice), strict=strict))
        if len(batch) == 250:
            yield batch
            batch = []
    yield batch


def _new_id(dice: random.Random) -> str:
    # Few characters, so that ids have common beginnings and differ in case and punctuation.
    return dice.choice(_ID[:8]) + "".join(dice.choices(_ID, k=dice.randint(1, 6)))


def _created(dice: random.Random) -> datetime:
    ends = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC)]
    if dice.random() < 0.05:
        return dice.choice(ends)
    return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=dice.choice([0, 1, 10**6, dice.randint(0, 99)])
    )


def _document(dice: random.Random) -> bytes:
    fields: dict[str, Any] = {
        "model": dice.choice(NAMES),
        "engine": dice.choice(("vllm", "vLLM", "llama_cpp", "ollama", *NAMES[:12])),
        "passed": dice.choice((True, False, None)),
    }
    fields["total_time_seconds"] = RAW + dice.choice(_ODD_SECONDS if dice.random() < 0.15 else _SECONDS)
    for name in ("total_benchmarks", "passed_count", "failed_count"):
        fields[name] = dice.choice(_INTEGERS)
    _sometimes(dice, fields, "suite_name", ("quick", "standard", "Quick", None, *NAMES[:20]))
    _sometimes(dice, fields, "kitt_version", ("1.7.0", "1.8.0", "1.10.0", "", None))
    _sometimes(dice, fields, "timestamp", _INSTANTS)
    if dice.random() < 0.7:
        fields["labels"] = {
            key: dice.choice((*NAMES[:30], 8, RAW + "1.50", RAW + "1e400", True, None, "8"))
            for key in dice.sample(_LABELS, dice.randint(0, 4))
        }
    if dice.random() < 0.8:
        fields["system_info"] = _system(dice)
    if dice.random() < 0.9:
        fields["results"] = [_entry(dice, first=i == 0) for i in range(dice.choice((0, 1, 1, 2, 2, 3, 5)))]
    return _encoded(fields)


def _sometimes(dice: random.Random, fields: dict[str, Any], name: str, values: Sequence[Any]) -> None:
    if dice.random() < 0.85:
        fields[name] = dice.choice(values)


def _system(dice: random.Random) -> dict[str, Any] | None:
    if dice.random() < 0.1:
        return dice.choice((None, {}))
    system: dict[str, Any] = {"ram_gb": dice.choice(_INTEGERS)}
    _sometimes(dice, system, "fingerprint", (None, "", "f1", "F1", "f\x00", *NAMES[:15]))
    _sometimes(dice, system, "environment_type", ("docker", "bare-metal", "Docker", "", None))
    _sometimes(dice, system, "machine", ("m1", "m2", "ſ", "\ud800"))
    model = dice.choice(("A100", "a100", "RTX 4090", "", None, *NAMES[:25]))
    gpu = {"model": model, "count": dice.choice(_INTEGERS), "vram_gb": dice.choice(_INTEGERS)}
    _sometimes(dice, system, "gpu", (gpu, gpu, gpu, {}, None))
    return system


def _entry(dice: random.Random, *, first: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"passed": dice.choice((True, False)), "run_number": dice.choice(_INTEGERS)}
    _sometimes(dice, entry, "test_name", _TESTS)
    metrics: dict[str, Any] = {}
    for name in dice.sample(_METRICS, dice.randint(0, 5)):
        metrics[name] = dice.randint(-200, 200) / 4
    metrics["deep"] = {"er": {"x": dice.randint(0, 9)}, "x": dice.choice((True, "1", None, 2))}
    if dice.random() < 0.4:
        metrics["edge"] = RAW + dice.choice(_EDGES)
    if first:
        metrics["wild"] = RAW + dice.choice(_WILD)
    entry["metrics"] = metrics
    _sometimes(dice, entry, "timestamp", _INSTANTS)
    return entry


def _encoded(fields: dict[str, Any]) -> bytes:
    text = json.dumps(fields)
    mark = json.dumps(RAW)[1:-1]
    while (start := text.find(f'"{mark}')) >= 0:
        end = text.index('"', start + 1 + len(mark))
        # A raw text in quotes has them escaped, and loses the escapes.
        while text[end - 1] == "\\":
            end = text.index('"', end + 1)
        raw = json.loads(text[start : end + 1])[len(RAW) :]
        text = text[:start] + raw + text[end + 1 :]
    return text.encode()
