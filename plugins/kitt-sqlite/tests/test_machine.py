"""Random sequences of operations, compared with a model."""

from pathlib import Path

from kitt_core.storage import ResultStore
from kitt_core.testing.machine import StoreStateMachine
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


class SQLiteMachine(StoreStateMachine):
    def open_store(self, directory: Path) -> ResultStore:
        # Waiting for the disk would be most of the time; what survives a crash is tested elsewhere.
        return SQLiteResultStore(SQLiteOptions(directory / "runs.db", synchronous="OFF"))


TestSQLiteMachine = SQLiteMachine.TestCase
