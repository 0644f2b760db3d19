"""The same files imported by several threads and processes at once: each is stored once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kitt_core import open_store
from kitt_core.plugins import PluginManager
from kitt_core.service.transfer.importing import ImportReport, find_candidates, import_runs

FILES, THREADS, PROCESSES = 60, 4, 3

IMPORTING = """
import json, sys
from kitt_core import open_store
from kitt_core.plugins import PluginManager
from kitt_core.service.transfer.importing import find_candidates, import_runs
target, options, directory = sys.argv[1:]
with open_store(target, **json.loads(options)) as store:
    candidates = list(find_candidates(PluginManager(), [directory]))
    print("ready", flush=True)
    sys.stdin.readline()
    report = import_runs(store, candidates)
    print(len(report.stored), len(report.present), len(report.refused))
"""


# What each backend does for it is in the kit: files that several processes import.
@pytest.mark.parametrize(
    "backend", ["sqlite", *(pytest.param(name, marks=pytest.mark.long) for name in ("json", "postgres"))]
)
def test_every_file_becomes_one_run(
    tmp_path: Path, request: pytest.FixtureRequest, spawn: Callable[..., subprocess.Popen[str]], backend: str
) -> None:
    options: Mapping[str, Any] = {}
    if backend == "postgres":
        database = request.getfixturevalue("new_database")()
        target, options = database.dsn, database.options
    else:
        target = {"sqlite": f"sqlite:///{tmp_path}/runs.db", "json": f"json:///{tmp_path}/tree"}[backend]
    files = tmp_path / "files"
    files.mkdir()
    for number in range(FILES):
        (files / f"{number}.json").write_text(json.dumps({"model": f"m{number}", "engine": "e"}))
    reports: list[ImportReport] = []
    start = threading.Barrier(THREADS + 1)
    plugins = PluginManager()
    with open_store(target, **options) as store:
        store.initialize()
        candidates = list(find_candidates(plugins, [files]))

        def work() -> None:
            start.wait()
            reports.append(import_runs(store, candidates))

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        command = [sys.executable, "-c", IMPORTING, target, json.dumps(dict(options)), str(files)]
        processes = [
            spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
        ]
        for thread in threads:
            thread.start()
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        start.wait()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=180)[0] for process in processes]
        for thread in threads:
            thread.join()
        counts = [tuple(map(int, answer.split())) for answer in answers]
        counts += [(len(report.stored), len(report.present), len(report.refused)) for report in reports]
        assert store.count() == FILES
    assert [sum(column) for column in zip(*counts, strict=True)] == [FILES, (THREADS + PROCESSES - 1) * FILES, 0]
