from __future__ import annotations

import csv
import io
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, BinaryIO

import pytest

from kitt_core._builtin.exporters import write_csv, write_json, write_jsonl, write_markdown
from kitt_core.errors import InvalidDocumentError
from kitt_core.plugins import EXPORTERS, PluginManager
from kitt_core.presentation import parse_stored
from kitt_core.rundir.summary import render_summary
from kitt_core.runs import StoredRun, rows
from kitt_core.runs.codec import digest

Write = Callable[[Iterable[StoredRun], BinaryIO], None]


def stored(document: bytes | dict[str, Any], run_id: str = "run-1") -> StoredRun:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return StoredRun(run_id, data, datetime(2025, 1, 1, tzinfo=UTC), digest(data))


def written(write: Write, *runs: StoredRun) -> bytes:
    stream = io.BytesIO()
    write(runs, stream)
    return stream.getvalue()


def cells(*runs: StoredRun) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written(write_csv, *runs).decode(), newline="")))


def entry(**fields: Any) -> dict[str, Any]:
    return {"test_name": "throughput", "run_number": 1, "passed": True, "metrics": {}, **fields}


HOSTILE = (
    b'\xef\xbb\xbf{"model":\r\n "m",  "engine": "e", "a": 1.0e3, "a": 1e400,\n"t": "\\n \\u0000", "n": NaN }\r\n'
)


def test_the_formats_are_registered_under_the_names_of_their_entry_points() -> None:
    plugins = PluginManager(disabled=())
    found = {name: plugins.find(EXPORTERS, name) for name in ("json", "jsonl", "csv", "markdown")}
    assert [exporter.suffix for exporter in found.values()] == [".json", ".jsonl", ".csv", ".md"]
    assert [name for name, exporter in found.items() if exporter.single] == ["json"]


def test_json_is_the_document_byte_for_byte() -> None:
    assert written(write_json, stored(HOSTILE)) == HOSTILE


def test_json_lines_keep_every_token_of_every_document_in_one_line_each() -> None:
    *lines, last = written(write_jsonl, stored(HOSTILE), stored(b'{"b": 1}')).split(b"\n")
    assert [line.split() for line in lines] == [HOSTILE.removeprefix(BOM_UTF8).split(), [b'{"b":', b"1}"]]
    assert lines[1:] == [b'{"b": 1}']
    assert last == b""


def test_csv_has_a_row_per_entry_and_columns_in_the_order_first_seen() -> None:
    first = stored(
        {
            "model": "m",
            "engine": "e",
            "suite_name": "s",
            "timestamp": "2025-07-30T12:06:27+02:00",
            "kitt_version": "1.8.1",
            "results": [
                entry(metrics={"avg_tps": 40, "ttft_ms": {"p50": 1.25}}),
                entry(run_number=2, passed=False, metrics={"late": -1}),
            ],
        }
    )
    second = stored({"model": "n", "engine": "e", "results": [entry(metrics={"avg_tps": 0.1})]}, "run-2")
    text = written(write_csv, first, second).decode()
    assert text.splitlines() == [
        (
            "run_id,model,engine,suite_name,timestamp,kitt_version,"
            "test_name,test_version,run_number,passed,skipped,avg_tps,ttft_ms.p50,late"
        ),
        "run-1,m,e,s,2025-07-30T10:06:27Z,1.8.1,throughput,1.0.0,1,true,,40,1.25,",
        "run-1,m,e,s,2025-07-30T10:06:27Z,1.8.1,throughput,1.0.0,2,false,,,,-1",
        "run-2,n,e,,,,throughput,1.0.0,1,true,,0.1,,",
    ]


def test_csv_quotes_what_would_break_a_row() -> None:
    model = 'a,"b"\r\nc\rd'
    assert cells(stored({"model": model, "engine": "e", "results": [entry()]}))[0]["model"] == model


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_spreadsheet_computes_nothing_from_texts(text: str) -> None:
    row = cells(stored({"model": text, "engine": "e", "results": [entry(metrics={text: text})]}))[0]
    assert row["model"] == f"'{text}"
    assert row[f"'{text}"] == f"'{text}"


def test_numbers_in_csv_keep_their_sign_and_what_doubles_lack() -> None:
    metrics = b'{"a": -1.5, "b": NaN, "c": -Infinity, "d": ' + b"9" * 5000 + b"}"
    row = cells(stored(b'{"model":"m","engine":"e","results":[{"metrics":' + metrics + b"}]}"))[0]
    assert (row["a"], row["b"], row["c"]) == ("-1.5", "NaN", "-Infinity")
    assert row["d"] == "9" * 5000


def test_a_metric_that_is_called_like_a_column_replaces_nothing() -> None:
    row = cells(stored({"model": "m", "engine": "e", "results": [entry(metrics={"passed": 3, "model": "x"})]}))[0]
    assert (row["passed"], row["model"]) == ("true", "m")
    assert (row["metrics.passed"], row["metrics.model"]) == ("3", "x")


def test_a_damaged_document_is_named() -> None:
    for write in (write_csv, write_markdown):
        with pytest.raises(InvalidDocumentError, match="run broken cannot be read"):
            written(write, stored(b"{", "broken"))


def test_markdown_is_a_table_with_the_entries_of_a_benchmark_side_by_side() -> None:
    run = stored(
        {
            "model": "org/m",
            "engine": "e",
            "suite_name": "quick",
            "timestamp": "2025-07-30T10:06:27",
            "passed": False,
            "total_benchmarks": 3,
            "passed_count": 2,
            "results": [
                entry(metrics={"avg_tps": 12345.678}),
                entry(passed=False, metrics={"avg_tps": 0.123456}),
                entry(test_name="latency", metrics={"ttft_ms": {"p50": 2.0}}),
            ],
        }
    )
    assert written(write_markdown, run).decode() == (
        "### `org/m` · `e` · `quick`\n\n"
        "Run `run-1`, 2025-07-30 10:06:27 UTC, FAILED (2/3)\n\n"
        "| Benchmark | Metric | Run 1 | Run 2 |\n"
        "|---|---|--:|--:|\n"
        "| `throughput` |  | passed | failed |\n"
        "| `throughput` | `avg_tps` | 12346 | 0.1235 |\n"
        "| `latency` |  | passed |  |\n"
        "| `latency` | `ttft_ms.p50` | 2 |  |\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[/red] [x](http://y) @me #1 <b>&lt;", "`[/red] [x](http://y) @me #1 <b>&lt;`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("a|b", r"`a\|b`"),
        (r"a\|b", r"`a\\\|b`"),
        ("a\nb\x1b[0m", "`a b [0m`"),
    ],
)
def test_text_in_markdown_is_never_markup(text: str, shown: str) -> None:
    run = stored({"model": text, "engine": "e", "results": [entry(metrics={text: 1})]})
    lines = written(write_markdown, run).decode().splitlines()
    assert lines[0].startswith(f"### {shown} · ")
    assert lines[-1] == f"| `throughput` | {shown} | 1 |"


def test_a_skipped_entry_is_shown_as_such() -> None:
    run = stored(
        {
            "model": "m",
            "engine": "e",
            "passed": True,
            "total_benchmarks": 2,
            "passed_count": 1,
            "results": [entry(), entry(test_name="memory", skipped="no readings", metrics={"skipped": 1})],
        }
    )
    assert [(row["passed"], row["skipped"]) for row in cells(run)] == [("true", ""), ("", "no readings")]
    assert cells(run)[1]["metrics.skipped"] == "1"
    text = written(write_markdown, run).decode()
    assert "PASSED (1/2, 1 skipped)" in text
    assert "| `memory` |  | skipped |\n| `memory` |  | no readings |" in text


def test_entries_without_rows_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_ENTRIES", 2)  # a document in which an older KITT stored more
    results = [entry(metrics={"avg_tps": n}) for n in range(3)]
    run = stored({"model": "m", "engine": "e", "results": results})
    assert [row["avg_tps"] for row in cells(run)] == ["0", "1"]
    assert "| `throughput` | `avg_tps` | 0 | 1 |" in written(write_markdown, run).decode()
    document, found = parse_stored(run)
    assert "throughput" in render_summary(document, found, run.created_at)
