"""What a user can get wrong with a file: one line that names it, the cause and the cure; nothing half-written."""

import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from kitt_core import open_store
from kitt_core.cli.app import main
from kitt_core.errors import (
    ConfigurationError,
    InvalidDocumentError,
    KittError,
    SchemaError,
    StoreUnavailableError,
)
from kitt_core.runs import SchemaState
from kitt_core.testing import documents
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


def _message(error: pytest.ExceptionInfo[KittError]) -> str:
    text = str(error.value)
    assert len(text) <= 300
    assert "\n" not in text
    assert "sqlite3." not in text
    assert "SELECT" not in text
    assert error.value.hint
    return text


def test_a_directory_given_as_database(tmp_path: Path) -> None:
    with SQLiteResultStore(SQLiteOptions(tmp_path)) as store, pytest.raises(StoreUnavailableError) as error:
        store.count()
    assert "is a directory" in _message(error)


def test_a_text_file_given_as_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("dear diary, " * 100)
    before = path.read_bytes()
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        for call in (store.count, store.schema_status, store.initialize):
            with pytest.raises(StoreUnavailableError) as error:
                call()
            assert "is not a SQLite database" in _message(error)
    assert path.read_bytes() == before


def test_a_database_in_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        SQLiteResultStore(SQLiteOptions(tmp_path / "file" / "runs.db")) as store,
        pytest.raises(StoreUnavailableError) as error,
    ):
        store.save_result(documents.MINIMAL)
    assert "cannot be used" in _message(error)


def test_a_document_beyond_the_databases_limit(tmp_path: Path) -> None:
    with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
        store.initialize()
        connection = store.database.engine.raw_connection()
        driver = connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 5000)
        connection.close()
        with pytest.raises(InvalidDocumentError) as error:
            store.save_result(documents.MINIMAL + b" " * 5000)
        assert "of that size" in _message(error)
        assert store.count() == 0
        store.save_result(documents.MINIMAL)


def test_a_locked_database(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path, busy_timeout=0.05)) as store:
        store.save_result(documents.MINIMAL)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError) as error:
                store.save_result(documents.MINIMAL)
            assert "is locked by another process" in _message(error)
            assert store.count() == 1  # readers don't wait
            other.execute("ROLLBACK")
        store.save_result(documents.MINIMAL)
        assert store.count() == 2


def test_a_full_database(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        store.save_result(documents.MINIMAL)

        @event.listens_for(store.database.engine, "connect")
        def limit(connection: sqlite3.Connection, record: object) -> None:
            connection.execute("PRAGMA max_page_count=1")  # SQLite raises it to the present size

        store.database.engine.dispose()
        before = [run.id for run in store.list_results()]

        def fill() -> None:
            before.extend(store.save_result(documents.STANDARD + b" " * i) for i in range(100))

        with pytest.raises(StoreUnavailableError) as error:
            fill()
        assert "is full" in _message(error)
        assert sorted(run.id for run in store.list_results()) == sorted(before)


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE songs (title TEXT)",
        "CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES (99)",
        "CREATE TABLE schema_version (version TEXT); INSERT INTO schema_version VALUES ('one')",
        "CREATE TABLE schema_version (number INTEGER)",
        "CREATE TABLE runs (id TEXT)",
        "CREATE TABLE songs (id TEXT); CREATE VIEW runs AS SELECT id FROM songs",
        "CREATE TABLE runs (id TEXT); CREATE TABLE schema_version (version INTEGER)",
    ],
)
def test_a_database_that_is_not_ours_is_left_untouched(tmp_path: Path, script: str) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
    before = path.read_bytes()
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        assert store.schema_status().state is not SchemaState.CURRENT
        with pytest.raises(SchemaError):
            store.count()
        with pytest.raises(SchemaError):
            store.save_result(documents.MINIMAL)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["other.db"]


def test_a_column_that_was_renamed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        store.save_result(documents.MINIMAL)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE runs RENAME COLUMN suite_name TO suite")
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        for call in (store.count, store.initialize, lambda: list(store.verify())):
            with pytest.raises(SchemaError, match=r"are missing: runs\.suite_name ") as caught:
                call()
            assert "undo what was changed" in str(caught.value.hint)


def test_a_database_that_lost_tables_is_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        store.save_result(documents.MINIMAL)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("DROP TABLE metrics; DROP TABLE hardware")
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        for call in (store.count, store.initialize, lambda: list(store.verify())):
            with pytest.raises(SchemaError, match="are missing: hardware, metrics"):
                call()


_LIMITED_AT_ONCE = """
import resource, sys
from pathlib import Path
from kitt_core.errors import StoreUnavailableError
from kitt_core.testing import documents
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
with SQLiteResultStore(SQLiteOptions(Path(sys.argv[1]))) as store:
    try:
        store.save_result(documents.MINIMAL)
    except StoreUnavailableError as error:
        print(error)
"""


def test_a_limit_that_leaves_no_room_for_the_tables(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LIMITED_AT_ONCE, str(tmp_path / "runs.db")]
    message = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "full" in message or "input/output error" in message


def test_the_size_is_that_of_the_database_only(tmp_path: Path) -> None:
    (tmp_path / "runs.db2").write_bytes(bytes(10_000_000))
    with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
        store.save_result(documents.MINIMAL)
        assert 0 < (store.schema_status().size_bytes or 0) < 5_000_000


_LIMITED = """
import resource, sys
from pathlib import Path
from kitt_core.errors import StoreUnavailableError
from kitt_core.testing import documents
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore

with SQLiteResultStore(SQLiteOptions(Path(sys.argv[1]))) as store:
    store.save_result(documents.MINIMAL)
    size = sum(p.stat().st_size for p in Path(sys.argv[1]).parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, resource.RLIM_INFINITY))
    saved = 1
    try:
        while saved < 200:
            store.save_result(documents.STANDARD + b" " * saved)
            saved += 1
    except StoreUnavailableError as error:
        assert store.count() == saved, (store.count(), saved)
        print(saved, error)
"""


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path / "runs.db")], capture_output=True, text=True, check=True
    )
    saved, message = result.stdout.strip().split(" ", 1)
    assert "runs.db cannot" in message
    with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
        assert store.count() == int(saved)
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def _read_and_write(path: Path) -> tuple[int, str]:
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        count = store.count()
        with pytest.raises(StoreUnavailableError) as error:
            store.save_result(documents.MINIMAL)
        return count, str(error.value)


def _as_nobody(path: Path) -> tuple[int, str]:
    """Run it as a user who, unlike root, may not write everything."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "0 the child failed"
        try:
            os.setgid(65534)
            os.setuid(65534)
            answer = "{} {}".format(*_read_and_write(path))
        finally:
            os.write(sender, answer.encode())
            os._exit(0)
    os.waitpid(child, 0)
    os.close(sender)
    with os.fdopen(receiver) as file:
        count, message = file.read().split(" ", 1)
    return int(count), message


@pytest.mark.parametrize("directory_mode", [0o555, 0o777])
def test_a_read_only_file_opens_for_reading(directory_mode: int) -> None:
    directory = Path(
        tempfile.mkdtemp(prefix="kitt-read-only-")
    )  # everybody may enter /tmp, but not pytest's folder
    path = directory / "runs.db"
    try:
        with SQLiteResultStore(SQLiteOptions(path)) as store:
            store.save_result(documents.MINIMAL)
        path.chmod(0o444)
        directory.chmod(directory_mode)
        count, message = (_as_nobody if os.geteuid() == 0 else _read_and_write)(path)
        assert count == 1
        assert "is read-only" in message
    finally:
        directory.chmod(0o755)
        shutil.rmtree(directory)


@pytest.mark.parametrize("name", ["runs.db", "a b?c#d%41.db", "\udcff.db"])
def test_a_path_may_begin_with_two_slashes_and_hold_any_character(tmp_path: Path, name: str) -> None:
    with open_store("sqlite", path=Path(f"/{tmp_path / name}")) as store:
        run_id = store.save_result(documents.MINIMAL)
    with open_store("sqlite", path=tmp_path / name) as store:
        assert store.get_document(run_id) == documents.MINIMAL


@pytest.mark.usefixtures("home")
def test_a_uri_with_a_slash_too_many_means_the_same_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:////{tmp_path / 'runs.db'}"
    assert main(["--backend", uri, "storage", "init"]) == 0
    with open_store(uri) as store:
        run_id = store.save_result(documents.MINIMAL)
    assert main(["--backend", f"sqlite:///{tmp_path / 'runs.db'}", "storage", "show", run_id]) == 0
    assert run_id in capfd.readouterr().out


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KITT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_default_database_is_readable_by_its_owner_alone(home: Path) -> None:
    old = os.umask(0)
    try:
        with SQLiteResultStore(SQLiteOptions()) as store:
            store.save_result(documents.MINIMAL)
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in home.iterdir()}
    finally:
        os.umask(old)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert modes["kitt.db"] == 0o600
    assert set(modes.values()) == {0o600}


def test_a_default_database_that_others_may_read_is_closed_to_them(home: Path) -> None:
    home.mkdir()
    (home / "kitt.db").touch(0o644)
    with SQLiteResultStore(SQLiteOptions()) as store:
        store.save_result(documents.MINIMAL)
    assert stat.S_IMODE((home / "kitt.db").stat().st_mode) == 0o600


def test_a_named_database_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        with SQLiteResultStore(SQLiteOptions(tmp_path / "runs.db")) as store:
            store.save_result(documents.MINIMAL)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "runs.db").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("synchronous", "SOMETIMES", "one of FULL, NORMAL, EXTRA, OFF"),
        ("busy_timeout", "soon", "a number"),
        ("busy_timeout", "-1", "between 0 and 86400"),
        ("auto_migrate", "perhaps", "true or false"),
        ("pth", "x", "did you mean path"),
    ],
)
def test_a_wrong_option_is_refused_with_what_was_expected(option: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        open_store("sqlite:///runs.db", plugins=None, **{option: value})


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "why?.db", "tag#1.db", "模型.db"])
def test_any_file_name_is_taken(tmp_path: Path, name: str) -> None:
    with open_store(f"sqlite:///{tmp_path / name}") as store:
        store.save_result(documents.MINIMAL)
    assert (tmp_path / name).is_file()
