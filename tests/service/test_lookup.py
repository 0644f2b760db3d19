from __future__ import annotations

from collections.abc import Iterator

import pytest

from kitt_core.errors import RunNotFoundError
from kitt_core.runs import StoredRun
from kitt_core.service.run_lookup import resolve_run_id
from kitt_core.storage.memory import MemoryStore

IDS = ("0198-aaaa-1111", "0198-bbbb-2222", "0198-aaaa-1111-longer", "xyz")
DOCUMENT = b'{"model": "m", "engine": "e"}'


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as store:
        for run_id in IDS:
            store.save_result(DOCUMENT, run_id=run_id)
        yield store


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        ("0198-aaaa-1111", "0198-aaaa-1111"),  # exact, though the prefix of another
        ("0198-b", "0198-bbbb-2222"),
        ("2222", "0198-bbbb-2222"),
        ("longer", "0198-aaaa-1111-longer"),
        ("xyz", "xyz"),  # exact, though shorter than a part may be
    ],
)
def test_an_id_or_a_unique_part_of_it_is_found(store: MemoryStore, text: str, run_id: str) -> None:
    assert resolve_run_id(store, text) == run_id


@pytest.mark.parametrize("text", ["nope-nope", "aaaa", "", "0198*", "a b", "../x", "x" * 129, "0198-ʙ"])
def test_what_fits_no_run_is_not_found(store: MemoryStore, text: str) -> None:
    with pytest.raises(RunNotFoundError, match="no run"):
        resolve_run_id(store, text)


def test_three_characters_are_too_few(store: MemoryStore) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        resolve_run_id(store, "222")
    assert caught.value.hint is not None
    assert "at least 4 characters" in caught.value.hint


def test_several_candidates_are_named(store: MemoryStore) -> None:
    with pytest.raises(RunNotFoundError, match="several runs") as caught:
        resolve_run_id(store, "0198")
    assert all(run_id in caught.value.message for run_id in IDS[:3])


def test_many_candidates_are_not_all_named(store: MemoryStore) -> None:
    for number in range(20):
        store.save_result(DOCUMENT, run_id=f"many-{number}")
    with pytest.raises(RunNotFoundError, match="and others") as caught:
        resolve_run_id(store, "many")
    assert caught.value.message.count("many-") == 4


def test_a_damaged_run_is_found_by_its_whole_id(store: MemoryStore) -> None:
    store._runs["torn"] = StoredRun("torn", b"{", next(store.scan()).created_at, "0" * 64)
    assert resolve_run_id(store, "torn") == "torn"
