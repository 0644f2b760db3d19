"""KITT: the results store that every AI inference benchmark can plug into.

::

    from kitt_core import open_store

    with open_store("sqlite:///results.db") as store:
        run_id = store.save_result(document)
        assert store.get_document(run_id) == document

Importing the package is cheap and has no effect: no plugin, no driver, no configuration is read before
`open_store`. What plugin authors need stands in the public modules: `storage`, `backend`, `hookspecs`, `query`,
`model`, `errors`.
"""

from kitt_core.errors import KittError
from kitt_core.model import Attachment, Finding, Page, RunSummary, SchemaStatus, StoredRun
from kitt_core.plugins import PluginManager
from kitt_core.query import RunFilter
from kitt_core.storage import Capability, ResultStore
from kitt_core.stores import open_store

__all__ = [
    "Attachment",
    "Capability",
    "Finding",
    "KittError",
    "Page",
    "PluginManager",
    "ResultStore",
    "RunFilter",
    "RunSummary",
    "SchemaStatus",
    "StoredRun",
    "__version__",
    "open_store",
]

__version__ = "0.1.0"
