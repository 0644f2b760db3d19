from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import attrs
import pytest

from kitt_core.errors import InvalidQueryError, UnknownFieldError
from kitt_core.runs import (
    GROUP_FIELDS,
    ORDER_FIELDS,
    Aggregation,
    Cursor,
    MetricCondition,
    Order,
    RunFilter,
    check_page,
    nearest,
)


def test_a_filter_is_made_of_a_mapping_of_its_fields() -> None:
    made = RunFilter.of({"model": "a", "engine": ["x", "y", "x"], "since": "2025-01-01", "metrics": "x>1"})
    assert made.model == ("a",)
    assert made.engine == ("x", "y")
    assert made.since == datetime(2025, 1, 1, tzinfo=UTC)
    assert made.metrics == (MetricCondition("x", ">", 1.0),)
    assert RunFilter.of(made) is made
    assert RunFilter.of(None) == RunFilter()


def test_a_filter_can_be_evolved() -> None:
    made = RunFilter.of(
        {"labels": {"a": "1", "b": ["2", "3"]}, "metrics": ["x>1", "y<2"], "until": date(2025, 1, 1)}
    )
    assert attrs.evolve(made) == made
    assert attrs.evolve(made, model="m").labels == (("a", ("1",)), ("b", ("2", "3")))


@pytest.mark.parametrize(
    ("filters", "hint"),
    [
        ({"modle": "x"}, "did you mean model?"),
        ({"suite": "x"}, "did you mean suite_name?"),
        ({"zzz": "x"}, "known: id, model"),
        ({1: "x"}, "known: id, model"),
    ],
)
def test_an_unknown_filter_has_a_hint(filters: dict[Any, str], hint: str) -> None:
    with pytest.raises(UnknownFieldError) as caught:
        RunFilter.of(filters)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "filters",
    [
        {"model": 1},
        {"model": b"x"},
        {"model": {"a": "b"}},
        {"model": ["x", None]},
        {"passed": 1},
        {"passed": "true"},
        {"since": "2025-13-01"},
        {"since": ""},
        {"until": 1750000000},
        {"labels": "a=b"},
        {"labels": ("a", "b")},
        {"labels": {"a": 1}},
        {"metrics": 5},
        {"metrics": {"x": 1}},
        {"metrics": [5]},
        {"search": 5},
        "model=x",
        [("model", "x")],
    ],
)
def test_a_value_that_cannot_be_read_is_refused(filters: Any) -> None:
    with pytest.raises(InvalidQueryError):
        RunFilter.of(filters)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("avg_tps>40", ("avg_tps", ">", 40.0)),
        ("avg_tps>=40", ("avg_tps", ">=", 40.0)),
        ("avg_tps<=-1e3", ("avg_tps", "<=", -1000.0)),
        (" throughput/avg_tps < .5 ", ("throughput/avg_tps", "<", 0.5)),
        ("a.b==1", ("a.b", "=", 1.0)),
        ("a=1", ("a", "=", 1.0)),
        ("a!=1", ("a", "!=", 1.0)),
        ("name with blanks > 1", ("name with blanks", ">", 1.0)),
        ("a\0>1", ("a\ufffd", ">", 1.0)),
        ("huber_loss[delta=1.3]>0.5", ("huber_loss[delta=1.3]", ">", 0.5)),
        ("loss[a>=1,b<2] <= .5", ("loss[a>=1,b<2]", "<=", 0.5)),
        (' "huber_loss[delta=1.3]">0.5', ("huber_loss[delta=1.3]", ">", 0.5)),
        ('"x>" >= -5', ("x>", ">=", -5.0)),
        ('" a ""b"" = "=1', (' a "b" = ', "=", 1.0)),
        ('"a"b>1', ('"a"b', ">", 1.0)),
    ],
)
def test_a_condition_is_read(text: str, condition: tuple[str, Any, float]) -> None:
    assert MetricCondition.parse(text) == MetricCondition(*condition)


@pytest.mark.parametrize(
    "text", ["", ">1", "a", "a>", "a>b", "a>nan", "a>inf", "a>1e999", "a>1 2", "a~1", "a>>1", '"a', '"a">']
)
def test_what_is_not_a_condition_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError, match="cannot be read"):
        MetricCondition.parse(text)


@pytest.mark.parametrize(
    "condition",
    [("~", 1.0), ("==", 1.0), (">", math.nan), (">", -math.inf), (">", "1"), (">", True), (">", 10**400)],
)
def test_a_condition_made_by_hand_is_checked_too(condition: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidQueryError):
        MetricCondition("x", *condition)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("operator", ["=", "!=", "<", "<=", ">", ">="])
def test_no_condition_holds_for_what_is_not_finite(operator: Any, value: float | None) -> None:
    assert not MetricCondition("x", operator, 0.0).holds(value)


@pytest.mark.parametrize("name", [*ORDER_FIELDS, "metric:a/b c", "metric:-x", "metric:metric:"])
def test_an_order_is_read_and_written(name: str) -> None:
    for text, descending in ((name, False), (f"-{name}", True)):
        order = Order.parse(text)
        assert order.descending is descending
        assert str(order) == text
        assert (order.field == "metric") is name.startswith("metric:")


@pytest.mark.parametrize(
    "text", ["", "-", "--model", "modle", "metric", "metric:", "-metric:", "id", "Model", " model"]
)
def test_an_unknown_order_is_refused(text: str) -> None:
    with pytest.raises(UnknownFieldError):
        Order.parse(text)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("model", "text 模\u0000😀"),
        ("-metric:é", 1.1),
        ("metric:é", -1e300),
        ("total_time_seconds", 0),
        ("model", None),
    ],
)
def test_a_cursor_comes_back(name: str, key: Any) -> None:
    order = Order.parse(name)
    cursor = Cursor(str(order), key, "run-id")
    text = cursor.encode()
    assert text.replace("-", "").replace("_", "").isalnum()
    assert Cursor.decode(text, order) == cursor


@pytest.mark.parametrize("text", ["", "x", "é", "W10", "bnVsbA", "WzEsMiwzXQ", "WyJtb2RlbCIsWzFdLCJ4Il0", 5, None])
def test_what_is_not_a_cursor_is_refused(text: Any) -> None:
    with pytest.raises(InvalidQueryError, match="cursor"):
        Cursor.decode(text, Order.parse("model"))


def test_a_cursor_belongs_to_its_order() -> None:
    cursor = Cursor("model", "m", "id").encode()
    for other in ("-model", "engine", "metric:model"):
        with pytest.raises(InvalidQueryError, match="does not belong"):
            Cursor.decode(cursor, Order.parse(other))


def test_an_aggregation_takes_one_or_several() -> None:
    assert Aggregation.of("engine", "x", "avg") == Aggregation.of(["engine"], ["x"], ["avg"])
    assert Aggregation.of(GROUP_FIELDS, None, ()).metrics == ()
    assert Aggregation.of(("model", "engine", "model"), ("a", "b", "a"), ("p50",)).metrics == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("modle", None, ()), UnknownFieldError),
        (("timestamp", None, ()), UnknownFieldError),
        (("engine", "x", "medain"), UnknownFieldError),
        (("engine", "x", ["avg", "p51"]), UnknownFieldError),
        (([], None, ()), InvalidQueryError),
        (([1], None, ()), InvalidQueryError),
        (("engine", [None], ()), InvalidQueryError),
        (("engine", "x", [5]), InvalidQueryError),
    ],
)
def test_an_aggregation_is_checked(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Aggregation.of(*arguments)


@pytest.mark.parametrize(
    ("field", "hint"),
    [("Model", "did you mean model?"), ("Label:a b", "did you mean label:a b?"), ("lable:a", "known: model, ")],
)
def test_an_unknown_group_has_a_hint(field: str, hint: str) -> None:
    with pytest.raises(UnknownFieldError) as caught:
        Aggregation.of(field, None, ())
    assert (caught.value.hint or "").startswith(hint)


@pytest.mark.parametrize("page", [(-1, 0), (0, -1), (1.0, 0), (None, None), (True, 0), (0, False), ("5", 0)])
def test_a_page_is_of_counts(page: Any) -> None:
    with pytest.raises(InvalidQueryError):
        check_page(*page)


def test_a_page_may_be_everything_or_nothing() -> None:
    check_page(None, 0)
    check_page(0, 10**9)


def test_nearest_names_one_or_all() -> None:
    assert nearest("modle", ["model", "engine"]) == "did you mean model?"
    assert nearest("zzz", ["model", "engine"]) == "known: model, engine"
    assert nearest("zzz", []) is None


@pytest.mark.parametrize("value", [2**63, pytest.param(10**5000, id="huge"), -1, 1.5, True])
def test_a_page_beyond_every_store_is_refused(value: int) -> None:
    with pytest.raises(InvalidQueryError, match="limit is"):
        check_page(value, 0)
    with pytest.raises(InvalidQueryError, match="offset is"):
        check_page(None, value)


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("timestamp", 5),
        ("timestamp", "soon"),
        ("-metric:x", "a"),
        ("metric:x", True),
        ("model", 1.5),
        ("model", []),
    ],
)
def test_a_cursor_whose_key_the_order_cannot_have_is_refused(order: str, key: object) -> None:
    forged = Cursor(order, key, "id").encode()  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidQueryError, match="cursor"):
        Cursor.decode(forged, Order.parse(order))


def test_more_tests_than_a_database_can_hold_in_one_expression_are_refused() -> None:
    with pytest.raises(InvalidQueryError, match="at most 200"):
        RunFilter(model=[f"m{i}*" for i in range(201)])
    with pytest.raises(InvalidQueryError, match="at most 200"):
        RunFilter(metrics=["x>1"] * 201)
    with pytest.raises(InvalidQueryError, match="at most 10000"):
        RunFilter(model="*" * 10_001)
    assert len(RunFilter(id=[f"m{i}" for i in range(5000)]).id or ()) == 5000


def test_metrics_without_a_statistic_are_refused() -> None:
    with pytest.raises(InvalidQueryError, match="statistics is empty"):
        Aggregation.of("model", ["x"], [])
