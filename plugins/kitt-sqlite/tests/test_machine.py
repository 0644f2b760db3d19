"""Random sequences of operations, compared with a model."""

from pathlib import Path
from unittest.mock import patch

from kitt_core.storage import ResultStore
from kitt_sql.sqlite import rolling
from kitt_sql.testing.recounting import RecountingMachine
from kitt_sqlite.options import SQLiteOptions
from kitt_sqlite.store import SQLiteResultStore


class SQLiteMachine(RecountingMachine):
    # Runs are rolled up with every other save, in portions, and not always from memory.
    often = (*RecountingMachine.often, patch.multiple(rolling, _ENOUGH=3, _PORTION=5, _MOST_METRICS=2))

    def open_store(self, directory: Path) -> ResultStore:
        # Waiting for the disk would be most of the time; what survives a crash is tested elsewhere.
        return SQLiteResultStore(SQLiteOptions(directory / "runs.db", synchronous="OFF"))


TestSQLiteMachine = SQLiteMachine.TestCase
