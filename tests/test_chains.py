"""Every document survives every road: through chains of backends it comes back bit for bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from io import BytesIO
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from kitt_core import open_store
from kitt_core.runs import Attachment, Severity
from kitt_core.runs.codec import digest
from kitt_core.service.transfer.copying import copy_runs
from kitt_core.storage import Capability, ResultStore
from kitt_core.testing.documents import HOSTILE, UNFIT

CORPUS = {f"run-{i:03}": document for i, document in enumerate([*HOSTILE.values(), *UNFIT.values()])}
# Beyond what a float of seconds can hold, before 1970, and the ends of the calendar.
TIMES = (
    datetime(2025, 3, 4, 5, 6, 7, 891011, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    datetime(2025, 10, 26, 1, 30, tzinfo=UTC),
)
# Together every backend follows every other, itself included; the second keeps attachments all the way.
CHAINS = (
    ("memory", "sqlite", "json", "sqlite", "memory"),
    ("json", "memory", "json", "json"),
    ("sqlite", "sqlite", "memory", "memory", "json"),
    ("sqlite", "postgres", "json", "sqlite"),
    ("json", "postgres", "postgres", "memory", "postgres", "sqlite"),
)

Copy = Callable[[ResultStore, ResultStore], None]


def copy_by_service(source: ResultStore, target: ResultStore) -> None:
    report = copy_runs(source, target)
    assert report.failed == []
    assert report.unread == 0


def copy_by_listing(source: ResultStore, target: ResultStore) -> None:
    for summary in source.list_results(order_by="-created_at"):
        document = source.get_document(summary.id)
        assert document is not None
        target.save_result(
            document,
            run_id=summary.id,
            created_at=summary.created_at,
            attachments=carried(source, target, summary.id),
            strict=False,
        )


def carried(source: ResultStore, target: ResultStore, run_id: str) -> list[Attachment]:
    can = Capability.ATTACHMENTS in target.capabilities
    return list(source.attachments(run_id)) if can else []


def created(run_id: str) -> datetime:
    return TIMES[int(run_id[4:]) % len(TIMES)]


def files(run_id: str) -> dict[str, bytes]:
    if run_id[-1] in "02468":
        return {}
    return {"chunk é 100%.jsonl.gz": run_id.encode() + bytes(range(256)), "a": b""}


def attachments(run_id: str) -> list[Attachment]:
    return [
        Attachment(name, len(content), lambda content=content: BytesIO(content))  # type: ignore[misc]
        for name, content in files(run_id).items()
    ]


def contents(store: ResultStore, run_id: str) -> dict[str, bytes]:
    found = {}
    for attachment in store.attachments(run_id):
        with attachment.open() as file:
            found[attachment.name] = file.read()
    return found


@pytest.fixture
def open_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], ResultStore]]:
    # What survives a power cut is not the question here, and waiting for the disk would take a minute.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    with ExitStack() as stack:

        def opened(name: str) -> ResultStore:
            if name == "postgres":
                store = stack.enter_context(request.getfixturevalue("new_database")().open())
                store.initialize()
                return store  # type: ignore[no-any-return]  # a fixture by its name has no type
            place = tmp_path / f"{len(list(tmp_path.iterdir()))}-{name}"
            place.mkdir()
            if name == "sqlite":
                return stack.enter_context(open_store(f"sqlite:///{place}/runs.db", synchronous="OFF"))
            return stack.enter_context(open_store(f"json:///{place}" if name == "json" else "memory:"))

        yield opened


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_every_document_comes_back_bit_for_bit(
    open_backend: Callable[[str], ResultStore], chain: tuple[str, ...]
) -> None:
    stores = [open_backend(name) for name in chain]
    first, last = stores[0], stores[-1]
    keep_files = all(Capability.ATTACHMENTS in store.capabilities for store in stores)
    for run_id, document in CORPUS.items():
        given = attachments(run_id) if Capability.ATTACHMENTS in first.capabilities else ()
        first.save_result(document, run_id=run_id, created_at=created(run_id), attachments=given, strict=False)
    before = {run.id: run for run in first.scan()}
    for copy, (source, target) in zip(cycle([copy_by_service, copy_by_listing]), pairwise(stores), strict=False):
        copy(source, target)

    arrived = {run.id: run for run in last.scan()}
    assert arrived.keys() == CORPUS.keys()
    assert [run_id for run_id, document in CORPUS.items() if arrived[run_id].document != document] == []
    assert [run_id for run_id, document in CORPUS.items() if last.get_document(run_id) != document] == []
    assert {run_id: run.sha256 for run_id, run in arrived.items()} == {
        run_id: digest(document) for run_id, document in CORPUS.items()
    }
    assert {run_id: run.created_at for run_id, run in arrived.items()} == {
        run_id: created(run_id) for run_id in CORPUS
    }
    assert {run_id: contents(last, run_id) for run_id in CORPUS} == {
        run_id: files(run_id) if keep_files else {} for run_id in CORPUS
    }
    assert list(last.list_results()) == list(first.list_results())
    assert [finding for finding in last.verify() if finding.severity is Severity.DAMAGE] == []

    copy_by_service(last, first)  # the same ids with the same bytes: nothing changes
    assert {run.id: run for run in first.scan()} == before
