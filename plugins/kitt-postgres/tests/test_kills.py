"""Upgrades of KITT 1.x whose process is killed: the database is the old one or the new one, whole."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from kitt_core.runs import SchemaState, Severity
from kitt_core.testing import StoreTarget
from kitt_sql.schema.tables import SCHEMA_VERSION
from kitt_sql.testing import POSTGRESQL, LegacyRun, create_statements, insert_run, legacy_runs

if TYPE_CHECKING:
    from kitt_postgres.testing import Database

_KILLS: Final = 20
_RUNS: Final = 60

_MIGRATE: Final = """
import sys
from kitt_core.testing import StoreTarget
import kitt_sql.schema.migrate, kitt_sql.adoption.adopting
with StoreTarget.decode(sys.argv[1]).open() as store:
    store.schema_status()
    print("ready", flush=True)
    store.migrate()
"""


def _made_old(database: Database) -> None:
    """Make it a database of KITT 1.x, version 3, with only the tables of that version."""
    text = legacy_runs()[0].text
    with psycopg.connect(database.dsn) as connection:

        def execute(statement: str, parameters: Any = ()) -> None:
            connection.execute(statement.replace("?", "%s").encode(), parameters)

        for statement in create_statements(3, POSTGRESQL, tables_until=1):
            execute(statement)
        execute("INSERT INTO schema_version (version) VALUES (?)", (3,))
        for number in range(_RUNS):
            insert_run(execute, LegacyRun(f"run{number:013}", text))


def _started(database: Database) -> subprocess.Popen[str]:
    target = StoreTarget(database.dsn, dict(database.options)).encode()
    process = subprocess.Popen([sys.executable, "-c", _MIGRATE, target], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.long
def test_kills_at_random_moments_leave_the_old_or_the_new_database(new_database: Callable[[], Database]) -> None:
    undisturbed = new_database()
    _made_old(undisturbed)
    process = _started(undisturbed)
    began = time.monotonic()
    process.communicate(timeout=60)
    takes = time.monotonic() - began
    assert process.returncode == 0
    states = []
    for _ in range(_KILLS):
        database = new_database()
        _made_old(database)
        process = _started(database)
        time.sleep(random.uniform(0, takes))
        process.kill()
        process.communicate()
        with database.open() as store:
            status = store.schema_status()
            versions = {(SchemaState.OLD, 3), (SchemaState.CURRENT, SCHEMA_VERSION)}
            assert (status.state, status.version) in versions
            states.append(status.state)
            store.migrate()  # waits until the server has noticed the death
            assert store.count() == _RUNS
            assert [finding for finding in store.verify() if finding.severity is Severity.DAMAGE] == []
    assert states.count(SchemaState.OLD) >= _KILLS // 4, "the kills came too late"
