"""`StoreContract`: every sentence of the storage contract as a test.

There is one module of tests per topic; the class combines them. Which tests apply depends on the store's
``capabilities``: what is declared is tested, what is not declared must be refused.
"""

from __future__ import annotations

from kitt_core.testing._storage.aggregation import AggregationContract
from kitt_core.testing._storage.agreement import AgreementContract
from kitt_core.testing._storage.documents import RefusalContract, VerbatimContract
from kitt_core.testing._storage.filters import FilterContract
from kitt_core.testing._storage.identity import IdentityContract, StoringOnceContract
from kitt_core.testing._storage.lifecycle import LifecycleContract
from kitt_core.testing._storage.listing import OrderingContract, PagingContract, ScanningContract
from kitt_core.testing._storage.questions import little_memory_for
from kitt_core.testing._storage.rows import RowContract
from kitt_core.testing._storage.upkeep import AttachmentContract, DeletingContract, VerifyingContract

__all__ = ["StoreContract", "little_memory_for"]


class StoreContract(
    VerbatimContract,
    IdentityContract,
    StoringOnceContract,
    RefusalContract,
    RowContract,
    FilterContract,
    OrderingContract,
    PagingContract,
    AggregationContract,
    AgreementContract,
    ScanningContract,
    DeletingContract,
    AttachmentContract,
    VerifyingContract,
    LifecycleContract,
):
    """The contract of `kitt_core.storage.ResultStore`.

    A subclass provides the fixture ``store``, which yields an open, empty store and closes it. It may override
    `reopen`; otherwise the tests that need a second handle on the same data are skipped.
    """
