"""What the tests of all topics share: the fixture to override, and queries that are made in several ways."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

import pytest

from kitt_core.errors import KittError
from kitt_core.runs.checking import check_run
from kitt_core.runs.query import Filters
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing.documents import as_bytes

EPOCH: Final = datetime(2025, 1, 1, tzinfo=UTC)

_MEMORY_PER_BYTE: Final = 20
_MEMORY_OF_ANY_DOCUMENT: Final = 8 << 20

_FOREIGN_WORDS: Final = (
    "Traceback",
    "psycopg",
    "sqlalchemy",
    "sqlite3.",
    "OperationalError",
    "IntegrityError",
    "SELECT ",
    "INSERT ",
    "[Errno",
)


class StoreTests:
    """What a subclass provides."""

    @pytest.fixture
    def store(self) -> Any:
        """Yield an open, empty store; to be overridden."""
        pytest.fail(f"{type(self).__name__} needs a fixture `store` that yields an open, empty store")

    def reopen(self, store: ResultStore) -> ResultStore | None:
        """Return a second store on the data of ``store``, which may be open or closed.

        None, the default, means that this is impossible.
        """
        return None

    def second(self, store: ResultStore) -> ResultStore:
        """Return what `reopen` returns, or skip the test."""
        other = self.reopen(store)
        if other is None:
            _skip("the test needs a second handle on the same data, and `reopen` is not overridden")
        return other


def needs(store: ResultStore, *capabilities: Capability) -> None:
    """Skip the test unless the store declares one of ``capabilities``; another test proves the refusal."""
    if not store.capabilities.intersection(capabilities):
        _skip(f"{type(store).__name__} does not declare {' or '.join(capabilities)}")


def lacks(store: ResultStore, capability: Capability) -> None:
    """Skip the test if the store declares ``capability``, because then it must not be refused."""
    if capability in store.capabilities:
        _skip(f"{type(store).__name__} declares {capability}")


def put(store: ResultStore, documents: Mapping[str, Mapping[str, Any] | bytes], *, strict: bool = True) -> None:
    """Save documents under the given ids, in one call, a second apart."""
    store.save_checked(
        [
            check_run(
                document if isinstance(document, bytes) else as_bytes(document),
                run_id=run_id,
                created_at=EPOCH + timedelta(seconds=i),
                strict=strict,
            )
            for i, (run_id, document) in enumerate(documents.items())
        ]
    )


def found(store: ResultStore, filters: Filters = None, **fields: Any) -> set[str]:
    """Return the ids that match, after checking that all four query methods agree."""
    wanted: Filters = fields or filters
    listed = [summary.id for summary in store.list_results(wanted)]
    scanned = [run.id for run in store.scan(wanted)]
    assert len(listed) == len(set(listed)), "list_results gives a run twice"
    assert sorted(scanned) == sorted(listed), "scan and list_results differ"
    assert store.count(wanted) == len(listed), "count and list_results differ"
    assert len(store.query(wanted)) == len(listed), "query and list_results differ"
    return set(listed)


def listed(store: ResultStore, order_by: str, filters: Filters = None) -> list[str]:
    """Return the ids in the given order."""
    return [summary.id for summary in store.list_results(filters, order_by=order_by)]


def snapshot(store: ResultStore) -> dict[str, tuple[bytes, datetime, str]]:
    """Return everything that the store holds."""
    return {run.id: (run.document, run.created_at, run.sha256) for run in store.scan()}


def assert_readable(error: KittError) -> None:
    """Check that the error's text is for people: one short line without a driver's message."""
    for text in (str(error), error.message, error.hint or "-"):
        assert text.strip(), "the message is empty"
        assert len(text) <= 300
        assert text.isprintable(), "the message is more than one line"
        assert not [word for word in _FOREIGN_WORDS if word in text]


def _skip(reason: str) -> NoReturn:
    pytest.skip(reason)


@contextmanager
def little_memory_for(document: bytes) -> Iterator[None]:
    """Assert that what is done inside takes at most twenty times the memory of a document, and 8 MiB."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < _MEMORY_PER_BYTE * len(document) + _MEMORY_OF_ANY_DOCUMENT
