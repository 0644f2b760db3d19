"""The plugin: registers the backend, the importer and the command ``karr``; imports neither git nor a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Command, ImportCandidate, Importer
from kitt_core.storage import ResultStore, StorageBackend
from kitt_karr import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from kitt_core.plugins import Registry


@frozen
class KarrOptions:
    """Where the repository is, and which attachments go to Git LFS."""

    path: Path | None = field(
        default=None,
        metadata={
            "help": "The git repository; a missing one is created, bare. Default: ./karr; with a fingerprint,"
            " ./karr-… of that machine, with a work tree.",
            "target": "path",
        },
    )
    lfs_threshold: int = field(
        default=1 << 20,
        metadata={"help": "Attachments of more bytes than this are kept by Git LFS instead of git."},
    )
    fingerprint: str = field(
        default="",
        metadata={"help": "The machine's fingerprint; a new repository keeps it in hardware_fingerprint.txt."},
    )

    @lfs_threshold.validator
    def _check_threshold(self, _: object, value: int) -> None:
        if not 0 <= value <= 50 << 20:
            raise ValueError(f"lfs_threshold is {value}, expected bytes between 0 and {50 << 20}")


@hookimpl
def kitt_register_storage(registry: Registry[StorageBackend]) -> None:
    """Add the backend ``karr``."""
    registry.add(
        StorageBackend(
            name="karr",
            open=_open,
            options=KarrOptions,
            recognises=_recognises,
            summary="Runs as commits in a git repository, with LFS for large outputs (legacy: prefer a database).",
            capabilities=CAPABILITIES,
        )
    )


def _recognises(path: Path) -> bool:
    from kitt_karr.layout import recognises

    return recognises(path)


def _open(options: KarrOptions) -> ResultStore:
    from kitt_karr.repository_choice import machine_repository
    from kitt_karr.store import KarrResultStore

    threshold, fingerprint = options.lfs_threshold, options.fingerprint
    if options.path is None and fingerprint:
        own = machine_repository(Path(), fingerprint)
        return KarrResultStore(own, lfs_threshold=threshold, fingerprint=fingerprint, work_tree=True)
    return KarrResultStore(options.path or "karr", lfs_threshold=threshold, fingerprint=fingerprint)


@hookimpl
def kitt_register_importer(registry: Registry[Importer]) -> None:
    """Add the importer ``karr``."""
    summary = "KARR repositories: the runs at the tip of their branch, including those of KITT 1.x."
    registry.add(Importer(name="karr", recognises=_recognises, find=_find, summary=summary))


def _find(path: Path) -> Iterator[ImportCandidate]:
    from kitt_karr.importer import find_candidates

    return find_candidates(path)


@hookimpl
def kitt_register_commands(registry: Registry[Command]) -> None:
    """Add the command ``karr``."""
    registry.add(Command(name="karr", load=_load, summary="Create, inspect and pack KARR repositories."))


def _load() -> click.Command:
    from kitt_karr.commands import karr

    return karr
