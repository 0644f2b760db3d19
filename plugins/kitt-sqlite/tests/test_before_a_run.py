"""What `kitt run` checks about a database before it measures."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kitt_core.errors import SchemaMissingError, SchemaTooOldError
from kitt_core.service.run.running import check_places
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


def _write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _make_old(path: Path) -> None:
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        store.initialize()
    _write(path, "DELETE FROM schema_version WHERE version > 10")


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "made/by/the/save.db"
    with SQLiteResultStore(SQLiteOptions(path)) as store:
        check_places(store, tmp_path / "kitt-results")
        assert list(tmp_path.iterdir()) == []
        assert store.prepares_itself(store.schema_status())


@pytest.mark.parametrize("upgrades", [True, False])
def test_an_old_database_passes_if_it_upgrades_itself_and_is_left_as_it_is(tmp_path: Path, upgrades: bool) -> None:
    path = tmp_path / "old.db"
    _make_old(path)
    before = path.read_bytes()
    with SQLiteResultStore(SQLiteOptions(path, auto_migrate=upgrades)) as store:
        if upgrades:
            check_places(store, tmp_path)
        else:
            with pytest.raises(SchemaTooOldError) as caught:
                check_places(store, tmp_path)
            assert "kitt storage migrate" in str(caught.value.hint)
    assert path.read_bytes() == before


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    _write(path, "CREATE TABLE songs (title TEXT)")
    with (
        SQLiteResultStore(SQLiteOptions(path, auto_migrate=True)) as store,
        pytest.raises((SchemaMissingError, SchemaTooOldError)),
    ):
        check_places(store, tmp_path)
