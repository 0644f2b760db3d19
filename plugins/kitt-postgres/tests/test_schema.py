"""A new database is the schema reference with its type table, version 11 and the written additions; nothing else.

The transcription of the reference is the one that the test of kitt-sql reads; the type table is below.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from sqlalchemy import Column, Table, UniqueConstraint
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from kitt_sql.schema.tables import SCHEMA_VERSION, metadata

if TYPE_CHECKING:
    from kitt_postgres.testing import Database, Databases

pytestmark = pytest.mark.each_postgres(always=True)

REFERENCE: Final = tomllib.loads(
    (Path(__file__).parents[2] / "kitt-sql/tests/reference.toml").read_text(encoding="utf-8")
)

JSONB: Final = {("runs", "raw_json"), ("web_campaigns", "config_json"), ("events", "data")}
BOOLEAN: Final = {("runs", "passed"), ("benchmarks", "passed")}
TIMES_BY_ANOTHER_NAME: Final = {"timestamp", "last_heartbeat", "last_checked"}
PLAIN: Final = {"TEXT": "text", "INTEGER": "integer", "REAL": "double precision", "BLOB": "bytea"}
"""The type table of the reference: JSON texts, truth values, times; the other types have one name for another."""

POSITION: Final = ("bigint", "nextval('run_documents_position_seq'::regclass)")
"""What only this database has: the number that orders a scan."""

BOOKKEEPING: Final = {"_yoyo_migration", "_yoyo_log", "_yoyo_version"}
Facts = dict[str, Any]

_TABLES = """SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'p', 'f') AND relnamespace =
    current_schema()::regnamespace AND relname <> ALL(%s)"""
_COLUMNS = """SELECT attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid), attnotnull
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"""
_CONSTRAINTS = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s AND contype <> 'n'"
_INDEXES = """SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s AND NOT EXISTS (
    SELECT FROM pg_constraint WHERE conindid = indexrelid)"""
_OBJECTS = """SELECT relkind::text, relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace
        AND relkind NOT IN ('r', 'i')
    UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    UNION ALL SELECT 'trigger', tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal
    UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace = current_schema()::regnamespace
        AND typtype <> 'c' AND typcategory <> 'A'"""


def _connect(database: Database) -> psycopg.Connection[tuple[Any, ...]]:
    connection = psycopg.connect(database.dsn, autocommit=True)
    if schema := database.options.get("schema"):
        connection.execute("SELECT set_config('search_path', %s, false)", [schema])
    return connection


@pytest.fixture(scope="module")
def connection(postgres_databases: Databases) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    database = postgres_databases.new()
    with database.open() as store:
        store.initialize()
    with _connect(database) as connection:
        yield connection
    postgres_databases.drop(database)


@pytest.fixture(scope="module")
def facts(connection: psycopg.Connection[tuple[Any, ...]]) -> Facts:
    """Everything that the catalog says of each table."""

    def read(table: int) -> Facts:
        return {
            "columns": {row[0]: row[1:] for row in connection.execute(_COLUMNS, [table])},
            "constraints": {_plain(row[0]) for row in connection.execute(_CONSTRAINTS, [table])},
            "indexes": {_plain(row[0]) for row in connection.execute(_INDEXES, [table])},
        }

    tables = connection.execute(_TABLES, [list(BOOKKEEPING)]).fetchall()
    return {name: read(oid) for oid, name in tables}


def _plain(definition: str) -> str:
    definition = definition.replace('"', "")  # timestamp and key are keywords of SQL
    return re.sub(r"CREATE INDEX (\w+) ON (?:\w+\.)?(\w+) USING btree (.*)", r"\1 \2\3", definition)


def _type_of(table: str, name: str, kind: str) -> str:
    if (table, name) in JSONB:
        return "jsonb"
    if (table, name) in BOOLEAN:
        return "boolean"
    if name in TIMES_BY_ANOTHER_NAME or name.endswith("_at"):
        return "timestamp with time zone"
    return PLAIN[kind]


def _expected_columns() -> dict[str, dict[str, tuple[str, str | None]]]:
    tables: dict[str, dict[str, tuple[str, str | None]]] = {}
    for source in ("reference", "version_11", "additions"):
        for table, columns in REFERENCE[source].items():
            for name, kind, default, _ in map(str.split, columns):
                found = _type_of(table, name, kind)
                tables.setdefault(table, {})[name] = (found, _default_of(found, default))
    for table in REFERENCE["serial"]["tables"]:
        tables[table]["id"] = ("integer", f"nextval('{table}_id_seq'::regclass)")
    tables["run_documents"]["position"] = POSITION
    return tables


def _default_of(kind: str, default: str) -> str | None:
    words = {"-": None, "now": "now()"}
    if default in words:
        return words[default]
    return "false" if kind == "boolean" else f"{default}::text" if default.startswith("'") else default


def _expected_constraints() -> dict[str, set[str]]:
    tables: dict[str, set[str]] = {}
    for source in ("reference", "version_11", "additions"):
        for table, columns in REFERENCE[source].items():
            keys = REFERENCE["primary_keys"].get(table, ["id"])
            found = tables.setdefault(table, {f"PRIMARY KEY ({', '.join(keys)})"})
            found |= {f"UNIQUE ({', '.join(unique)})" for unique in REFERENCE["unique"].get(table, [])}
            for name, _, _, reference in map(str.split, columns):
                if reference != "-":
                    parent, key, action = re.split("[.:]", reference)
                    cascade = " ON DELETE CASCADE" if action == "CASCADE" else ""
                    found.add(f"FOREIGN KEY ({name}) REFERENCES {parent}({key}){cascade}")
    tables["run_documents"].add("UNIQUE (position)")
    return tables


def test_columns_types_and_defaults_are_those_of_the_reference(facts: Facts) -> None:
    found = {
        table: {name: column[:2] for name, column in fact["columns"].items()} for table, fact in facts.items()
    }
    assert found == _expected_columns()


def test_keys_unique_constraints_and_references_are_those_of_the_reference(facts: Facts) -> None:
    assert {table: fact["constraints"] for table, fact in facts.items()} == _expected_constraints()


def test_indexes_are_those_of_the_reference_and_the_additions(facts: Facts) -> None:
    expected = REFERENCE["indexes"] | REFERENCE["added_indexes"]
    found = {index for fact in facts.values() for index in fact["indexes"]}
    assert found == {f"{name} {columns}" for name, columns in expected.items()}


def test_nothing_else_is_there(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    sequences = {f"{table}_id_seq" for table in REFERENCE["serial"]["tables"]} | {"run_documents_position_seq"}
    assert set(connection.execute(_OBJECTS)) == {("S", name) for name in sequences}


def test_what_the_migrations_make_is_what_the_tables_in_code_say(facts: Facts) -> None:
    found = {
        table: {
            "columns": {
                name: (kind, default is not None, required)
                for name, (kind, default, required) in fact["columns"].items()
                if name != "position"
            },
            "constraints": fact["constraints"] - {"UNIQUE (position)"},
            "indexes": fact["indexes"],
        }
        for table, fact in facts.items()
    }
    assert found == {name: _in_code(table) for name, table in metadata.tables.items()}


def _in_code(table: Table) -> Facts:
    unique = [
        [column.name for column in constraint.columns]
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    ]
    return {
        "columns": {column.name: _column_in_code(column) for column in table.columns},
        "constraints": {
            f"PRIMARY KEY ({', '.join(column.name for column in table.primary_key)})",
            *(f"UNIQUE ({', '.join(names)})" for names in unique),
            *(
                f"FOREIGN KEY ({key.parent.name}) REFERENCES {key.column.table.name}({key.column.name})"
                + (f" ON DELETE {key.ondelete}" if key.ondelete else "")
                for key in table.foreign_keys
            ),
        },
        "indexes": {
            f"{index.name} {table.name}({', '.join(column.name for column in index.columns)})"
            for index in table.indexes
            if index.name not in REFERENCE["sqlite_indexes"]
        },
    }


def _column_in_code(column: Column[Any]) -> tuple[str, bool, bool]:
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types there
    kind = column.type.compile(dialect=dialect).lower()
    serial = column.primary_key and column.autoincrement is True
    return kind, serial or column.server_default is not None, not column.nullable


def test_schema_version_has_one_row_per_version(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    rows = connection.execute("SELECT version, applied_at FROM schema_version ORDER BY version").fetchall()
    assert [version for version, _ in rows] == list(range(1, SCHEMA_VERSION + 1))
    assert all(applied_at.tzinfo is not None for _, applied_at in rows)


def test_the_bookkeeping_names_no_user_and_no_host(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    assert set(connection.execute("SELECT username, hostname, comment FROM _yoyo_log")) == {(None, None, None)}


def test_the_option_schema_makes_the_schema_and_everything_in_it(new_database: Callable[[], Database]) -> None:
    name = 'Team "A"; drop'
    database = new_database()
    with _connect(database) as connection:
        before = _places(connection)
        try:
            with database.open(schema=name) as store:
                assert len(store.migrate(dry_run=True)) == SCHEMA_VERSION
                assert connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [name]).rowcount == 0
                store.initialize()
                run_id = store.save_result({"model": "m", "engine": "e"})
                assert [run.id for run in store.list_results()] == [run_id]
                assert list(store.verify()) == []
            assert _places(connection) - before == {(name, table) for table in {*metadata.tables, *BOOKKEEPING}}
            with database.open() as store:
                assert store.schema_status().version is None
        finally:
            connection.execute('DROP SCHEMA IF EXISTS "Team ""A""; drop" CASCADE')


def _places(connection: psycopg.Connection[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    return set(connection.execute("SELECT schemaname, tablename FROM pg_tables"))
