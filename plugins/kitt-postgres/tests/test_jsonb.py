"""``runs.raw_json`` answers SQL, and what JSONB can't hold of a document is kept byte for byte all the same."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitt_core.runs import Severity, codec
from kitt_core.storage import ResultStore
from kitt_core.testing import documents
from kitt_postgres import store as store_module
from kitt_postgres.projection import projected

if TYPE_CHECKING:
    from kitt_postgres.testing import Databases

pytestmark = pytest.mark.each_postgres

PAGE: Final = Path(__file__).parents[3] / "docs/team.md"
Connection = psycopg.Connection[tuple[Any, ...]]

HOSTILE: Final = {
    **documents.HOSTILE,
    "an integer of 200,000 digits": b'{"model": "m", "engine": "e", "x": -' + b"7" * 200_000 + b"}",
    "a fraction of 200,000 digits": b'{"model": "m", "engine": "e", "x": 0.' + b"7" * 200_000 + b"}",
    "many digits and an exponent": b'{"model": "m", "engine": "e", "x": ' + b"7" * 250 + b"e99}",
    "the least and the largest double": b'{"model": "m", "engine": "e", "x": [5e-324, 1.7976931348623157e308]}',
    "just beyond a double": b'{"model": "m", "engine": "e", "x": [1.8e308, 179e306, -1E+0309]}',
    "a lone low surrogate": rb'{"model": "m\udc00", "engine": "e", "\udfff": ["\uDC00\ud83d\ude00"]}',
    "a lone high surrogate": rb'{"model": "m\ud83d", "engine": "e", "x": "\ud83dx\uD83D\u0041"}',
    "keys that become one": rb'{"model": "m", "engine": "e", "a\u0000": 1, "a\ufffd": 2}',
    "escaped backslashes": rb'{"model": "m\\u0000", "engine": "e", "x": "\\\u0000\\\\ud800"}',
    "words that are not numbers": b'{"model": "NaN", "engine": "Infinity", "1e400": "-Infinity"}',
}

# The projection again, written more simply.


def _expected(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub("[\0\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {_expected(key): _expected(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expected(item) for item in value]
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value if math.isfinite(_double(value)) else None
    return value


def _double(value: float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _same(found: Any, expected: Any) -> bool:
    """Whether two documents are equal; a number that is not an integer is compared as a double."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(_same(found[key], item) for key, item in expected.items())
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(_same, found, expected))
    if isinstance(expected, float | Decimal):
        return isinstance(found, int | float) and float(found) == float(expected)
    return type(found) is type(expected) and bool(found == expected)


@pytest.fixture(scope="module")
def place(postgres_databases: Databases) -> Iterator[tuple[ResultStore, Connection]]:
    database = postgres_databases.new()
    with database.open() as store, psycopg.connect(database.dsn, autocommit=True) as connection:
        store.initialize()
        if schema := database.options.get("schema"):
            connection.execute("SELECT set_config('search_path', %s, false)", [schema])
        yield store, connection
    postgres_databases.drop(database)


@pytest.fixture
def connection(place: tuple[ResultStore, Connection]) -> Connection:
    return place[1]


@pytest.fixture
def store(place: tuple[ResultStore, Connection]) -> Iterator[ResultStore]:
    yield place[0]
    place[1].execute("DELETE FROM quick_tests; DELETE FROM runs; DELETE FROM metric_rollup")


def _raw_json(connection: Connection, run_id: str) -> Any:
    row = connection.execute("SELECT raw_json FROM runs WHERE id = %s", [run_id]).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_document_is_kept_byte_for_byte_and_what_jsonb_can_hold_of_it_is_projected(
    store: ResultStore, connection: Connection, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    document = HOSTILE[name]
    run_id = store.save_result(document)
    assert store.get_document(run_id) == document
    assert _same(_raw_json(connection, run_id), _expected(codec.parse(document)))
    assert caplog.records == []
    assert [finding for finding in store.verify() if finding.severity is Severity.DAMAGE] == []


def test_the_three_operators_answer(store: ResultStore, connection: Connection) -> None:
    run_id = store.save_result(documents.STANDARD)
    store.save_result(documents.small(1))
    cuda = connection.execute(
        "SELECT id, raw_json->'system_info'->'gpu'->'vram_gb', raw_json->'system_info'->>'cuda_version' FROM runs"
        """ WHERE raw_json @> '{"system_info": {"gpu": {"count": 2}}}'"""
    ).fetchall()
    assert cuda == [(run_id, 80, "12.8")]


def test_a_refused_projection_is_null_with_a_warning_and_the_run_is_saved(
    store: ResultStore, connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(document: bytes) -> str:
        return r'"\u0000"' if b"broken" in document else projected(document)

    monkeypatch.setattr(store_module, "projected", broken)
    alone = store.save_result(documents.run(model="broken"))
    batch = store.save_results([documents.run(model=model) for model in ("whole", "broken too")])
    assert [_raw_json(connection, run_id) is None for run_id in (alone, *batch)] == [True, False, True]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert [run_id in record.message for run_id, record in zip((alone, batch[1]), caplog.records, strict=True)]
    assert store.get_result(alone) == documents.run(model="broken")
    assert store.count({"model": "broken*"}) == 2
    assert list(store.verify()) == []


def test_rebuilding_the_rows_renews_the_projection(store: ResultStore, connection: Connection) -> None:
    run_id = store.save_result(documents.STANDARD)
    connection.execute("UPDATE runs SET raw_json = NULL, model = 'lost'")
    assert [finding.run_id for finding in store.verify(rebuild=True)] == [run_id]
    assert _same(_raw_json(connection, run_id), codec.parse(documents.STANDARD))


# Documents of any JSON.

_CHARACTERS = st.sampled_from('a"\\/\0\x1f\x7f\x80\ud800\udbff\udc00\udfff\ufffd\uffff\U0001f999')
_TEXTS = st.text(_CHARACTERS, max_size=8).map(json.dumps) | st.text(max_size=8).map(
    lambda text: json.dumps(text, ensure_ascii=False)  # st.text draws no surrogates by default
)
_NUMBERS = (
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
    | st.tuples(st.integers(1, 9), st.integers(150, 400), st.sampled_from(["", "e9", "e99", "E-40", ".5"])).map(
        lambda drawn: f"{drawn[0]}" * drawn[1] + drawn[2]
    )
    | st.sampled_from(["NaN", "Infinity", "-Infinity", "-0.0", "1e400", "-1e-400", "7" * 5000])
)
_VALUES = st.recursive(
    _TEXTS | _NUMBERS | st.sampled_from(["null", "true", "false"]),
    lambda values: (
        st.lists(values, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(_TEXTS, values), max_size=4).map(
            lambda items: "{" + ",".join(f"{key}: {item}" for key, item in items) + "}"
        )
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(value=_VALUES, mark=st.sampled_from(["", "\ufeff"]))
def test_jsonb_takes_every_projection_and_gives_back_the_document(
    place: tuple[ResultStore, Connection], value: str, mark: str
) -> None:
    document = f'{mark}{{"x": {value}}}'.encode()
    row = place[1].execute("SELECT %s::jsonb", [projected(document)]).fetchone()
    assert row is not None
    assert _same(row[0], _expected(codec.parse(document)))


# The page's examples.


def _examples() -> list[str]:
    section = PAGE.read_text(encoding="utf-8").split("\n## Asking documents with SQL\n")[1].split("\n## ")[0]
    return re.findall(r"^```sql\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_page_find_something(store: ResultStore, connection: Connection) -> None:
    store.save_result(documents.STANDARD, run_id="0197c2f0-5b7e-7c93-a401-2f6ab8d1c55e")
    store.save_results([documents.small(i) for i in range(50)])
    store.save_result(documents.run(results=None, timestamp="2025-01-01"), strict=False)
    queries = [example for example in _examples() if "SELECT" in example]
    assert len(queries) >= 4
    for query in queries:
        found = connection.execute(query.encode()).fetchall()
        assert (query, 1 <= len(found) <= 10) == (query, True)
    assert {operator for operator in ("->", "->>", "@>") if operator in "".join(queries)} == {"->", "->>", "@>"}


def test_the_indexes_of_the_page_serve_its_queries_and_do_not_hinder_saves(
    store: ResultStore, connection: Connection
) -> None:
    store.save_results([documents.small(i) for i in range(50)])
    indexes = [example for example in _examples() if example.startswith("CREATE INDEX")]
    assert len(indexes) == 2
    for index in indexes:
        connection.execute(index.encode())
    store.save_result(documents.STANDARD)
    connection.execute("ANALYZE runs")
    used = set()
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")  # the table is small
        for query in (example for example in _examples() if "SELECT" in example):
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}".encode()))
            used |= set(re.findall(r"team_\w+", plan))
    assert used == set(re.findall(r"team_\w+", "".join(indexes)))
    for name in used:
        connection.execute(f"DROP INDEX {name}".encode())
