"""Documents to test with: ordinary ones, hostile ones that must come back bit for bit, and ones to be refused.

All of them are generated here and are the same on every machine, so that failures can be reproduced elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from kitt_core.runs.codec import MAX_DEPTH
from kitt_core.runs.rows import MAX_TEXT

__all__ = [
    "HOSTILE",
    "HOSTILE_NAMES",
    "MINIMAL",
    "REFUSED",
    "STANDARD",
    "UNFIT",
    "Refused",
    "as_bytes",
    "multiplying_names",
    "nested",
    "run",
    "small",
]

_DIGITS: Final = "7" * 5000
_TOO_LONG: Final = "x" * (MAX_TEXT + 1)
_BENCHMARKS: Final = (
    "throughput",
    "latency",
    "memory",
    "warmup_analysis",
    "streaming_latency",
    "quality",
    "long_context",
    "concurrency",
)


def as_bytes(document: Mapping[str, Any]) -> bytes:
    """Return ``document`` as in ``metrics.json`` files: indented by two, ASCII, with a final newline."""
    return (json.dumps(document, indent=2) + "\n").encode()


def run(**fields: Any) -> dict[str, Any]:
    """Return the smallest valid document with ``fields`` added or replaced."""
    return {"model": "m", "engine": "e", **fields}


def small(i: int) -> dict[str, Any]:
    """Return number ``i`` of an endless series of small documents with two benchmarks each."""
    return {
        "kitt_version": "1.8.0",
        "suite_name": "quick" if i % 2 else "standard",
        "timestamp": f"2025-{1 + i % 12:02}-{1 + i % 28:02}T{i % 24:02}:00:00+00:00",
        "engine": ("vllm", "llama_cpp", "ollama")[i % 3],
        "model": f"org/model-{i:04}",
        "passed": i % 5 != 0,
        "total_benchmarks": 2,
        "passed_count": 1 + bool(i % 5),
        "failed_count": int(not i % 5),
        "total_time_seconds": 10.0 + i / 4,
        "results": [
            {
                "test_name": "throughput",
                "test_version": "1.0.0",
                "run_number": 1,
                "passed": True,
                "metrics": {"avg_tps": 20.0 + i / 4, "total_iterations": 5},
                "errors": [],
                "warmup_times": [0.5, 0.25],
                "timestamp": f"2025-{1 + i % 12:02}-{1 + i % 28:02}T{i % 24:02}:00:01+00:00",
            },
            {
                "test_name": "latency",
                "test_version": "1.0.0",
                "run_number": 1,
                "passed": i % 5 != 0,
                "metrics": {"ttft_ms": {"avg": 12.5 + i, "p99": 40.0 + i}},
                "errors": [] if i % 5 else ["timeout"],
            },
        ],
    }


def nested(levels: int, *, objects: bool = False) -> bytes:
    """Return a document whose arrays (or objects) are nested ``levels`` deep, the document itself included."""
    opening, closing = ('{"x":', "}") if objects else ("[", "]")
    inside = opening * (levels - 1) + "1" + closing * (levels - 1)
    return f'{{"model": "deep", "engine": "e", "x": {inside}}}'.encode()


def multiplying_names(size: int) -> bytes:
    """Return a document of about ``size`` bytes whose metrics' names would take seventy times as many.

    The names of objects are repeated in the name of each metric inside.
    """
    levels = 90
    opening = "".join(f'{{"{level:09}":' for level in range(levels))
    numbers = ",".join(f'"{i}":{i}' for i in range(size // 13))
    metrics = f"{opening}{{{numbers}}}{'}' * levels}"
    return f'{{"model":"m","engine":"e","results":[{{"test_name":"t","metrics":{metrics}}}]}}'.encode()


def _standard() -> bytes:
    results = [_standard_entry(i) for i in range(24)]
    document = {
        "kitt_version": "1.8.0",
        "suite_name": "standard",
        "timestamp": "2025-07-30T10:06:27.799149",
        "engine": "vllm",
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "passed": False,
        "total_benchmarks": len(results),
        "passed_count": sum(entry["passed"] for entry in results),
        "failed_count": sum(not entry["passed"] for entry in results),
        "total_time_seconds": 1834.25,
        "results": results,
        "system_info": {
            "gpu": {"model": "NVIDIA H100 80GB HBM3", "vram_gb": 80, "count": 2, "compute_capability": [9, 0]},
            "cpu": {"model": "AMD EPYC 9654 96-Core Processor", "cores": 96, "threads": 192},
            "ram_gb": 1024,
            "ram_type": "DDR5",
            "storage": {"brand": "Samsung", "model": "PM9A3", "type": "nvme"},
            "cuda_version": "12.8",
            "driver_version": "570.86.15",
            "os": "Linux-6.8.0-60-generic-x86_64",
            "kernel": "6.8.0-60-generic",
            "environment_type": "bare_metal",
            "fingerprint": "h100-80gb-2x_epyc-9654-96c_1024gb-ddr5_linux-6.8",
        },
    }
    return as_bytes(document)


def _standard_entry(i: int) -> dict[str, Any]:
    tps = 40 + i * 1.25
    return {
        "test_name": _BENCHMARKS[i % 8],
        "test_version": "1.0.0",
        "run_number": 1 + i // 8,
        "passed": i != 17,
        "metrics": {
            "total_iterations": 5 + i,
            "total_tokens_generated": 1280 + 7 * i,
            "total_time_seconds": round(30 + i / 3, 2),
            "avg_tps": tps,
            "min_tps": tps - 4.5,
            "max_tps": tps + 6.75,
            "ttft_ms": {"avg": round(25 + i / 7, 2), "p50": 24.5, "p95": round(31 + i / 7, 2), "p99": 38.25},
            "memory_gb": {"peak": round(61.3 + i / 11, 2), "avg": 58.75},
        },
        "errors": ["request 3: read timed out after 30 s"] if i == 17 else [],
        "config": {"temperature": 0.0, "max_tokens": 256, "concurrency": 1 + i % 4},
        "warmup_times": [1.9134928270242154, 0.6412, 0.5230981639120728, 0.5224, 0.5173265221063048],
        "timestamp": f"2025-07-30T10:{10 + i:02}:13.{251 * (i + 7):06}",
    }


MINIMAL: Final = b'{"model": "m", "engine": "e"}'
"""The shortest valid document."""

STANDARD: Final = _standard()
"""A document of ordinary size: about 22 KB, 24 entries with 12 numbers each, some of them nested."""

HOSTILE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "climbs": "../../x",
        "absolute": "/abs/olute",
        "parent": "..",
        "here": ".",
        "device": "CON",
        "device with extension": "nul.txt",
        "300 characters": "n" * 300,
        "300 wide characters": "模" * 300,
        "empty": "",
        "blank": " ",
        "ends in a dot and a blank": "model. ",
        "newline": "two\nlines",
        "tab and return": "a\tb\rc",
        "escape sequence": "\x1b[31mred\x1b[0m",
        "percent": "100%",
        "percent escape": "a%2Fb%00",
        "star": "a*b",
        "question mark": "a?b",
        "brackets": "[a-z]",
        "markup": "[/red] [b]x[/b]",
        "underscore": "a_b",
        "slash": "a/b",
        "backslash": "a\\b\\",
        "double quote": 'say "hello"',
        "single quote": "it's; DROP TABLE runs; --",
        "option": "--help",
        "home": "~/$HOME/`id`",
        "formula": "=1+1",
        "comma": 'a,"b";c|d',
        "emoji": "🦙 llama",
        "combining": "e\u0301 is not \u00e9",
        "right to left": "\u202egnp.exe",
        "non-character": "\uffff\ufffe",
        "replacement": "\ufffd",
        "byte-order mark inside": "a\ufeffb",
    }
)
"""Names of models (or engines, suites, benchmarks) that confuse paths, patterns, statements or terminals."""


def _hostile() -> dict[str, bytes]:
    text = {
        "minimal": MINIMAL.decode(),
        "own id": '{"id": "not-the-run-id", "run_id": 7, "model": "m", "engine": "e"}',
        "key order": '{"results": [], "zebra": 1, "model": "m", "alpha": 2, "engine": "e"}',
        "white space": ' \n\t{ "model"\t:"m" ,\r\n\n  "engine":   "e"  } \n ',
        "CRLF": '{\r\n  "model": "m",\r\n  "engine": "e"\r\n}\r\n',
        "one final newline": '{"model": "m", "engine": "e"}\n',
        "several final newlines": '{"model": "m", "engine": "e"}\n\n\n',
        "byte-order mark": '\ufeff{"model": "m", "engine": "e"}\n',
        "duplicate keys": '{"model": "lost", "engine": "e", "model": "m", "a": 1, "a": 2, "results": '
        '[{"test_name": "t", "metrics": {"x": 1, "x": 2}, "metrics": {"x": 3, "x": 4}}]}',
        "no results": '{"model": "m", "engine": "e", "total_benchmarks": 0}',
        "empty results": '{"model": "m", "engine": "e", "results": []}',
        "empty entry": '{"model": "m", "engine": "e", "results": [{}, {"metrics": {}}]}',
        "empty objects": '{"model": "m", "engine": "e", "system_info": {}, "labels": {}, "x": {}, "": [[]]}',
        "nulls": '{"model": "m", "engine": "e", "suite_name": null, "timestamp": null, "passed": null,'
        ' "total_benchmarks": null, "total_time_seconds": null, "system_info": null, "labels": null}',
        "no GPU": '{"model": "m", "engine": "e", "system_info": {"gpu": null, "cpu": null, "ram_gb": 8}}',
        "unknown keys": '{"model": "m", "engine": "e", "future": {"nested": [1, {"k": null}]},'
        ' "results": [{"test_name": "t", "metrics": {"x": 1}, "novel": [true, false]}]}',
        "number spelling": '{"model": "m", "engine": "e", "a": 1.0e3, "b": 1.10, "c": 1E+2, "d": 0.10e-7,'
        ' "results": [{"test_name": "t", "metrics": {"a": 1.0e3, "b": 100.00, "c": 12345678901234567890.5}}]}',
        "negative zero": '{"model": "m", "engine": "e", "total_time_seconds": -0.0, "results":'
        ' [{"test_name": "t", "metrics": {"a": -0.0, "b": -0, "c": 0e-400}}]}',
        "beyond a double": '{"model": "m", "engine": "e", "total_time_seconds": 1e400, "results":'
        ' [{"test_name": "t", "metrics": {"x": 1e400, "y": -1e400, "z": 1e-400}}], "a": 1e400}',
        "not finite": '{"model": "m", "engine": "e", "total_time_seconds": NaN, "results":'
        ' [{"test_name": "t", "metrics": {"x": NaN, "y": Infinity, "z": -Infinity}}], "a": [NaN, -Infinity]}',
        "long integers": f'{{"model": "m", "engine": "e", "a": {_DIGITS}, "results":'
        f' [{{"test_name": "t", "metrics": {{"x": {_DIGITS}, "y": -{_DIGITS}}}}}]}}',
        "widest integers": '{"model": "m", "engine": "e", "total_benchmarks": 2147483647,'
        ' "passed_count": -2147483648, "a": 9223372036854775808}',
        "lone surrogates": r'{"model": "m\ud800", "engine": "e\udfff", "suite_name": "\ude00\ud83d",'
        r' "x\ud800": "\udc00", "labels": {"k\ud800": "v\udfff"}, "results":'
        r' [{"test_name": "t\udead", "metrics": {"m\ud800": 1}}], "system_info": {"fingerprint": "\ud800"}}',
        "U+0000": r'{"model": "m\u0000x", "engine": "\u0000", "suite_name": "\u0000s", "a\u0000": "\u0000",'
        r' "labels": {"k\u0000": "v\u0000"}, "results": [{"test_name": "t\u0000", "metrics": {"m\u0000": 1}}],'
        r' "system_info": {"gpu": {"model": "g\u0000"}, "environment_type": "\u0000"}}',
        "escaped text": r'{"model": "m\/\u0041\n\"\\", "engine": "\u00e9\ud83e\udd99", "a": "\b\f\r\u001f\u007f"}',
        "raw text": '{"model": "Müller/模型-🦙", "engine": "é", "a": "\x7f\x80\u2028\u2029\ufeff\uffff",'
        ' "b": "\U0001d518\U0010ffff"}',
        "markup": '{"model": "</script><!--", "engine": "e", "a": "]]>", "b": "${x} {{y}} %s %(z)s \'\' ; --"}',
        "metric shapes": '{"model": "m", "engine": "e", "results": [{"test_name": "t", "metrics": {"flag": true,'
        ' "text": "1.5", "none": null, "list": [1, 2], "deep": {"a": {"b": {"c": 1.5}}, "": 2}, "": 3, "a.b": 4,'
        ' "a": {"b": 5}, "a/b": 6, "deep ": {}}}]}',
        "names of benchmarks": '{"model": "m", "engine": "e", "results": [{"test_name": "", "metrics": {"x": 1}},'
        ' {"metrics": {"x": 2}}, {"test_name": "a/b", "metrics": {"x": 3}}, {"test_name": "a/b", "run_number": 2,'
        ' "metrics": {"x": 4}}, {"test_name": "%_*", "metrics": {"%": 5, "_": 6, "*": 7}}]}',
        "labels of all types": '{"model": "m", "engine": "e", "labels": {"text": "v", "number": 8, "real": 1.50,'
        ' "flag": true, "none": null, "list": [1], "": "empty", "a=b": "c=d"}, "system_info": {"machine": "m1"}}',
        "no labels": '{"model": "m", "engine": "e", "labels": [1, 2]}',
        "empty timestamp": '{"model": "m", "engine": "e", "timestamp": "", "results": [{"timestamp": ""}]}',
        "first instant": '{"model": "m", "engine": "e", "timestamp": "0001-01-01T00:00:00+00:00"}',
        "last instant": '{"model": "m", "engine": "e", "timestamp": "9999-12-31T23:59:59.999999Z"}',
        "odd offset": '{"model": "m", "engine": "e", "timestamp": "2025-01-01T12:00:00.5+05:45"}',
        "date only": '{"model": "m", "engine": "e", "timestamp": "2025-01-01"}',
    }
    names = {
        f"named {what}": json.dumps(
            run(model=name, engine=name, suite_name=name, results=[{"test_name": name, "metrics": {name: 1.0}}])
        )
        for what, name in HOSTILE_NAMES.items()
    }
    raw = {
        "deep arrays": nested(MAX_DEPTH),
        "deep objects": nested(MAX_DEPTH, objects=True),
        "long text": b'{"model": "m", "engine": "e", "log": "' + b"0123456789abcdef" * (1 << 18) + b'"}',
        "standard": STANDARD,
    }
    return {what: document.encode() for what, document in (text | names).items()} | raw


HOSTILE: Final[Mapping[str, bytes]] = MappingProxyType(_hostile())
"""Documents that every store must accept and return bit for bit, by what is odd about them; no two are equal."""


@frozen
class Refused:
    """A document that must be refused.

    Attributes:
        name: What is wrong with it.
        document: The document.
        names: What the message must contain: the JSON path of what is wrong.
    """

    name: str
    document: Any = field(repr=False)
    names: str = "$"


def _refused_bytes() -> list[Refused]:
    minimal = MINIMAL.decode()
    return [
        Refused("nothing", b""),
        Refused("white space only", b" \n"),
        Refused("not UTF-8", b'{"model": "\xff", "engine": "e"}'),
        Refused("encoded surrogate", b'{"model": "\xed\xa0\x80", "engine": "e"}'),
        Refused("UTF-16", minimal.encode("utf-16")),
        Refused("UTF-16 without a mark", minimal.encode("utf-16-le")),
        Refused("UTF-32", minimal.encode("utf-32")),
        Refused("UTF-32 without a mark", minimal.encode("utf-32-be")),
        Refused("cut off", MINIMAL[:-1]),
        Refused("two documents", MINIMAL * 2),
        Refused("JSON lines", MINIMAL + b"\n" + MINIMAL),
        Refused("trailing comma", b'{"model": "m", "engine": "e",}'),
        Refused("comment", b'{"model": "m", "engine": "e"} // done'),
        Refused("single quotes", b"{'model': 'm', 'engine': 'e'}"),
        Refused("raw control character", b'{"model": "a\nb", "engine": "e"}'),
        Refused("array", b"[" + MINIMAL + b"]", "$ is an array"),
        Refused("text", b'"model"', "$ is"),
        Refused("number", b"1", "$ is 1"),
        Refused("null", b"null", "$ is null"),
        Refused("one level too deep", nested(MAX_DEPTH + 1), "$ is nested deeper"),
        Refused("one object too deep", nested(MAX_DEPTH + 1, objects=True), "$ is nested deeper"),
        Refused("endless", b'{"model":' + b"[" * 100_000, "$ is nested deeper"),
        Refused(
            "huge integer in a column",
            f'{{"model": "m", "engine": "e", "passed_count": {_DIGITS}}}'.encode(),
            "$.passed_count",
        ),
    ]


def _refused_fields() -> list[Refused]:
    entry = "$.results[1]"

    def second(**fields: Any) -> dict[str, Any]:
        return run(results=[{"test_name": "fine", "metrics": {"x": 1}}, {"test_name": "t", **fields}])

    def system(**fields: Any) -> dict[str, Any]:
        return run(system_info=fields)

    return [
        Refused("no fields", {}, "$.model"),
        Refused("no model", {"engine": "e"}, "$.model is missing"),
        Refused("no engine", {"model": "m"}, "$.engine is missing"),
        Refused("null model", run(model=None), "$.model is null"),
        Refused("number as model", run(model=7), "$.model is 7"),
        Refused("object as model", run(model={"name": "m"}), "$.model"),
        Refused("array as engine", run(engine=["e"]), "$.engine"),
        Refused("number as suite", run(suite_name=1.5), "$.suite_name is 1.5"),
        Refused("text as flag", run(passed="false"), '$.passed is "false"'),
        Refused("number as flag", run(passed=1), "$.passed is 1"),
        Refused("text as integer", run(total_benchmarks="3"), '$.total_benchmarks is "3"'),
        Refused("real as integer", run(passed_count=1.5), "$.passed_count is 1.5"),
        Refused("flag as integer", run(failed_count=True), "$.failed_count is true"),
        Refused("integer too large", run(total_benchmarks=2**31), f"$.total_benchmarks is {2**31}"),
        Refused("integer too small", run(failed_count=-(2**31) - 1), "$.failed_count"),
        Refused("text as number", run(total_time_seconds="1.5"), '$.total_time_seconds is "1.5"'),
        Refused("flag as number", run(total_time_seconds=True), "$.total_time_seconds is true"),
        Refused("word as time", run(timestamp="yesterday"), '$.timestamp is "yesterday"'),
        Refused("number as time", run(timestamp=1750000000), "$.timestamp is 1750000000"),
        Refused("no such month", run(timestamp="2025-13-01T00:00:00"), "$.timestamp"),
        Refused("time before year 1", run(timestamp="0001-01-01T00:00:00+14:00"), "$.timestamp"),
        Refused("results null", run(results=None), "$.results is null"),
        Refused("results object", run(results={"throughput": {}}), "$.results is an object"),
        Refused("results of numbers", run(results=[{}, 5]), f"{entry} is 5"),
        Refused("metrics null", second(metrics=None), f"{entry}.metrics is null"),
        Refused("metrics array", second(metrics=[1]), f"{entry}.metrics is an array"),
        Refused("number as benchmark", second(test_name=5), f"{entry}.test_name is 5"),
        Refused("text as run number", second(run_number="1"), f'{entry}.run_number is "1"'),
        Refused("text as entry's flag", second(passed="true"), f'{entry}.passed is "true"'),
        Refused("word as entry's time", second(timestamp="noon"), f'{entry}.timestamp is "noon"'),
        Refused("system_info array", run(system_info=[1]), "$.system_info is an array"),
        Refused("text as GPU", system(gpu="A100"), '$.system_info.gpu is "A100"'),
        Refused("unit in a number", system(gpu={"vram_gb": "24GB"}), '$.system_info.gpu.vram_gb is "24GB"'),
        Refused("cores too many", system(cpu={"cores": 2**70}), "$.system_info.cpu.cores"),
        Refused("text as memory", system(ram_gb="64"), '$.system_info.ram_gb is "64"'),
        Refused("number as fingerprint", system(fingerprint=12), "$.system_info.fingerprint is 12"),
        Refused("long model", run(model=_TOO_LONG), f"$.model has {MAX_TEXT + 1} characters"),
        Refused("long fingerprint", system(fingerprint=_TOO_LONG), "$.system_info.fingerprint has 1001"),
        Refused("long machine id", system(machine=_TOO_LONG), "$.system_info.machine has 1001"),
        Refused("long benchmark", second(test_name=_TOO_LONG), f"{entry}.test_name has 1001"),
        Refused("long metric", second(metrics={_TOO_LONG: 1}), f"{entry}.metrics.xxx"),
        Refused("long nested metric", second(metrics={"x" * 600: {"y": {"z" * 399: 1}}}), f"{entry}.metrics.xxx"),
        Refused("long label", run(labels={"a": _TOO_LONG}), "$.labels.a has 1001"),
        Refused("long name of a label", run(labels={_TOO_LONG: "a"}), "the name of $.labels.xxx"),
        Refused("names that multiply", multiplying_names(100_000), "$.results[0].metrics.000000000"),
    ]


def _refused_values() -> list[Refused]:
    cyclic: dict[str, Any] = run()
    cyclic["self"] = cyclic
    return [
        Refused("list", [run()], "list"),
        Refused("None", None, "NoneType"),
        Refused("text that is not Unicode", '{"model": "\ud800", "engine": "e"}', "character 11"),
        Refused("a time in a mapping", run(timestamp=datetime(2025, 1, 1, tzinfo=UTC)), "$.timestamp"),
        Refused("a set in a mapping", run(x=[1, {"y": {1, 2}}]), "$.x[1].y"),
        Refused("bytes in a mapping", run(x=b"1"), "$.x"),
        Refused("a key that is not text", run(x={1: 2}), "a key of $.x"),
        Refused("endless mapping", cyclic, "$.self"),
    ]


REFUSED: Final = (*_refused_bytes(), *_refused_fields(), *_refused_values())
"""Documents that ``save_result`` must refuse."""

UNFIT: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "nothing known": b"{}",
        "nothing known, otherwise spelled": b"{ }\n",
        "nulls": b'{"model": null, "engine": null}',
        "wrong types": b'{"model": 7, "engine": ["e"], "passed": "false", "total_benchmarks": 1e3,'
        b' "total_time_seconds": "long", "timestamp": "yesterday", "results": [1, {"metrics": null,'
        b' "test_name": {}}], "system_info": {"gpu": "A100", "ram_gb": "64"}, "suite_name": 1, "kitt_version": 2}',
        "too large": b'{"model": "m", "engine": "", "passed_count": 2147483648, "results": [{"run_number": 1e9}]}',
        "too long": as_bytes(
            {
                "model": _TOO_LONG,
                "engine": "e",
                "labels": {"k": _TOO_LONG, _TOO_LONG: "v"},
                "results": [{"test_name": _TOO_LONG, "metrics": {_TOO_LONG: {"a": 1}, "fits": 2}}],
                "system_info": {"fingerprint": _TOO_LONG, "machine": _TOO_LONG},
            }
        ),
        "no results": b'{"model": "m", "engine": "e", "results": {"a": 1}, "system_info": "none"}',
    }
)
"""JSON objects that are refused, but accepted with ``strict=False``."""
