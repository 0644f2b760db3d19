"""Identity, times, errors, pages, statistics: the small values."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from kitt_core import errors
from kitt_core.errors import InvalidDocumentError, KittError
from kitt_core.runs import STATISTICS, Page, check_run_id, format_utc, new_run_id, parse_timestamp, to_utc
from kitt_core.runs.statistics import compute, mean, percentile


def test_new_ids_are_uuidv7_of_now() -> None:
    before = datetime.now(UTC)
    ids = [uuid.UUID(new_run_id()) for _ in range(200)]
    after = datetime.now(UTC)
    assert len(set(ids)) == 200
    assert {(i.version, i.variant) for i in ids} == {(7, uuid.RFC_4122)}
    times = [datetime.fromtimestamp((i.int >> 80) / 1000, UTC) for i in ids]
    assert before - timedelta(milliseconds=1) <= min(times)
    assert max(times) <= after


@pytest.mark.parametrize("run_id", ["a", "A-Z_a.z-09", "." * 128])
def test_an_id_of_its_characters_may_be_one(run_id: str) -> None:
    assert check_run_id(run_id) == run_id


@pytest.mark.parametrize("run_id", ["", "a" * 129, "a b", "a\n", "é", "a/b", "²", None, 5, b"a"])
def test_anything_else_may_not(run_id: Any) -> None:
    with pytest.raises(InvalidDocumentError, match="1 to 128"):
        check_run_id(run_id)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-31", "2025-01-31T00:00:00.000000+00:00"),
        ("2025-01-31T12:00:00Z", "2025-01-31T12:00:00.000000+00:00"),
        ("2025-01-31T12:00:00+05:45", "2025-01-31T06:15:00.000000+00:00"),
        ("2025-01-31T12:00:00.5", "2025-01-31T12:00:00.500000+00:00"),
        (" 2025-01-31 12:00:00 ", "2025-01-31T12:00:00.000000+00:00"),
        (date(2025, 1, 31), "2025-01-31T00:00:00.000000+00:00"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000+00:00"),
        (datetime(2025, 1, 31, 1, tzinfo=timezone(timedelta(hours=1))), "2025-01-31T00:00:00.000000+00:00"),
    ],
)
def test_times_are_utc_and_of_fixed_width(text: Any, expected: str) -> None:
    assert format_utc(parse_timestamp(text)) == expected


@pytest.mark.parametrize("text", ["", "now", "2025", "2025-02-30", "9999-12-31T23:00:00-02:00", "12:00"])
def test_what_is_not_a_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid|outside|month|day"):
        parse_timestamp(text)


def test_a_naive_time_is_utc() -> None:
    assert to_utc(datetime(2025, 1, 1)) == datetime(2025, 1, 1, tzinfo=UTC)  # noqa: DTZ001  # the point of it


def test_every_error_is_in_the_tree_and_exported() -> None:
    found = {
        name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)
    }
    assert found == set(errors.__all__)
    assert all(issubclass(getattr(errors, name), KittError) for name in found)
    assert all(name in (errors.__doc__ or "") for name in found - {"KittError"})


def test_exit_codes_are_those_of_the_design() -> None:
    codes: dict[int, set[str]] = {}
    for name in errors.__all__:
        codes.setdefault(getattr(errors, name).exit_code, set()).add(name)
    assert codes == {
        1: {"EngineError", "EngineLostError"},
        2: {
            "KittError",
            "UnknownFieldError",
            "InvalidQueryError",
            "UnsupportedOperationError",
            "PluginError",
            "ConfigurationError",
        },
        3: {"RunNotFoundError", "InputNotFoundError"},
        4: {
            "StoreUnavailableError",
            "SchemaError",
            "SchemaMissingError",
            "SchemaTooOldError",
            "SchemaTooNewError",
            "MigrationError",
        },
        5: {"InvalidArchiveError", "InvalidDocumentError", "RunExistsError"},
    }


def test_a_message_is_one_short_line() -> None:
    error = KittError("a\nb\x1b[31m\tc " + "x" * 500, hint="h\r\n" + "y" * 500)
    assert len(str(error)) == 300
    assert str(error).startswith("a b [31m c xxx")
    assert str(error).isprintable()
    assert len(error.hint or "") == 300


def test_the_hint_is_part_of_the_text_where_it_fits() -> None:
    assert str(KittError("what", hint="cure")) == "what (cure)"
    assert str(KittError("x" * 250, hint="y" * 100)) == "x" * 250


def test_a_page_equals_a_list_of_its_items() -> None:
    page = Page([1, 2, 3], "cursor")
    assert page == [1, 2, 3]
    assert page != [1, 2]
    assert page[1:] == (2, 3)
    assert repr(page) == "Page([1, 2, 3], next_cursor='cursor')"
    with pytest.raises(TypeError, match="unhashable"):
        hash(page)


def test_statistics_of_nothing_are_none() -> None:
    assert {s: compute(s, []) for s in STATISTICS} == dict.fromkeys(STATISTICS) | {"count": 0}
    with pytest.raises(ValueError, match="at least one sample"):
        mean([])
    with pytest.raises(ValueError, match="at least one sample"):
        percentile([], 50)
    assert compute("avg", []) is compute("p50", []) is None
    assert compute("stddev", [1.0]) is None


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (25, 1.75), (50, 2.5), (90, 3.7), (99, 3.97), (100, 4.0)]
)
def test_percentiles_are_interpolated(percent: float, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == pytest.approx(expected)
    assert percentile([7.0], percent) == 7.0


def test_sums_are_exact() -> None:
    assert compute("sum", [0.1] * 10) == 1.0
    assert mean([1e16, 1.0, -1e16]) == pytest.approx(1 / 3)


def test_statistics_beyond_a_double_are_none_and_the_mean_never_is() -> None:
    huge = [1.5e308, 1.5e308, -1e308]
    assert mean(huge) == pytest.approx(2 / 3 * 1e308)
    assert compute("avg", [1.5e308] * 4) == 1.5e308
    assert compute("sum", [1.5e308] * 4) is None
    assert compute("stddev", huge) is None
