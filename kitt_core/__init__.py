"""KITT: the results store that every AI inference benchmark can plug into.

::

    from kitt_core import open_store

    with open_store("sqlite:///results.db") as store:
        run_id = store.save_result(document)
        assert store.get_document(run_id) == document

Importing the package is cheap and has no effect: no plugin, no driver, no configuration is read before
`open_store`, and a name's module is imported when the name is first used. What plugin authors need stands in the
public modules: `storage`, `backend`, `hookspecs`, `query`, `model`, `errors`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_NAMES = {
    "errors": ("KittError",),
    "model": ("Attachment", "Finding", "Page", "RunSummary", "SchemaStatus", "StoredRun"),
    "plugins": ("PluginManager",),
    "query": ("RunFilter",),
    "storage": ("Capability", "ResultStore"),
    "stores": ("open_store",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker is to see the imports above, and nothing else

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
