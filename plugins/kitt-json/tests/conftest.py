"""A store in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitt_json.store import JSONResultStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JSONResultStore]:
    with JSONResultStore(tmp_path) as store:
        yield store
