"""Real PostgreSQL servers for tests, each started when the first test asks for one.

A test that uses `postgres_server`, `postgres_databases` or `new_database` runs on the newest server that is
installed; marked ``each_postgres``, it runs on each, on the older ones as a ``long`` test unless
``each_postgres(always=True)`` says otherwise. With ``KITT_TEST_DSN`` the databases are schemas in the
database that it names.

Nothing of a plugin is imported before a test asks: `tox -e core` has the core alone.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from kitt_postgres.testing import Database, Databases, PrivateServer

_GIVEN: Final = "given"
_MISSING: Final = "missing"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "each_postgres(always): runs on each PostgreSQL version that is installed")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run marked tests on each version."""
    marker = metafunc.definition.get_closest_marker("each_postgres")
    if marker is None or "postgres_version" not in metafunc.fixturenames:
        return
    *older, newest = _versions()
    marks = () if marker.kwargs.get("always") else (pytest.mark.long,)
    versions = [*(pytest.param(version, marks=marks) for version in older), newest]
    metafunc.parametrize("postgres_version", versions, indirect=True, scope="session")


def _versions() -> list[str]:
    if os.environ.get("KITT_TEST_DSN"):
        return [_GIVEN]
    try:
        testing: Any = importlib.import_module("kitt_postgres.testing")
        return [str(server.major) for server in testing.installed_servers()]
    except (ImportError, RuntimeError):
        return [_MISSING]


@pytest.fixture(scope="session")
def postgres_version(request: pytest.FixtureRequest) -> str:
    """The server's version; ``given`` if the environment names a database."""
    return str(getattr(request, "param", None) or _versions()[-1])


@pytest.fixture(scope="session")
def _postgres() -> Any:
    """The module `kitt_postgres.testing`."""
    try:
        importlib.import_module("psycopg")
        testing: Any = importlib.import_module("kitt_postgres.testing")
        testing.installed_servers()
    except (ImportError, RuntimeError) as error:
        # In tox and CI it is always there; only who runs a part of the tests by hand may be without it.
        pytest.skip(f"PostgreSQL is not there to be tested: {error}")
    return testing


@pytest.fixture(scope="session")
def _private_servers(_postgres: Any) -> Iterator[Callable[[str], PrivateServer]]:
    started: dict[str, PrivateServer] = {}
    with contextlib.ExitStack() as stack:

        def server(version: str) -> PrivateServer:
            if version not in started:
                known = {str(server.major): server for server in _postgres.installed_servers()}
                binaries = known.get(version)  # None is the newest
                started[version] = stack.enter_context(_postgres.PrivateServer(binaries, settings=_postgres.FAST))
            return started[version]

        yield server


@pytest.fixture(scope="session")
def postgres_server(postgres_version: str, _private_servers: Callable[[str], PrivateServer]) -> PrivateServer:
    """A private server that is shared by tests: make and change databases and roles, but leave it running."""
    return _private_servers(postgres_version)


@pytest.fixture(scope="session")
def postgres_databases(request: pytest.FixtureRequest, postgres_version: str, _postgres: Any) -> Databases:
    """What makes databases, for fixtures that live longer than a test."""
    if postgres_version == _GIVEN:
        made: Databases = _postgres.SchemaDatabases(os.environ["KITT_TEST_DSN"])
    else:
        made = _postgres.PrivateDatabases(request.getfixturevalue("postgres_server"))
    return made


@pytest.fixture
def new_database(postgres_databases: Databases) -> Iterator[Callable[[], Database]]:
    """Make an empty database, as often as it is called; they go after the test."""
    made: list[Database] = []

    def new() -> Database:
        made.append(postgres_databases.new())
        return made[-1]

    yield new
    for database in made:
        postgres_databases.drop(database)
