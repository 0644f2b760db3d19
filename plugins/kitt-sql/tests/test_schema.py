"""A new database is the schema reference, version 11 and the written additions; nothing else, nothing missing.

The transcription is in ``reference.toml``.
"""

import re
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect

from kitt_sql.schema.tables import SCHEMA_VERSION, metadata
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile

NOW = "datetime('now')"

REFERENCE = tomllib.loads(Path(__file__).with_name("reference.toml").read_text(encoding="utf-8"))
"""The tables as they are published; the test of kitt-postgres reads the same file."""

BOOKKEEPING = {"_yoyo_migration", "_yoyo_log", "_yoyo_version", "sqlite_sequence"}
"""Tables of the migration tool and of SQLite itself."""

Columns = dict[str, tuple[str, str | None, str | None]]


def _parsed(column: str) -> tuple[str, tuple[str, str | None, str | None]]:
    name, kind, default, reference = column.split()
    value = NOW if default == "now" else None if default == "-" else default
    return name, (kind, value, None if reference == "-" else reference)


def _expected() -> dict[str, Columns]:
    tables: dict[str, Columns] = {}
    for source in ("reference", "version_11", "additions"):
        for table, columns in REFERENCE[source].items():
            tables.setdefault(table, {}).update(map(_parsed, columns))
    return tables


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "new.db"
    with SQLiteDatabase(SQLiteFile(path)) as database:
        database.migrate()
    return path


def test_tables_columns_types_defaults_and_references_are_those_of_the_reference(path: Path) -> None:
    found: dict[str, Columns] = {}
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table in BOOKKEEPING:
                continue
            references = {
                row[3]: f"{row[2]}.{row[4]}:{'' if row[6] == 'NO ACTION' else row[6]}"
                for row in connection.execute(f"PRAGMA foreign_key_list({table})")
            }
            found[table] = {
                row[1]: (row[2], row[4], references.get(row[1]))
                for row in connection.execute(f"PRAGMA table_info({table})")
            }
    assert found == _expected()


def test_indexes_are_those_of_the_reference_and_the_additions(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        statements = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
    found = {name: re.sub(r"CREATE INDEX \w+ ON (\w+) \((.*)\)", r"\1(\2)", sql) for name, sql in statements}
    assert found == REFERENCE["indexes"] | REFERENCE["added_indexes"] | REFERENCE["sqlite_indexes"]


def test_keys_and_unique_constraints(path: Path) -> None:
    inspector = inspect(create_engine(f"sqlite:///{path}"))
    for table in _expected():
        assert inspector.get_pk_constraint(table)["constrained_columns"] == REFERENCE["primary_keys"].get(
            table, ["id"]
        )
        unique = [c["column_names"] for c in inspector.get_unique_constraints(table)]
        assert unique == REFERENCE["unique"].get(table, [])


def test_serial_ids_are_never_used_twice(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        tables = {
            name
            for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
            if "AUTOINCREMENT" in sql
        }
    assert tables == set(REFERENCE["serial"]["tables"])


def test_schema_version_has_one_row_per_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT version, applied_at FROM schema_version ORDER BY version").fetchall()
    assert [version for version, _ in rows] == list(range(1, SCHEMA_VERSION + 1))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", at) for _, at in rows)


def _facts(engine: Engine) -> dict[str, object]:
    inspector = inspect(engine)
    return {
        table: (
            {
                # A row number can't be NULL, whether or not its column says so.
                c["name"]: (str(c["type"]), c["nullable"] and c["name"] != "id", _bare(c["default"]))
                for c in inspector.get_columns(table)
            },
            inspector.get_pk_constraint(table)["constrained_columns"],
            _references(engine, table),
            sorted((i["name"], i["column_names"], i["unique"]) for i in inspector.get_indexes(table)),
            sorted(u["column_names"] for u in inspector.get_unique_constraints(table)),
        )
        for table in inspector.get_table_names()
        if table not in BOOKKEEPING
    }


def _references(engine: Engine, table: str) -> list[tuple[object, ...]]:
    # SQLAlchemy sees ON DELETE only where a key is declared for the whole table.
    with engine.connect() as connection:
        return sorted(tuple(row[2:]) for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list({table})"))


def _bare(default: str | None) -> str | None:
    return None if default is None else default.strip("()")


def test_what_the_migrations_make_is_what_the_tables_in_code_say(path: Path, tmp_path: Path) -> None:
    from_code = create_engine(f"sqlite:///{tmp_path / 'code.db'}")
    metadata.create_all(from_code)
    from_migrations = create_engine(f"sqlite:///{path}")
    assert _facts(from_migrations) == _facts(from_code)
    from_code.dispose()
    from_migrations.dispose()
