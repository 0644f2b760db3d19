"""KITT: the results store that every AI inference benchmark can plug into.

::

    from kitt_core import open_store

    with open_store("sqlite:///results.db") as store:
        run_id = store.save_result(document)
        assert store.get_document(run_id) == document

Importing the package is cheap and has no side effects: plugins, drivers and configuration are not touched before
`open_store`, and a name's module is imported when the name is first used. Plugin authors find what they need in
the packages `runs`, `storage` and `plugins` and in the modules `hookspecs` and `errors`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitt_core.errors import KittError
    from kitt_core.opening import open_store
    from kitt_core.plugins.loading import PluginManager
    from kitt_core.runs.model import Attachment, Finding, Page, RunSummary, SchemaStatus, StoredRun
    from kitt_core.runs.query import RunFilter
    from kitt_core.storage.contract import Capability, ResultStore

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
    "opening": ("open_store",),
    "plugins": ("PluginManager",),
    "runs": ("Attachment", "Finding", "Page", "RunFilter", "RunSummary", "SchemaStatus", "StoredRun"),
    "storage": ("Capability", "ResultStore"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


if not TYPE_CHECKING:  # so that type checkers see only the imports above

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
