"""The conformance kit: what proves that a plugin keeps its promises.

A third party's whole test file is a subclass and one fixture::

    import pytest
    from kitt_core.testing import StoreContract

    from kitt_shelf.store import ShelfStore


    class TestShelf(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            with ShelfStore(tmp_path / "runs") as store:
                yield store

It needs pytest (``pip install kitt-core[testing]``) and is imported by tests alone.
"""

import pytest

# Before the import: only then do failing assertions of the kit show their values in a third party's tests.
pytest.register_assert_rewrite("kitt_core.testing.storage", "kitt_core.testing._storage")

from kitt_core.testing.storage import CONTRACT_VERSION, StoreContract  # noqa: E402

__all__ = ["CONTRACT_VERSION", "StoreContract"]
