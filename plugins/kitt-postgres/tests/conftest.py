"""What the tests of failures share: a database with its tables, and what every error must look like."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

from kitt_core.errors import KittError, StoreUnavailableError
from kitt_core.runs import Severity
from kitt_core.storage import ResultStore
from kitt_core.testing import documents
from kitt_postgres.options import PostgresOptions
from kitt_postgres.store import PostgresResultStore

if TYPE_CHECKING:
    from kitt_postgres.testing import PrivateServer

LONGEST = 300


class Refused(Protocol):
    """Expect an error that follows the rules for messages."""

    def __call__(
        self, *words: str, kind: type[KittError] = StoreUnavailableError
    ) -> AbstractContextManager[pytest.ExceptionInfo[KittError]]: ...


@pytest.fixture
def refused(caplog: pytest.LogCaptureFixture, secrets: list[str]) -> Refused:
    @contextmanager
    def expect(
        *words: str, kind: type[KittError] = StoreUnavailableError
    ) -> Iterator[pytest.ExceptionInfo[KittError]]:
        with pytest.raises(kind) as caught:
            yield caught
        error = caught.value
        text = str(error)
        assert type(error) is kind
        for word in words:
            assert word in text
        assert "\n" not in text
        assert len(text) <= LONGEST
        assert error.hint
        assert "\n" not in error.hint
        shown = [text, error.hint, repr(error), caplog.text, *traceback.format_exception(error)]
        assert not [secret for secret in secrets for part in shown if secret in part]

    return expect


@pytest.fixture
def secrets(postgres_server: PrivateServer) -> list[str]:
    """What no message may contain."""
    return [postgres_server.password, "wr0ng-s3cret", "p4ss-of-r0le"]


@pytest.fixture(scope="session")
def tables(postgres_server: PrivateServer) -> Iterator[str]:
    """The name of a database with the tables, to be copied: creating them takes longer."""
    name = "faults_template"
    with PostgresResultStore(PostgresOptions(postgres_server.create_database(name))) as store:
        store.initialize()
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def database(postgres_server: PrivateServer, tables: str) -> Iterator[str]:
    """The name of a database that has the tables."""
    name = "faults"
    postgres_server.create_database(name, template=tables)
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def store(postgres_server: PrivateServer, database: str) -> Iterator[PostgresResultStore]:
    with PostgresResultStore(PostgresOptions(postgres_server.dsn(database))) as store:
        yield store


@pytest.fixture
def assert_usable() -> Callable[[ResultStore], None]:
    """Show that a store is as good as new."""

    def assert_usable(store: ResultStore) -> None:
        run_id = store.save_result(documents.STANDARD)
        assert store.get_document(run_id) == documents.STANDARD
        assert store.count({"id": run_id}) == 1
        assert [found for found in store.verify() if found.severity is Severity.DAMAGE] == []
        assert store.delete_result(run_id)

    return assert_usable
