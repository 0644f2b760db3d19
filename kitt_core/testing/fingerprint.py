"""`FingerprintContract`: what `kitt_core.fingerprint.FingerprintSource` promises, as tests.

::

    class TestBoard(FingerprintContract):
        plugin = "kitt_board.plugin"
        name = "board"
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import pytest

from kitt_core.fingerprint import FingerprintSource, collect_system_info
from kitt_core.plugins.loading import FINGERPRINTS, Kind
from kitt_core.runs.model import Severity
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import run
from kitt_core.testing.record import RecordContract

__all__ = ["FingerprintContract"]

_DERIVED: Final = {"fingerprint", "machine", "software"}


class FingerprintContract(RecordContract):
    """Tests of a fingerprint source, called on the machine where the tests run."""

    kind: ClassVar[Kind[FingerprintSource]] = FINGERPRINTS

    def test_sections_are_json_values_by_name(self, record: FingerprintSource) -> None:
        found = record.collect()
        assert isinstance(found, Mapping)
        assert all(isinstance(name, str) and name for name in found)
        assert json.loads(json.dumps(dict(found), allow_nan=False)) == dict(found)

    def test_what_cannot_be_found_is_left_out(self, record: FingerprintSource) -> None:
        assert [name for name, value in record.collect().items() if value is None or value in ("", {}, [])] == []

    def test_what_the_core_derives_is_left_to_it(self, record: FingerprintSource) -> None:
        assert _DERIVED.isdisjoint(record.collect())

    def test_collecting_twice_gives_the_same_machine_and_software(self, record: FingerprintSource) -> None:
        first, second = (collect_system_info([record]) for _ in range(2))
        assert {name: first.sections.get(name) for name in _DERIVED} == {
            name: second.sections.get(name) for name in _DERIVED
        }

    def test_the_sections_are_merged_without_a_note(self, record: FingerprintSource) -> None:
        info = collect_system_info([record])
        assert info.notes == ()
        assert set(record.collect()) - {"remarks"} <= set(info.sections)

    def test_remarks_are_lines(self, record: FingerprintSource) -> None:
        remarks = record.collect().get("remarks", [])
        assert isinstance(remarks, list)
        assert all(isinstance(line, str) and line.strip() == line != "" and line.isprintable() for line in remarks)

    def test_the_sections_fit_the_columns_of_a_store(self, record: FingerprintSource) -> None:
        with MemoryStore() as store:
            run_id = store.save_result(run(system_info=collect_system_info([record]).sections))
            assert [f for f in store.verify() if f.severity is Severity.DAMAGE] == []
            assert store.count({"id": run_id}) == 1

    def test_collecting_changes_and_prints_nothing(
        self, record: FingerprintSource, capfd: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        before = (dict(os.environ), Path.cwd(), list(tmp_path.iterdir()))
        record.collect()
        assert (dict(os.environ), Path.cwd(), list(tmp_path.iterdir())) == before
        assert capfd.readouterr() == ("", "")
