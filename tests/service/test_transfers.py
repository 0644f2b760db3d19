"""What holds whichever way a run goes from one store into another: by import, by copy, by backup and restore."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from kitt_core.plugins import PluginManager
from kitt_core.service.transfer.backup import back_up
from kitt_core.service.transfer.copying import copy_runs
from kitt_core.service.transfer.importing import find_candidates, import_runs
from kitt_core.testing.documents import as_bytes, multiplying_names, small
from kitt_core.testing.storage import little_memory_for

from .archives import restore
from .contents import OpenStore, attachment, documents


def test_files_that_are_not_what_was_saved_go_nowhere(open_backend: OpenStore, tmp_path: Path) -> None:
    source = open_backend("json")
    for name in ("changed", "fine", "lost"):
        source.save_result(
            as_bytes({"model": name, "engine": "e"}), run_id=name, attachments=[attachment("a", name.encode())]
        )
    (tree,) = source.paths
    for path in tree.rglob("outputs/a"):
        if path.read_bytes() == b"changed":
            path.write_bytes(b"CHANGED")
        elif path.read_bytes() == b"lost":
            path.unlink()
            os.mkfifo(path)  # which nobody should wait for
    expected = {
        "changed": "attachment a cannot be read: its SHA-256 is b6f00f283e24…, but d67e2e944994… was saved",
        "lost": "attachment a cannot be read: No such file or directory",
    }
    target = open_backend("json")
    assert {failed.run_id: failed.reason for failed in copy_runs(source, target).failed} == expected
    assert set(documents(target)) == {"fine"}
    backup = back_up(source, io.BytesIO())
    assert {failed.run_id: failed.reason for failed in backup.failed} == expected
    with open_backend("json") as imported:
        report = import_runs(imported, find_candidates(PluginManager(), [str(tree)]))
        assert sorted(refused.reason for refused in report.refused) == sorted(expected.values())
        assert set(documents(imported)) == {"fine"}


@pytest.mark.parametrize("way", ["import", "copy", "back up and restore"])
def test_a_hostile_document_takes_little_memory(open_backend: OpenStore, tmp_path: Path, way: str) -> None:
    source, target = open_backend("json"), open_backend("sqlite")
    target.save_result(small(0))
    hostile = multiplying_names(200_000)
    source.save_result(hostile, strict=False)
    with little_memory_for(hostile):
        if way == "import":
            report = import_runs(target, find_candidates(PluginManager(), [str(source.paths[0])]))
            assert len(report.refused) == 1
        elif way == "copy":
            assert copy_runs(source, target).copied == 1
        else:
            back_up(source, stream := io.BytesIO())
            assert restore(stream, target).copied == 1
