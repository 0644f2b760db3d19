"""Stores: the contract, and what a backend does not have to implement itself.

::

    contract       ResultStore: what a store promises, what a backend implements
    backend        the record that a storage plugin registers
    fallbacks      filters, orders and statistics over a scan, in plain Python
    verification   what ``verify`` looks for in any store
    memory         a store in memory

The modules `kitt_core.storage.fallbacks` and `kitt_core.storage.memory` are public too.
"""

from __future__ import annotations

from kitt_core.storage.backend import STORAGE_API_VERSION, StorageBackend
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.storage.verification import DocumentCheck, verify_documents

__all__ = [
    "STORAGE_API_VERSION",
    "Capability",
    "DocumentCheck",
    "ResultStore",
    "StorageBackend",
    "verify_documents",
]
