"""The conformance kit: tests that prove that a plugin keeps its promises.

A third party's complete test file is a subclass and one fixture::

    import pytest
    from kitt_core.testing import StoreContract

    from kitt_shelf.store import ShelfStore


    class TestShelf(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            with ShelfStore(tmp_path / "runs") as store:
                yield store

==============================  ====================================================================
`StoreContract`                 every sentence of the storage contract
`StoreStateMachine`             random sequences of every operation, against a model
`StoreConcurrencyContract`      threads, processes and kills, for a store that declares ``CONCURRENT``
`FingerprintContract`           a source of the machine's fingerprint
`ExporterContract`              a format that runs are exported to
`ImporterContract`              a reader for result files
`EngineContract`                an inference engine
`documents`                     ordinary, hostile and invalid documents for further tests
==============================  ====================================================================

**Versions.** A new test is provisional at first (marker ``kitt_provisional``): it does not make a test run fail
before the next minor release, see `kitt_core.testing.pytest_plugin`. `CONTRACT_VERSION` is incremented when such
tests become binding.

The kit needs pytest, and the state machine also needs Hypothesis (``pip install kitt-core[testing]``); only tests
import it. pytest loads its plugin automatically; tests that take minutes are marked ``long`` and run with
``-m long``.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kitt_core.testing import documents
    from kitt_core.testing.concurrency import StoreConcurrencyContract
    from kitt_core.testing.engine import EngineContract
    from kitt_core.testing.exporter import ExporterContract
    from kitt_core.testing.fingerprint import FingerprintContract
    from kitt_core.testing.importer import ImporterContract
    from kitt_core.testing.machine import StoreStateMachine
    from kitt_core.testing.storage import StoreContract
    from kitt_core.testing.worker import StoreTarget

__all__ = [
    "CONTRACT_VERSION",
    "EngineContract",
    "ExporterContract",
    "FingerprintContract",
    "ImporterContract",
    "StoreConcurrencyContract",
    "StoreContract",
    "StoreStateMachine",
    "StoreTarget",
    "documents",
]

CONTRACT_VERSION: Final = 1
"""Incremented when a provisional test becomes binding, so that a store that used to pass may fail."""

# Names instead of imports, because pytest loads the plugin of this package even in sessions that don't use the
# kit, and a worker process does not need pytest.
_MODULES: Final = {
    "EngineContract": "engine",
    "ExporterContract": "exporter",
    "FingerprintContract": "fingerprint",
    "ImporterContract": "importer",
    "StoreConcurrencyContract": "concurrency",
    "StoreContract": "storage",
    "StoreStateMachine": "machine",
    "StoreTarget": "worker",
}

if (_pytest := sys.modules.get("pytest")) is not None:
    # Before they are imported: only then do their failing assertions show values in a third party's tests.
    _pytest.register_assert_rewrite(
        *(f"{__name__}.{module}" for module in ("_machine", "_storage", "record", *sorted({*_MODULES.values()})))
    )


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name == "documents":
        return importlib.import_module(f"{__name__}.documents")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
