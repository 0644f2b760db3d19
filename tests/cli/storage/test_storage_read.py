from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import fields

from kitt_core.runs import RunSummary

Kitt = Callable[..., Any]
Make = Callable[..., bytes]


def models(kitt: Kitt, *arguments: str) -> list[str]:
    outcome = kitt("list", "--format", "json", *arguments)
    assert outcome.code == 0, outcome.err
    return [row["model"] for row in outcome.json]


def test_rows_have_the_names_of_the_summary(kitt: Kitt, stored: list[str]) -> None:
    row = kitt("list", "--format", "json").json[0]
    assert list(row) == [*(attribute.name for attribute in fields(RunSummary)), "skipped_count"]
    assert (row["id"], row["timestamp"], row["passed"]) == (stored[2], "2025-03-01T00:00:00Z", True)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), ["other/c", "org/b", "org/a"]),
        (("--model", "org/*"), ["org/b", "org/a"]),
        (("--model", "org/a", "--model", "other/*"), ["other/c", "org/a"]),
        (("--engine", "tgi"), ["other/c"]),
        (("--suite", "standard"), []),
        (("--passed",), ["other/c", "org/b"]),
        (("--failed",), ["org/a"]),
        (("--since", "2025-02-01"), ["other/c", "org/b"]),
        (("--until", "2025-02-01"), ["org/a"]),
        (("--where", "avg_tps>40"), ["other/c", "org/b"]),
        (("--where", "avg_tps>40", "--where", "throughput/avg_tps<=45"), ["org/b"]),
        (("--label", "team=tgi"), ["other/c"]),
        (("--label", "team=tgi", "--label", "team=vllm"), ["other/c", "org/b", "org/a"]),
        (("--label", "team=tgi", "--label", "who=me"), []),
        (("--search", "ORG"), ["org/b", "org/a"]),
        (("--sort", "metric:avg_tps"), ["org/a", "org/b", "other/c"]),
        (("--sort", "-model", "--limit", "2"), ["other/c", "org/b"]),
        (("--limit", "all"), ["other/c", "org/b", "org/a"]),
    ],
)
def test_filters_orders_and_limits_hold(
    kitt: Kitt, stored: list[str], arguments: tuple[str, ...], found: list[str]
) -> None:
    assert models(kitt, *arguments) == found


def test_a_page_says_how_to_go_on(kitt: Kitt, stored: list[str]) -> None:
    first = kitt("list", "--limit", "2", "--format", "json")
    assert first.err.startswith("more runs follow: --limit all, or --after ")
    cursor = first.err.split()[-1]  # as somebody copies it
    last = kitt("list", "--limit", "2", "--after", cursor, "--format", "json")
    assert [row["id"] for row in first.json + last.json] == stored[::-1]
    assert last.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--since", "yesterdayish"), "'yesterdayish', expected an ISO 8601"),
        (("list", "--where", "avg_tps"), "metric condition 'avg_tps' cannot be read"),
        (("list", "--label", "team"), "'team' is not KEY=VALUE"),
        (("list", "--sort", "modle"), "unknown order 'modle'"),
        (("list", "--limit", "-1"), "'-1', expected a number of runs from 1"),
        (("list", "--limit", "0"), "'0', expected a number of runs from 1"),
        (("list", "--after", "x"), "cursor 'x' does not belong"),
        (("stats", "--by", "modle"), "cannot group by 'modle'"),
        (("stats", "--by", "model,label:"), "'label:' has no key, expected label:KEY"),
        (("aggregate", "--by", "label:"), "'label:' has no key, expected label:KEY"),
        (("aggregate", "--by", "engine", "--metric", "x", "--stat", "mead"), "unknown statistic 'mead'"),
        (("aggregate", "--metric", "x"), "missing option '--by'"),
        (("aggregate", "--by", "engine", "--stat", "p50"), "--stat is given without --metric"),
        (("list", "--model", "x", "--modle", "y"), "--modle"),
        (("lst",), "no such command: 'lst'"),
    ],
)
def test_bad_use_is_one_line_and_exits_with_2(kitt: Kitt, arguments: tuple[str, ...], message: str) -> None:
    outcome = kitt(*arguments)
    assert (outcome.code, outcome.out) == (2, b"")
    first, *hints = outcome.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert len(hints) <= 1
    assert all(line.startswith("hint: ") for line in hints)


def test_piped_listings_are_whole_and_tab_separated(kitt: Kitt, stored: list[str]) -> None:
    head, *rows = kitt("list").lines
    assert head.split("\t")[:3] == ["id", "model", "engine"]
    assert [row.split("\t")[0] for row in rows] == stored[::-1]


def test_an_empty_store_is_an_empty_list(kitt: Kitt) -> None:
    kitt("init")
    assert models(kitt) == []
    assert kitt("stats", "--format", "json").json["runs"] == 0


def test_show_is_a_readable_page(kitt: Kitt, stored: list[str]) -> None:
    text = kitt("show", stored[1][-8:]).out.decode()
    assert f"id\t{stored[1]}\n" in text
    assert "status\tpassed (1 of 1 passed)\n" in text
    assert "label team\tvllm\n" in text
    assert "throughput\tavg_tps\t45.0\n" in text


def test_what_was_skipped_or_interrupted_is_shown(kitt: Kitt, tmp_path: Path) -> None:
    results = [
        {
            "test_name": "throughput",
            "passed": False,
            "incomplete": "43 of 400 requests",
            "metrics": {"avg_tps": 4},
        },
        {"test_name": "memory", "skipped": "no readings"},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"model": "m", "engine": "e", "results": results}))
    kitt("import", "a.json")
    (run,) = kitt("list", "--format", "json").json
    assert (run["total_benchmarks"], run["failed_count"], run["skipped_count"]) == (2, 1, 1)
    lines = kitt("show", run["id"]).lines
    assert "throughput\tnote\t43 of 400 requests" in lines
    assert lines[-2:] == ["memory\tstatus\tskipped", "memory\tnote\tno readings"]


def test_show_writes_a_file_in_the_format_of_its_extension(kitt: Kitt, stored: list[str], tmp_path: Path) -> None:
    assert kitt("show", stored[0], "-o", "a.csv").code == 0
    assert (tmp_path / "a.csv").read_text().splitlines()[1].startswith(stored[0])
    assert kitt("show", stored[0], "--format", "table", "-o", "a.txt").code == 2


def test_stats_count(kitt: Kitt, stored: list[str]) -> None:
    values = kitt("stats", "--format", "json").json
    assert {name: values[name] for name in ("runs", "passed", "failed", "models", "engines", "suites")} == {
        "runs": 3,
        "passed": 2,
        "failed": 1,
        "models": 3,
        "engines": 2,
        "suites": 1,
    }
    assert (values["oldest"], values["newest"]) == ("2025-01-01T00:00:00Z", "2025-03-01T00:00:00Z")


def test_stats_by_a_field_count_each_group_the_largest_first(kitt: Kitt, stored: list[str]) -> None:
    assert kitt("stats", "--by", "engine", "--format", "json").json == [
        {"engine": "vllm", "count": 2},
        {"engine": "tgi", "count": 1},
    ]
    assert len(kitt("stats", "--by", "engine,model", "--failed", "--format", "json").json) == 1


def test_aggregate_computes_statistics_by_group(kitt: Kitt, stored: list[str]) -> None:
    arguments = ("--by", "engine", "--metric", "avg_tps", "--stat", "avg,p50", "--stat", "count")
    assert kitt("aggregate", *arguments, "--format", "json").json == [
        {"engine": "tgi", "count": 1, "avg_tps_avg": 90.0, "avg_tps_p50": 90.0, "avg_tps_count": 1},
        {"engine": "vllm", "count": 2, "avg_tps_avg": 27.5, "avg_tps_p50": 27.5, "avg_tps_count": 2},
    ]
    filtered = kitt(
        "aggregate", "--by", "model", "--metric", "avg_tps", "--where", "avg_tps>80", "--format", "csv"
    )
    assert filtered.lines == ["model,count,avg_tps_avg", "other/c,1,90.0"]


def test_what_is_beyond_the_range_of_a_double_is_empty_and_a_note_says_so(kitt: Kitt, document: Make) -> None:
    for i, (engine, value) in enumerate((("a", 1.5e308), ("a", -1.5e308), ("b", 1e308), ("b", 1e308), ("c", 1))):
        data = document(engine=engine, avg_tps=value, labels={"number": str(i)})
        assert kitt("import", "-", stdin=data).code == 0
    arguments = ("--by", "engine", "--metric", "avg_tps", "--stat", "sum,stddev")
    outcome = kitt("aggregate", *arguments, "--format", "csv")
    assert outcome.lines == [
        "engine,count,avg_tps_sum,avg_tps_stddev",
        "a,2,0.0,",
        "b,2,,0.0",
        "c,1,1.0,",
    ]
    assert outcome.err.splitlines() == [
        "avg_tps_sum is empty where it is beyond the range of a double, in 1 group",
        "avg_tps_stddev is empty where it is beyond the range of a double, in 1 group",
    ]


def test_groups_are_labels_machines_and_periods(kitt: Kitt, document: Make) -> None:
    for commit, day in (("b", 6), ("a", 11), ("a", 12), ("a", 13)):
        system = {"machine": f"m{day % 2}"}
        data = document(labels={"commit": commit}, timestamp=f"2025-01-{day:02}", system_info=system, avg_tps=day)
        assert kitt("import", "-", stdin=data).code == 0
    outcome = kitt("aggregate", "--by", "label:commit,week", "--metric", "avg_tps", "--stat", "median,mean")
    assert outcome.lines == [
        "label:commit\tweek\tcount\tavg_tps_p50\tavg_tps_avg",
        "a\t2025-01-06\t2\t11.5\t11.5",
        "a\t2025-01-13\t1\t13.0\t13.0",
        "b\t2025-01-06\t1\t6.0\t6.0",
    ]
    assert kitt("stats", "--by", "machine,month", "--format", "json").json == [
        {"machine": "m0", "month": "2025-01", "count": 2},
        {"machine": "m1", "month": "2025-01", "count": 2},
    ]


_UNKNOWN = (
    (("list", "--where", "avg_tsp>1"), '"avg_tsp"; did you mean avg_tps?'),
    (("list", "--where", "throughputs/avg_tps>1"), '"throughputs/avg_tps"; did you mean throughput/avg_tps?'),
    (("list", "--where", "avg_tps>1e9", "--where", "aa>1"), '"aa"; there are avg_tps, ttft_ms.p50'),
    (("list", "--sort", "-metric:avg_tsp"), '"avg_tsp"; did you mean avg_tps?'),
    (("list", "--sort", "metric:ttft_ms"), '"ttft_ms"; did you mean ttft_ms.p50?'),
    (("list", "--sort", "metric:latency/avg_tps"), '"latency/avg_tps"; there are throughput/avg_tps'),
    (("stats", "--where", "avg_tsp>1"), '"avg_tsp"; did you mean avg_tps?'),
    (("stats", "--by", "engine", "--where", "avg_tsp>1"), '"avg_tsp"; did you mean avg_tps?'),
    (("aggregate", "--by", "engine", "--metric", "avg_tps,avg_tsp"), '"avg_tsp"; did you mean avg_tps?'),
    (("aggregate", "--by", "engine", "--metric", "a", "--stat", "count,max"), '"a"; there are avg_tps, ttft_'),
    (("aggregate", "--by", "engine", "--where", "avg_tsp>1"), '"avg_tsp"; did you mean avg_tps?'),
    (("export", "--where", "avg_tsp>1"), '"avg_tsp"; did you mean avg_tps?'),
    (("copy", "--to", "memory:", "--where", "avg_tsp>1"), '"avg_tsp"; did you mean avg_tps?'),
)
_KNOWN = (
    ("list", "--where", "avg_tps>1e9"),
    ("list", "--sort", "metric:avg_tps"),
    ("list", "--sort", "-metric:throughput/avg_tps", "--where", "avg_tps>1e9"),
    ("stats", "--where", "avg_tps>1e9"),
    ("stats", "--model", "none"),
    ("aggregate", "--by", "model", "--metric", "avg_tps", "--stat", "stddev"),
    ("aggregate", "--by", "model", "--metric", "avg_tps", "--model", "none"),
)


def test_a_metric_that_no_run_has_is_named_with_the_nearest(kitt: Kitt, stored: list[str], document: Make) -> None:
    results = [{"test_name": "latency", "metrics": {"ttft_ms": {"p50": 5.0}}}]
    assert kitt("import", "-", stdin=document(results=results)).code == 0
    for arguments, note in _UNKNOWN:
        notes = [line for line in kitt(*arguments).err.splitlines() if "no stored run has" in line]
        assert [line.startswith(f"no stored run has the metric {note}") for line in notes] == [True], notes


def test_a_metric_that_some_run_has_is_not_named(kitt: Kitt, stored: list[str]) -> None:
    for arguments in _KNOWN:
        assert "no stored run has" not in kitt(*arguments).err, arguments


def test_a_metric_without_a_finite_value_is_named(kitt: Kitt, document: Make) -> None:
    results = [{"test_name": "t", "metrics": {"x": float("nan")}}]
    assert kitt("import", "-", stdin=document(results=results)).code == 0
    assert kitt("list", "--sort", "metric:x").err == 'no stored run has a finite value of the metric "x"\n'


def test_a_metric_whose_name_has_operators_can_be_named(kitt: Kitt, document: Make) -> None:
    for value in (0.25, 0.75):
        results = [{"test_name": "t", "metrics": {"huber_loss[delta=1.3]": value, "x>": value}}]
        assert kitt("import", "-", stdin=document(f"m{value}", results=results)).code == 0
    for condition in ("huber_loss[delta=1.3]>0.5", '"huber_loss[delta=1.3]">0.5', '"x>">=.75', '"t/x>"!=.25'):
        assert models(kitt, "--where", condition) == ["m0.75"], condition
    assert models(kitt, "--sort", "metric:huber_loss[delta=1.3]") == ["m0.25", "m0.75"]


def test_names_with_commas_are_quoted(kitt: Kitt, document: Make) -> None:
    results = [{"test_name": "t", "metrics": {"huber[a=1,b=2]": 1, 'say "x,y"': 2, "plain": 3}}]
    assert kitt("import", "-", stdin=document(labels={"a,b": "v"}, results=results)).code == 0
    metrics = ' "huber[a=1,b=2]" , "say ""x,y""",plain'
    outcome = kitt("aggregate", "--by", '"label:a,b"', "--metric", metrics, "--format", "json")
    (row,) = outcome.json
    assert list(row.items()) == [
        ("label:a,b", "v"),
        ("count", 1),
        ("huber[a=1,b=2]_avg", 1.0),
        ('say "x,y"_avg', 2.0),
        ("plain_avg", 3.0),
    ]


def test_a_help_page_shows_the_default_without_parentheses(kitt: Kitt) -> None:
    assert "[default: avg]" in kitt("aggregate", "--help").out.decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("list", "--limit", "9" * 20),
            f"'--limit': '{'9' * 20}', expected a number of runs from 1, or the word all",
        ),
        (("list", "--limit", "9" * 5_000), ", expected a number of runs from 1, or the word all"),
        (("aggregate", "--by", "model", "--stat", ""), "--stat is empty"),
        (("aggregate", "--by", " , "), "'--by': one of the names is empty"),
        (("stats", "--by", "day,"), "'--by': one of the names is empty"),
        (("aggregate", "--by", "model", "--metric", ",avg_tps"), "'--metric': one of the names is empty"),
        (("stats", "--by", ""), "--by is empty"),
        (("list", "--since", "yesterday"), "'--since': 'yesterday', expected an ISO 8601 date or time"),
        (("list", "--until", "9" * 5_000), "'--until': '999"),
    ],
)
def test_a_value_that_means_nothing_names_its_option(kitt: Kitt, arguments: tuple[str, ...], message: str) -> None:
    outcome = kitt(*arguments)
    assert (outcome.code, outcome.out) == (2, b"")
    error, hint = outcome.err.splitlines()
    assert message in error
    assert len(error) < 320
    assert hint


def test_the_largest_limit_is_taken(kitt: Kitt, stored: list[str]) -> None:
    assert len(kitt("list", "--limit", "9" * 18, "--format", "jsonl").lines) == 3
