"""The plugin: registers the backend, the importer and the command ``karr``; imports neither git nor a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Command, ImportCandidate, Importer
from kitt_core.storage import Capability, ResultStore, StorageBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from kitt_core.plugins import Registry

OWN_DIRECTORY: Final = "kitt"
"""KITT's directory inside the git directory: its lock and the index; never part of what is pushed."""

__all__ = [
    "OWN_DIRECTORY",
    "KarrOptions",
    "kitt_register_commands",
    "kitt_register_importer",
    "kitt_register_storage",
    "recognises",
]


@frozen
class KarrOptions:
    """Where the repository is, and what is large.

    Attributes:
        path: The repository itself; a new one is made bare. None: ``karr``, or the machine's own.
        lfs_threshold: Bytes.
        fingerprint: The machine's.
    """

    path: Path | None = field(
        default=None,
        metadata={
            "help": "The git repository; a missing one is made, bare. Without it ./karr, or with a fingerprint"
            " ./karr-… of that machine.",
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
    def _check_threshold(self, attribute: object, value: int) -> None:
        del attribute
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
            recognises=recognises,
            summary="Runs as commits in a git repository, with LFS for large outputs (legacy: prefer a database).",
            capabilities=frozenset(
                {
                    Capability.DELETE,
                    Capability.ATOMIC_BATCH,
                    Capability.CONCURRENT,
                    Capability.ATTACHMENTS,
                    Capability.HISTORY,
                }
            ),
        )
    )


def _open(options: KarrOptions) -> ResultStore:
    from kitt_karr.store import KarrResultStore

    path = options.path
    if path is None and options.fingerprint:
        from kitt_karr.machine import machines_repository

        path = machines_repository(Path(), options.fingerprint)
    return KarrResultStore(
        path or Path("karr"), lfs_threshold=options.lfs_threshold, fingerprint=options.fingerprint
    )


def recognises(path: Path) -> bool:
    """Whether ``path`` is a repository that KITT made or cloned: a name is enough for a guess."""
    try:
        bare = (path / "HEAD").is_file() and (path / "objects").is_dir()
        if bare and not (path / ".git").exists():
            return path.name.startswith("karr") or (path / OWN_DIRECTORY).is_dir()
        return (path / ".git").exists() and (path / "hardware_fingerprint.txt").is_file()
    except OSError:
        return False


@hookimpl
def kitt_register_importer(registry: Registry[Importer]) -> None:
    """Add the importer ``karr``."""
    registry.add(
        Importer(
            name="karr",
            recognises=recognises,
            find=_find,
            summary="KARR repositories: the runs at the tip of their branch, those of KITT 1.x too.",
        )
    )


def _find(path: Path) -> Iterator[ImportCandidate]:
    from kitt_karr.candidates import find_candidates

    return find_candidates(path)


@hookimpl
def kitt_register_commands(registry: Registry[Command]) -> None:
    """Add the command ``karr``."""
    registry.add(
        Command(name="karr", load=_load, summary="History and transport of KARR repositories.", api_version=1)
    )


def _load() -> click.Command:
    from kitt_karr.commands import karr

    return karr
