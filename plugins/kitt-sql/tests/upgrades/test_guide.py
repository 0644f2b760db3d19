"""The examples of docs/migrations.md are applied to a database with rows in it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kitt_sql.schema import migrate as migrations
from kitt_sql.schema.released import MIGRATIONS, POSTGRESQL_MACROS, SQLITE_MACROS, expand
from kitt_sql.sqlite import SQLiteDatabase, SQLiteFile

GUIDE = Path(__file__).parents[4] / "docs/migrations.md"


def _examples() -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _statements() -> list[str]:
    text = "\n".join(line for line in "\n".join(_examples()).splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in text.split(";") if statement.strip()]


@pytest.fixture
def with_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Number the examples after the existing migrations; return the version that they make."""
    folder = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).with_name("migrations"), folder)
    names = list(MIGRATIONS)
    for number, (text, name) in enumerate(zip(_examples(), ("reviews", "host"), strict=True), len(names) + 1):
        names.append(f"kitt-{number:04}-{name}")
        (folder / f"{names[-1]}.sql").write_text(text, encoding="utf-8")
    monkeypatch.setattr(migrations, "_FOLDER", str(folder))
    monkeypatch.setattr(migrations, "MIGRATIONS", tuple(names))
    return len(names)


def test_the_examples_keep_every_row_of_parents_and_children(
    path: Path, make_old: Callable[[int], None], with_examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(11)
    with monkeypatch.context() as undone, SQLiteDatabase(SQLiteFile(path)) as database:
        undone.setattr("kitt_sql.database.SCHEMA_VERSION", with_examples)
        # The rows of KITT 1.x move in before the examples are applied, the runs after them.
        database.migrate()
    with closing(sqlite3.connect(path)) as connection:
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("agents", "agent_settings", "agent_engines", "quick_tests", "web_campaigns")
        }
        assert counts == {
            "agents": 2,
            "agent_settings": 12,
            "agent_engines": 1,
            "quick_tests": 2,
            "web_campaigns": 2,
        }
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert {row[2] for row in connection.execute("PRAGMA foreign_key_list(agent_settings)")} == {"agents"}
        connection.execute("INSERT INTO agents (id, name) VALUES ('new', 'nobody')")
        connection.execute("INSERT INTO run_reviews (run_id) VALUES ('regular000000000')")
        versions = connection.execute("SELECT version FROM schema_version").fetchall()
        assert versions == [(n,) for n in range(1, with_examples + 1)]


def test_a_statement_for_one_database_is_left_out_of_the_other() -> None:
    assert expand("{sqlite} DROP TABLE a", SQLITE_MACROS) == " DROP TABLE a"
    assert expand("{sqlite} DROP TABLE a", POSTGRESQL_MACROS) is None
    assert expand("{postgresql} DROP TABLE a", SQLITE_MACROS) is None
    ours = [expand(statement, POSTGRESQL_MACROS) for statement in _statements()]
    assert [statement for statement in ours if statement and "new_agents" in statement] == []
    assert ours[-1] == " ALTER TABLE agents ALTER COLUMN hostname DROP NOT NULL"


def test_the_table_of_macros_is_the_one_in_code() -> None:
    rows = re.findall(
        r"^\| `\{(\w+)\}` \| `(.+?)` \| (?:`(.+?)`)? ?\|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) == 9
    for name, sqlite, postgresql in rows:
        assert (SQLITE_MACROS[name].strip(), POSTGRESQL_MACROS[name].strip()) == (sqlite, postgresql)
