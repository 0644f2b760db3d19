"""One corpus in every backend gives the same answers: to the last digit, or nearly where sums are rounded.

The reference is the memory store, which answers with the core's plain Python. What may differ is said in `agree`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from kitt_core import open_store
from kitt_core.errors import InvalidQueryError
from kitt_core.runs import StoredRun
from kitt_core.storage import ResultStore, fallbacks
from kitt_core.storage.memory import MemoryStore

from .corpus import corpus
from .queries import Query, queries

if TYPE_CHECKING:
    from kitt_postgres.testing import Databases

SMALL: Final = 60
LARGE: Final = 10_000
NUMBERS: Final = (SMALL, pytest.param(LARGE, marks=pytest.mark.long))

_ROUNDED: Final = ("_avg", "_sum", "_stddev")
_CLOSE: Final = 1e-9


def filled(store: ResultStore, number: int) -> ResultStore:
    for batch in corpus(number):
        store.save_checked(batch)
    return store


def answer(store: ResultStore, query: Query) -> Any:
    match query.kind:
        case "list":
            return list(store.list_results(query.filters, **query.arguments))
        case "count":
            return store.count(query.filters)
        case "query":  # a NaN in a document differs from itself, its text does not
            return [repr(document) for document in store.query(query.filters, **query.arguments)]
        case "scan":
            return sorted((run.id, run.created_at, run.sha256, run.document) for run in store.scan(query.filters))
        case "walk":
            return list(_walk(store, query))
        case _:
            return store.aggregate(filters=query.filters, **query.arguments)


def _walk(store: ResultStore, query: Query) -> Iterator[Any]:
    page = store.list_results(query.filters, **query.arguments)
    yield list(page)
    arguments = {name: value for name, value in query.arguments.items() if name != "offset"}
    while page.next_cursor is not None:
        page = store.list_results(query.filters, **arguments, after=page.next_cursor)
        yield list(page)


def agree(one: Any, other: Any) -> bool:
    """Whether two answers are the same; sums, means and deviations may be rounded in another order."""
    if isinstance(one, list) and one and isinstance(one[0], dict):
        return len(one) == len(other) and all(map(_rows_agree, one, other))
    return bool(one == other)


def _rows_agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return list(one) == list(other) and all(
        one[name] == other[name]
        or (
            name.endswith(_ROUNDED)
            and None not in (one[name], other[name])
            and math.isclose(one[name], other[name], rel_tol=_CLOSE)
        )
        for name in one
    )


@cache
def reference(number: int) -> list[tuple[Query, Any]]:
    facts: dict[str, fallbacks.Facts] = {}
    derive = fallbacks.facts_of

    def remembered(run: StoredRun) -> fallbacks.Facts:
        return facts.get(run.id) or facts.setdefault(run.id, derive(run))

    # Else each of the questions would parse every document again.
    with pytest.MonkeyPatch.context() as patch, filled(MemoryStore(), number) as store:
        patch.setattr(fallbacks, "facts_of", remembered)
        return [(query, answer(store, query)) for query in queries(number)]


def differences(store: ResultStore, number: int) -> list[str]:
    """Return what the store answers otherwise than the reference."""
    found = []
    for query, expected in reference(number):
        try:
            given = answer(store, query)
        except Exception as error:  # noqa: BLE001 - every question is asked, whatever becomes of the others
            given = error
        if isinstance(given, Exception) or not agree(expected, given):
            found.append(f"{query}\n  expected {_first_difference(expected, given)}")
    return found


def _first_difference(expected: Any, given: Any) -> str:
    if not (isinstance(expected, list) and isinstance(given, list)):
        return f"{expected!r:.600}\n  given    {given!r:.600}"
    for position, (one, other) in enumerate(zip(expected, given, strict=False)):
        if not agree([one], [other]):
            return f"[{position}] {one!r:.600}\n  given    {other!r:.600}"
    return f"{len(expected)} items\n  given    {len(given)} items"


def test_there_are_questions_enough_and_most_find_something() -> None:
    asked = list(queries(SMALL))
    assert len(asked) >= 60
    assert asked == list(queries(SMALL))
    answers = [given for _, given in reference(SMALL)]
    assert sum(given not in (0, []) for given in answers) > 0.7 * len(answers)


@pytest.mark.parametrize("target", ["memory:", "sqlite:///runs.db", "json:///.", "karr:///runs"])
def test_an_id_that_is_not_text_is_refused_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store(target) as store:
        store.save_result({"model": "m", "engine": "e"}, run_id="a")
        wrong: tuple[Any, ...] = (None, 5, b"a", ["a"])
        look_ups = (store.get_result, store.get_document, lambda run_id: list(store.attachments(run_id)))
        for look_up in (*look_ups, store.delete_result):
            for run_id in wrong:
                with pytest.raises(InvalidQueryError, match=r"^run id is .*, expected text$"):
                    look_up(run_id)
        assert store.count() == 1


@pytest.mark.parametrize("number", NUMBERS)
def test_sqlite_answers_like_plain_python(tmp_path: Path, number: int) -> None:
    with filled(open_store(f"sqlite:///{tmp_path}/runs.db", synchronous="OFF"), number) as store:
        assert "\n".join(differences(store, number)) == ""


@pytest.mark.each_postgres
@pytest.mark.parametrize("number", NUMBERS)
def test_postgres_answers_like_plain_python(postgres_databases: Databases, number: int) -> None:
    database = postgres_databases.new()
    try:
        with database.open() as store:
            store.initialize()
            filled(store, number)
            assert "\n".join(differences(store, number)) == ""
    finally:
        postgres_databases.drop(database)
