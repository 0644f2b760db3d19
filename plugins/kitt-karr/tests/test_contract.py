"""The conformance kit, on the repositories that KITT makes, and on one with a work tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitt_core.storage import ResultStore
from kitt_core.testing import StoreContract
from kitt_karr.store import KarrResultStore


@pytest.mark.long
class TestKarrWithAWorkTree(StoreContract):
    @pytest.fixture
    def store(self, git: Any, tmp_path: Path) -> Iterator[ResultStore]:
        git(tmp_path, "init", "-q", "-b", "main", str(tmp_path / "tree"))
        with KarrResultStore(tmp_path / "tree", lfs_threshold=100) as store:
            yield store
            assert git(tmp_path / "tree", "status", "--porcelain") == ""
            git.assert_intact(tmp_path / "tree")

    def reopen(self, store: ResultStore) -> ResultStore:
        return KarrResultStore(store.location)


class TestKarr(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResultStore]:
        monkeypatch.setattr(
            os, "fsync", lambda descriptor: None
        )  # a test survives no power cut, and waiting takes long
        with KarrResultStore(tmp_path / "karr") as store:
            yield store

    def reopen(self, store: ResultStore) -> ResultStore:
        return KarrResultStore(store.location)
