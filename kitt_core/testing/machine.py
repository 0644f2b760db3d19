"""`StoreStateMachine`: random sequences of every operation, each answer compared with a model in memory.

`StoreContract` shows that each promise holds on a fresh store; this shows that they hold whatever has happened
before. The test of a plugin is::

    from kitt_core.testing.machine import StoreStateMachine


    class ShelfMachine(StoreStateMachine):
        def open_store(self, directory):
            return ShelfStore(directory / "runs")


    TestShelfMachine = ShelfMachine.TestCase

``TestCase`` has two tests. The first runs the same hundred operations each time, so that nothing fails by
chance. The second is marked ``long``: it draws new sequences for ``KITT_TEST_MINUTES`` minutes, by default 10.
A failure prints the shortest program that reproduces it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kitt_core.errors import InvalidDocumentError, KittError, RunExistsError, UnsupportedOperationError
from kitt_core.runs import codec
from kitt_core.runs.checking import check_run
from kitt_core.runs.model import Attachment, SchemaState, Severity
from kitt_core.runs.timestamps import to_utc
from kitt_core.storage.contract import Capability, ResultStore
from kitt_core.testing._machine import strategies as draw
from kitt_core.testing._machine.model import StoreModel

__all__ = ["MINUTES_VARIABLE", "StoreStateMachine", "run_for_minutes", "run_short"]

MINUTES_VARIABLE: Final = "KITT_TEST_MINUTES"
"""The environment variable with the minutes for which the tests marked ``long`` draw new sequences."""

_ANY_SPEED: Final = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    report_multiple_bugs=False,
)
_SHORT: Final = settings(_ANY_SPEED, derandomize=True, max_examples=5, stateful_step_count=20)
_LONG: Final = settings(_ANY_SPEED, derandomize=False, max_examples=50, stateful_step_count=60)


class _TestCase:
    """Gives each subclass that refers to it a class that pytest collects."""

    def __get__(self, instance: object, owner: type[StoreStateMachine]) -> type[Any]:
        return _test_case(owner)


class StoreStateMachine(RuleBasedStateMachine):
    """Operations on a store and on a model of it, which must agree.

    A subclass defines `open_store`.

    Attributes:
        persistent: Whether `open_store` finds what was saved in the same directory before. False leaves out the
            steps that close the store and open it again.
    """

    persistent: ClassVar[bool] = True
    TestCase: Any = _TestCase()

    known = Bundle("known")

    def open_store(self, directory: Path) -> ResultStore:
        """Open the store in ``directory``, which is empty at first and removed at the end."""
        raise NotImplementedError(f"{type(self).__name__} needs a method open_store(directory)")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="kitt-machine-"))
        self.model = StoreModel()
        self.store = self.open_store(self.directory)

    def teardown(self) -> None:
        """Compare everything, then remove it."""
        try:
            self._compare_everything()
        finally:
            self.store.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    # Saving.

    @initialize(target=known, document=draw.documents, run_id=draw.ids)
    def _begin_with_a_run(self, document: Any, run_id: str) -> str:
        return self._saved(document, run_id=run_id)

    @rule(target=known, document=draw.documents, run_id=st.none() | draw.ids, created_at=draw.created_ats)
    def save(self, document: Any, run_id: str | None, created_at: datetime | None) -> str:
        """Save; an id that other bytes have is refused, for the same bytes nothing changes."""
        return self._saved(document, run_id=run_id, created_at=created_at)

    @rule(target=known, document=draw.misfits, run_id=st.none() | draw.ids)
    def save_misfit(self, document: bytes, run_id: str | None) -> str:
        """Save what only ``strict=False`` accepts."""
        return self._saved(document, run_id=run_id, strict=False)

    @rule(target=known, document=draw.documents, run_id=st.none() | draw.ids, files=draw.attachments)
    def save_with_attachments(self, document: Any, run_id: str | None, files: dict[str, bytes]) -> str:
        """Save with files; if the store can't keep any, nothing is saved."""
        given = [Attachment(name, len(data), lambda data=data: BytesIO(data)) for name, data in files.items()]  # type: ignore[misc]
        if files and Capability.ATTACHMENTS not in self.store.capabilities:
            with pytest.raises(UnsupportedOperationError):
                self.store.save_result(document, run_id=run_id, attachments=given)
            return run_id or "unknown"
        return self._saved(document, run_id=run_id, attachments=given, files=files)

    @rule(run_id=known)
    def save_the_same_again(self, run_id: str) -> None:
        """Save the stored bytes under their id: nothing changes."""
        if (stored := self.model.runs.get(run_id)) is not None:
            assert self.store.save_result(stored.document, run_id=run_id, strict=False) == run_id

    @rule(document=draw.refused, run_id=st.none() | draw.ids)
    def save_what_is_refused(self, document: Any, run_id: str | None) -> None:
        """Save what is not a run: nothing changes."""
        with pytest.raises(InvalidDocumentError):
            self.store.save_result(document, run_id=run_id)

    @rule(documents=st.lists(draw.documents, max_size=4))
    def save_batch(self, documents: list[Any]) -> None:
        """Save several at once."""
        ids = self.store.save_results(documents)
        assert len(set(ids)) == len(documents)
        for run_id, document in zip(ids, documents, strict=True):
            self._note(run_id, document)

    @rule(documents=st.lists(draw.documents, max_size=2), bad=draw.refused, position=st.integers(0, 2))
    def save_batch_with_one_refused(self, documents: list[Any], bad: Any, position: int) -> None:
        """Save several, one of which is not a run: nothing changes."""
        with pytest.raises(InvalidDocumentError):
            self.store.save_results([*documents[:position], bad, *documents[position:]])

    @rule(
        documents=st.lists(draw.documents, min_size=1, max_size=3), ids=st.lists(draw.ids, min_size=3, max_size=3)
    )
    def save_batch_of_ids(self, documents: list[Any], ids: list[str]) -> None:
        """Save several, some of which may be there already, with the same bytes or with others."""
        runs = [check_run(document, run_id=run_id) for document, run_id in zip(documents, ids, strict=False)]
        bytes_of = {run_id: run.document for run_id, run in self.model.runs.items()}
        if any(bytes_of.setdefault(run.id, run.document) != run.document for run in runs):
            # Without either capability a store can't undo what it wrote before it reached the taken id.
            if self.store.capabilities & {Capability.ATOMIC_BATCH, Capability.DELETE}:
                with pytest.raises(RunExistsError):
                    self.store.save_checked(runs)
            return
        self.store.save_checked(runs)
        for run in runs:
            if run.id not in self.model.runs:
                self.model.add(run, run.created_at)

    @rule(documents=st.lists(draw.documents, max_size=3))
    def import_some(self, documents: list[Any]) -> None:
        """Store what is not there yet, by its bytes."""
        runs = [check_run(document) for document in documents]
        ids_of: dict[str, set[str]] = {}
        for run_id, stored in self.model.runs.items():
            ids_of.setdefault(stored.sha256, set()).add(run_id)
        present = self.store.save_unless_stored(runs)
        assert present.keys() == {run.sha256 for run in runs} & ids_of.keys()
        assert [digest for digest, run_id in present.items() if run_id not in ids_of[digest]] == []
        for run in {run.sha256: run for run in reversed(runs)}.values():
            if run.sha256 not in ids_of:
                self.model.add(run, run.created_at)

    # Reading.

    @rule(run_id=known | draw.ids | draw.unknown_ids)
    def get(self, run_id: str) -> None:
        """Get one run, by an id that may not exist."""
        stored = self.model.runs.get(run_id)
        assert self.store.get_document(run_id) == (stored and stored.document)
        # As text, because NaN is not equal to itself.
        assert repr(self.store.get_result(run_id)) == repr(stored and codec.parse(stored.document))
        assert self._files(run_id) == (stored.files if stored else {})

    @rule(filters=draw.filters, order=draw.orders, limit=st.none() | st.integers(0, 5), offset=st.integers(0, 3))
    def list_page(self, filters: Mapping[str, Any], order: str, limit: int | None, offset: int) -> None:
        """List one page."""
        rest = self.model.ordered(filters, order)[offset:]
        wanted = rest if limit is None else rest[:limit]
        page = self.store.list_results(filters, order_by=order, limit=limit, offset=offset)
        assert list(page) == [run.summary() for run in wanted]
        assert (page.next_cursor is not None) == (0 < len(wanted) < len(rest))

    @rule(filters=draw.filters, order=draw.orders, limit=st.integers(1, 4))
    def walk_pages(self, filters: Mapping[str, Any], order: str, limit: int) -> None:
        """List page after page."""
        wanted = [run.id for run in self.model.ordered(filters, order)]
        walked: list[str] = []
        after: str | None = None
        while len(walked) <= len(wanted):
            page = self.store.list_results(filters, order_by=order, limit=limit, after=after)
            walked += [summary.id for summary in page]
            after = page.next_cursor
            if after is None:
                break
        assert walked == wanted

    @rule(filters=draw.filters, order=draw.orders, limit=st.none() | st.integers(0, 3), offset=st.integers(0, 2))
    def query(self, filters: Mapping[str, Any], order: str, limit: int | None, offset: int) -> None:
        """Query documents."""
        rest = self.model.ordered(filters, order)[offset:]
        wanted = [codec.parse(run.document) for run in (rest if limit is None else rest[:limit])]
        given = self.store.query(filters, order_by=order, limit=limit, offset=offset)
        assert repr(given) == repr(wanted)

    @rule(filters=draw.filters)
    def count(self, filters: Mapping[str, Any]) -> None:
        """Count the runs that match."""
        assert self.store.count(filters) == len(self.model.select(filters))

    @rule(filters=draw.filters, aggregation=draw.aggregations)
    def aggregate(self, filters: Mapping[str, Any], aggregation: tuple[list[str], list[str], list[str]]) -> None:
        """Aggregate by groups."""
        group_by, metrics, statistics = aggregation
        given = self.store.aggregate(group_by, metrics, statistics=statistics, filters=filters)
        wanted = self.model.aggregate(group_by, metrics, statistics, filters)
        # Numbers may differ by the order of addition, everything else is exact.
        assert [_close(row) for row in given] == wanted

    @rule(filters=draw.filters)
    def scan(self, filters: Mapping[str, Any]) -> None:
        """Scan everything that matches."""
        scanned = [(run.id, run.document, run.created_at, run.sha256) for run in self.store.scan(filters)]
        wanted = [(run.id, run.document, run.created_at, run.sha256) for run in self.model.select(filters)]
        assert sorted(scanned) == sorted(wanted)

    @rule(document=draw.documents, most=st.integers(1, 5))
    def save_inside_a_scan(self, document: Any, most: int) -> None:
        """Save during a scan: it continues, and yields nothing twice."""
        before = set(self.model.runs)
        seen: list[str] = []
        for run in self.store.scan():
            if len(seen) < most:
                self._note(self.store.save_result(document), document)
            seen.append(run.id)
            assert len(seen) <= len(self.model.runs), "the scan yields more runs than there are"
        assert len(seen) == len(set(seen))
        assert before <= set(seen) <= set(self.model.runs)

    @rule(order=draw.orders, name=st.sampled_from(["modle", "", "*", "raw_json", "model; --"]))
    def ask_for_unknown_names(self, order: str, name: str) -> None:
        """Use names and values that do not exist: an error, and nothing changes."""
        for call in (
            lambda: self.store.list_results({name: "x"}, order_by=order),
            lambda: self.store.list_results(order_by=name),
            lambda: self.store.aggregate([name]),
            lambda: self.store.list_results(order_by=order, limit=-1),
            lambda: self.store.count({"since": name}),
        ):
            with pytest.raises(KittError):
                call()

    # Deleting and maintenance.

    @rule(run_id=consumes(known))
    def delete(self, run_id: str) -> None:
        """Delete a run that is or was there."""
        if Capability.DELETE not in self.store.capabilities:
            with pytest.raises(UnsupportedOperationError):
                self.store.delete_result(run_id)
            return
        assert self.store.delete_result(run_id) is (self.model.runs.pop(run_id, None) is not None)

    @rule(run_id=draw.unknown_ids)
    def delete_unknown(self, run_id: str) -> None:
        """Delete what is not there."""
        if Capability.DELETE in self.store.capabilities:
            assert self.store.delete_result(run_id) is False

    @rule(rebuild=st.booleans())
    def verify(self, rebuild: bool) -> None:
        """Verify: there is no damage."""
        assert [f for f in self.store.verify(rebuild=rebuild) if f.severity is Severity.DAMAGE] == []

    @rule()
    def initialize_again(self) -> None:
        """Initialise an initialised store."""
        self.store.initialize()
        assert self.store.schema_status().state is SchemaState.CURRENT

    @precondition(lambda self: self.persistent)
    @rule()
    def reopen(self) -> None:
        """Close the store, twice, and open it again."""
        self.store.close()
        self.store.close()
        self.store = self.open_store(self.directory)
        self._compare_everything()

    @precondition(lambda self: self.persistent and Capability.CONCURRENT in self.store.capabilities)
    @rule(document=draw.documents)
    def save_through_a_second_handle(self, document: Any) -> None:
        """Save through another store on the same data while this one is open."""
        with self.open_store(self.directory) as other:
            self._note(other.save_result(document), document)
            assert other.count() == len(self.model.runs)

    @invariant()
    def count_is_that_of_the_model(self) -> None:
        """The number of runs is right, whatever was done or refused."""
        assert self.store.count() == len(self.model.runs)

    # Keeping the model in step with the store.

    def _saved(
        self,
        document: Any,
        *,
        run_id: str | None = None,
        files: Mapping[str, bytes] | None = None,
        **arguments: Any,
    ) -> str:
        taken = self.model.runs.get(run_id or "")
        if taken is not None and taken.document != codec.encode(document):
            with pytest.raises(RunExistsError):
                self.store.save_result(document, run_id=run_id, **arguments)
            return taken.id
        given = self.store.save_result(document, run_id=run_id, **arguments)
        assert run_id in {None, given}
        if taken is None:
            self._note(given, document, arguments.get("created_at"), files)
        return given

    def _note(
        self,
        run_id: str,
        document: Any,
        created_at: datetime | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        assert run_id not in self.model.runs
        if created_at is None:  # set by the store's own clock; from now on it must not change
            (created_at,) = [run.created_at for run in self.store.scan({"id": run_id})]
        self.model.add(check_run(document, run_id=run_id, strict=False), to_utc(created_at), files)

    def _files(self, run_id: str) -> dict[str, bytes]:
        contents = {}
        for attachment in self.store.attachments(run_id):
            with attachment.open() as file:
                contents[attachment.name] = file.read()
            assert attachment.size == len(contents[attachment.name])
        assert list(contents) == sorted(contents)
        return contents

    def _compare_everything(self) -> None:
        scanned = {run.id: (run.document, run.created_at, run.sha256) for run in self.store.scan()}
        assert scanned == {run.id: (run.document, run.created_at, run.sha256) for run in self.model.runs.values()}
        assert list(self.store.list_results()) == [run.summary() for run in self.model.ordered({}, "-timestamp")]
        assert {i: self._files(i) for i in self.model.runs} == {r.id: r.files for r in self.model.runs.values()}


def run_short(machine: type[StoreStateMachine]) -> None:
    """Run the same sequences each time."""
    run_state_machine_as_test(machine, settings=_SHORT)


def run_for_minutes(machine: type[StoreStateMachine], minutes: float) -> None:
    """Run new sequences until the time is up; at least one round."""
    end = time.monotonic() + 60 * minutes
    while True:
        run_state_machine_as_test(machine, settings=_LONG)
        if time.monotonic() >= end:
            return


@cache
def _test_case(machine: type[StoreStateMachine]) -> type[Any]:
    class RandomOperations:
        """What pytest collects."""

        def test_random_operations_agree_with_the_model(self) -> None:
            run_short(machine)

        @pytest.mark.long
        def test_random_operations_agree_with_the_model_for_minutes(self) -> None:
            run_for_minutes(machine, float(os.environ.get(MINUTES_VARIABLE, "10")))

    RandomOperations.__name__ = f"{machine.__name__}TestCase"
    setattr(RandomOperations, "machine", machine)  # noqa: B010  # the report names its contract
    return RandomOperations


def _close(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: pytest.approx(value, rel=1e-9, abs=1e-9) if type(value) is float else value
        for name, value in row.items()
    }
