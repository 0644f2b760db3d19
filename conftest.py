"""What all tests share: processes that end with their test, PostgreSQL servers, and where the time went.

A server is started when the first test asks for one. A test that uses `postgres_server`, `postgres_databases` or
`new_database` runs on the newest server that is installed; marked ``each_postgres``, it runs on each, on the
older ones as a ``long`` test unless ``each_postgres(always=True)`` says otherwise. With ``KITT_TEST_DSN`` the
databases are schemas in the database that it names.

Nothing of a plugin is imported before a test asks: `tox -e core` has the core alone.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from kitt_postgres.testing import Database, Databases, PrivateServer

_GIVEN: Final = "given"
_MISSING: Final = "missing"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known and begin to add up seconds."""
    config.addinivalue_line("markers", "each_postgres(always): runs on each PostgreSQL version that is installed")
    if not hasattr(config, "workerinput"):  # with xdist the controller hears of every test
        config.pluginmanager.register(_SecondsPerDirectory(), "seconds-per-directory")


def pytest_collection_finish() -> None:
    """Keep thousands of collected tests out of every later pass of the garbage collector."""
    gc.collect()
    gc.freeze()


class _SecondsPerDirectory:
    """Says at the end how many tests of each directory ran and what they took."""

    def __init__(self) -> None:
        self._tests: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of a test; with xdist both processes add up at the same time."""
        directory = "/".join(report.nodeid.split("::")[0].split("/")[:-1][:2])
        self._tests[directory] += report.when == "call"
        self._seconds[directory] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table; where the environment names a file, append it there for the end of `tox`."""
        if not sum(self._tests.values()):
            return
        lines = [
            f"{seconds:8.1f} s {self._tests[directory]:6} tests  {directory}"
            for directory, seconds in sorted(self._seconds.items(), key=lambda item: -item[1])
        ]
        lines.append(f"{sum(self._seconds.values()):8.1f} s {sum(self._tests.values()):6} tests")
        terminalreporter.section("seconds per directory")
        for line in lines:
            terminalreporter.write_line(line)
        if path := os.environ.get("KITT_TEST_SUMMARY"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with Path(path).open("a", encoding="utf-8") as file:
                file.writelines(f"{Path(path).name:8}{line}\n" for line in lines)


@pytest.fixture(scope="session", autouse=True)
def _usual_interrupt() -> None:
    """Let Ctrl-C be what it is at a terminal; a shell's ``&`` leaves it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _migrations_parsed_once() -> Iterator[None]:
    """Parse each migration once per process: a thousand tests make the tables, and parsing was half of that."""
    try:
        sqlparse: Any = importlib.import_module("sqlparse")
    except ImportError:
        yield
        return
    split = functools.cache(sqlparse.split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlparse, "split", lambda text: list(split(text)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _plugins_found_once() -> Iterator[None]:
    """Look for plugins again only where something was installed: thousands of commands look for them."""
    search = metadata.entry_points
    searched = functools.cache(lambda _places: search())

    def found(**wanted: Any) -> Any:
        return search(**wanted) if wanted else searched(tuple(map(_place, sys.path)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "entry_points", found)
        yield


def _place(path: str) -> tuple[str, int]:
    try:
        return path, os.stat(path or ".").st_mtime_ns  # noqa: PTH116  # it may be any text
    except OSError:
        return path, 0


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """Start processes, called like `subprocess.Popen`; whatever becomes of the test, none survives it.

    A process or a pipe that a failing test left behind would be found when its object is collected, and fail
    another test.
    """
    with contextlib.ExitStack() as stack:

        def start(*arguments: Any, **options: Any) -> subprocess.Popen[Any]:
            process = stack.enter_context(subprocess.Popen(*arguments, **options))  # noqa: S603  # what a test gives
            stack.callback(process.kill)
            return process

        yield start


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
