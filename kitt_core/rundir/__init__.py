"""Run directories: reading and writing ``kitt-results/`` trees.

A run is a directory ``{model}/{engine}/{timestamp}_{last 8 of the id}/``::

    metrics.json    the document, byte for byte
    run.json        {"id", "created_at", "sha256", "attachments": [{"name", "size", "sha256"}]}
    summary.md      the run, for people to read
    hardware.json   the document's system_info
    config.json     the settings of the run
    outputs/        attachments

`names` determines the names of directories and `content` the content of files; `writing` writes runs atomically,
and `reading` finds them again, including those of older KITTs.
"""

from __future__ import annotations

from kitt_core.rundir.content import (
    DOCUMENT,
    IDENTITY,
    OUTPUTS,
    OWN_FILES,
    Identity,
    SavedFile,
    derived_identity,
    noted_identity,
    path_of,
    render_files,
)
from kitt_core.rundir.names import (
    INTERNAL_PREFIX,
    alternative_name,
    is_regular,
    numbers_counted,
    run_path,
    safe_name,
)
from kitt_core.rundir.outputs import check_outputs
from kitt_core.rundir.reading import LINK, LOST, FoundRun, find_runs, locate, read_attachments
from kitt_core.rundir.writing import (
    LOCK_NAME,
    delete_run,
    exclusive,
    prepare_root,
    unfinished_runs,
    write_new_runs,
    write_run,
    write_runs,
)

__all__ = [
    "DOCUMENT",
    "IDENTITY",
    "INTERNAL_PREFIX",
    "LINK",
    "LOCK_NAME",
    "LOST",
    "OUTPUTS",
    "OWN_FILES",
    "FoundRun",
    "Identity",
    "SavedFile",
    "alternative_name",
    "check_outputs",
    "delete_run",
    "derived_identity",
    "exclusive",
    "find_runs",
    "is_regular",
    "locate",
    "noted_identity",
    "numbers_counted",
    "path_of",
    "prepare_root",
    "read_attachments",
    "render_files",
    "run_path",
    "safe_name",
    "unfinished_runs",
    "write_new_runs",
    "write_run",
    "write_runs",
]
