"""Pages: a listing can be walked, and every run comes once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kitt_core.errors import InvalidQueryError
from kitt_core.model import Page
from kitt_core.query import ORDER_FIELDS, Filters
from kitt_core.storage import Capability, ResultStore
from kitt_core.testing._storage.asking import StoreTests, assert_readable, listed, needs, put
from kitt_core.testing._storage.corpus import fill
from kitt_core.testing.documents import run


def _walk(store: ResultStore, order_by: str, limit: int, filters: Filters = None) -> list[str]:
    ids: list[str] = []
    after: str | None = None
    while True:
        page = store.list_results(filters, order_by=order_by, limit=limit, after=after)
        ids += [summary.id for summary in page]
        after = page.next_cursor
        if after is None:
            return ids
        assert len(page) == limit, "a page that something follows is not full"


def _numbered(count: int) -> dict[str, dict[str, object]]:
    return {f"r{i}": run(model=f"m{i // 2}") for i in range(count)}


class PagingContract(StoreTests):
    """A page is a part of the listing."""

    @pytest.mark.parametrize("order", [*ORDER_FIELDS, "metric:avg_tps", "metric:throughput/avg_tps"])
    def test_cursors_walk_through_every_run_exactly_once(self, store: ResultStore, order: str) -> None:
        fill(store)
        for direction in ("", "-"):
            everything = listed(store, direction + order)
            assert len(everything) == len(set(everything)) == store.count()
            assert _walk(store, direction + order, 7) == everything

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 100])
    def test_pages_may_have_any_size(self, store: ResultStore, limit: int) -> None:
        put(store, _numbered(6))
        for order in ("model", "-model", "timestamp", "-timestamp"):
            assert _walk(store, order, limit) == listed(store, order)

    def test_a_filter_holds_on_every_page(self, store: ResultStore) -> None:
        fill(store)
        filters = {"engine": ["vllm", "ollama"], "metrics": "avg_tps>3"}
        everything = listed(store, "-metric:avg_tps", filters)
        assert 4 < len(everything) < store.count()
        assert _walk(store, "-metric:avg_tps", 3, filters) == everything

    def test_the_last_page_has_no_cursor(self, store: ResultStore) -> None:
        put(store, _numbered(4))
        assert store.list_results(limit=3).next_cursor is not None
        assert store.list_results(limit=4).next_cursor is None
        assert store.list_results(limit=5).next_cursor is None
        assert store.list_results().next_cursor is None
        first = store.list_results(limit=2)
        second = store.list_results(limit=2, after=first.next_cursor)
        assert (len(second), second.next_cursor) == (2, None)

    def test_limit_none_is_all_and_limit_0_is_none(self, store: ResultStore) -> None:
        put(store, _numbered(5))
        assert len(store.list_results(limit=None)) == 5
        assert list(store.list_results(limit=0)) == []
        assert store.query(limit=0) == []

    def test_an_offset_leaves_out_the_first(self, store: ResultStore) -> None:
        put(store, _numbered(6))
        everything = listed(store, "model")
        for offset in range(8):
            for limit in (None, 0, 1, 3, 9):
                page = store.list_results(order_by="model", limit=limit, offset=offset)
                end = None if limit is None else offset + limit
                assert [summary.id for summary in page] == everything[offset:end]

    def test_a_cursor_continues_after_an_offset(self, store: ResultStore) -> None:
        put(store, _numbered(6))
        first = store.list_results(order_by="model", limit=2, offset=1)
        rest = store.list_results(order_by="model", after=first.next_cursor)
        assert [s.id for s in first] + [s.id for s in rest] == listed(store, "model")[1:]

    def test_a_cursor_of_another_order_is_refused(self, store: ResultStore) -> None:
        put(store, _numbered(4))
        cursor = store.list_results(order_by="model", limit=2).next_cursor
        for order in ("-model", "engine", "metric:model", "timestamp"):
            with pytest.raises(InvalidQueryError) as caught:
                store.list_results(order_by=order, after=cursor)
            assert_readable(caught.value)

    def test_what_is_no_cursor_is_refused(self, store: ResultStore) -> None:
        put(store, _numbered(4))
        for text in ("", "r1", "5", "é", "W10", "a" * 1000, "'; DROP TABLE runs; --"):
            with pytest.raises(InvalidQueryError) as caught:
                store.list_results(order_by="model", limit=2, after=text)
            assert_readable(caught.value)

    def test_a_run_saved_between_two_pages_moves_none_of_the_others(self, store: ResultStore) -> None:
        put(store, _numbered(6))
        everything = listed(store, "model")
        first = store.list_results(order_by="model", limit=3)
        put(store, {"earlier": run(model="a"), "later": run(model="z")})
        rest = store.list_results(order_by="model", after=first.next_cursor)
        assert [s.id for s in first] + [s.id for s in rest] == [*everything, "later"]

    def test_a_run_deleted_between_two_pages_moves_none_of_the_others(self, store: ResultStore) -> None:
        needs(store, Capability.DELETE)
        put(store, _numbered(6))
        everything = listed(store, "-model")
        first = store.list_results(order_by="-model", limit=3)
        for summary in first:
            assert store.delete_result(summary.id)
        rest = store.list_results(order_by="-model", after=first.next_cursor)
        assert [summary.id for summary in rest] == everything[3:]

    def test_a_page_is_a_sequence(self, store: ResultStore) -> None:
        put(store, _numbered(5))
        page = store.list_results(order_by="model", limit=4)
        assert isinstance(page, Page)
        assert isinstance(page, Sequence)
        assert len(page) == 4
        assert page[0].id == "r0"
        assert page[-1].id == "r3"
        assert [summary.id for summary in page[1:3]] == ["r1", "r2"]
        assert [summary.id for summary in reversed(page)] == ["r3", "r2", "r1", "r0"]
        assert page[2] in page
