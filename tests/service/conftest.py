from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kitt_core import open_store
from kitt_core.storage import ResultStore

from .contents import NewTarget, OpenStore


@pytest.fixture
def new_target(tmp_path: Path, request: pytest.FixtureRequest) -> NewTarget:
    """Return what `open_store` takes for an empty store of a backend; other processes may open it, too."""

    def made(name: str) -> str:
        if name == "postgres":
            database = request.getfixturevalue("new_database")()
            with database.open() as store:
                store.initialize()
            return str(database.uri)
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}-{name}"
        place.mkdir()
        return {"sqlite": f"sqlite:///{place}/runs.db", "json": f"json:///{place}", "memory": "memory:"}[name]

    return made


@pytest.fixture
def open_backend(new_target: NewTarget, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenStore]:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power cut here, and waiting takes a minute
    with ExitStack() as stack:

        def opened(name: str) -> ResultStore:
            options: dict[str, Any] = {"synchronous": "OFF"} if name == "sqlite" else {}
            return stack.enter_context(open_store(new_target(name), **options))

        yield opened
