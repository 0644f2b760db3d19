"""``kitt karr``: creates a repository, lists its history, packs it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, Final

import click

from kitt_core.cli.filters import number_or_all
from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import output_options, write_rows
from kitt_core.errors import ConfigurationError, StoreUnavailableError
from kitt_core.files import size_below

if TYPE_CHECKING:
    from kitt_karr.git.repository import Repository

_COLUMNS: Final = ("commit", "time", "author", "message", "added", "removed", "parents")
_TABLE: Final = ("commit", "time", "message", "added", "removed")
_MEGABYTE: Final = 1_000_000


@click.group()
def karr() -> None:
    """Create, inspect and pack KARR repositories (legacy: database backends are recommended).

    The repository is the one that -C or --backend names, else the current directory, else the only one in it.
    `git push`, `git pull` and `git clone` take it to other machines.
    """


_REPOSITORY: Final = click.option(
    "-C",
    "--repository",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The repository; by default that of --backend, the current directory, or the only one in it.",
)


def _chosen_path(state: State) -> Path | None:
    """Return the path of the backend ``karr`` if the global options or the configuration name it."""
    selection = state.selection()
    path = selection.options.get("path") if selection.backend.name == "karr" else None
    return None if path is None else Path(str(path.value))


def _opened(state: State, given: Path | None) -> closing[Repository]:
    from kitt_karr.git.repository import Repository
    from kitt_karr.repository_choice import only_repository

    return closing(Repository(given or _chosen_path(state) or only_repository(Path.cwd())))


@karr.command()
@click.argument("path", metavar="[PATH]", required=False, type=click.Path(path_type=Path))
@click.option("--bare", is_flag=True, help="Without a work tree: faster, and `git push` can push to it.")
@pass_state
def init(state: State, path: Path | None, *, bare: bool) -> None:
    """Create a repository with its first commit; an existing one stays as it is.

    It has a work tree, so that its files can be looked at. Without PATH it is this machine's: ./karr- and the
    beginning of its fingerprint.
    """
    from kitt_core.fingerprint import collect_system_info
    from kitt_core.plugins import FINGERPRINTS
    from kitt_karr.repository_choice import is_free, machine_repository
    from kitt_karr.store import KarrResultStore

    found = collect_system_info(state.plugins.all(FINGERPRINTS)).sections
    fingerprint = str(found.get("fingerprint") or "")
    place = path or _chosen_path(state) or machine_repository(Path(), fingerprint)
    is_new = is_free(place)
    with KarrResultStore(place, fingerprint=fingerprint, work_tree=not bare) as store:
        store.initialize()
    state.note(f"{place} is ready" if is_new else f"{place} exists already")


@karr.command()
@_REPOSITORY
@click.option(
    "--limit",
    metavar="N|all",
    default="50",
    callback=number_or_all("commits"),
    help="How many commits at most [50].",
)
@output_options
@pass_state
def log(
    state: State, repository: Path | None, limit: int | None, output_format: str | None, output: Path | None
) -> None:
    """List commits, the newest first, with how many runs each added and removed."""
    with _opened(state, repository) as opened:
        file = None if output is None or str(output) == "-" else output.absolute().resolve()
        if file is not None and file.is_relative_to(opened.directory.resolve()):
            raise ConfigurationError(f"{output} is inside the repository", hint="name a file outside of it")
        shorten = {"commit": lambda value: str(value)[:10]}
        write_rows(_COLUMNS, _journal(opened, limit), output_format, output, table_columns=_TABLE, shorten=shorten)


def _journal(repository: Repository, limit: int | None) -> Iterator[dict[str, Any]]:
    """Yield the commits of the branch, the newest first, compared with their first parents."""
    from kitt_karr.git.repository import translated
    from kitt_karr.runs import changed_runs

    tip = repository.head().tip
    if tip is None:
        return
    with translated(repository.path):
        walker = iter(repository.repo.get_walker(include=[tip.encode()], max_entries=limit))  # type: ignore[list-item]  # its NewType of bytes
    while True:
        with translated(repository.path):
            found = next(walker, None)
        if found is None:
            return
        commit = repository.commit(found.commit.id.decode("ascii"))
        before = repository.parent(commit)
        changes = changed_runs(repository, None if before is None else before.tree, commit.tree)
        there = [run is not None for _, run in changes]
        yield {
            "commit": commit.id,
            "time": commit.time,
            "author": found.commit.author.decode("utf-8", "replace"),
            "message": found.commit.message.decode("utf-8", "replace").partition("\n")[0],
            "added": sum(there),
            "removed": len(there) - sum(there),
            "parents": commit.parents,
        }


@karr.command()
@_REPOSITORY
@pass_state
def gc(state: State, repository: Path | None) -> None:
    """Pack the repository: one file instead of many, in a third of the space.

    Git does it if it is installed; otherwise KITT does, and needs about 15 KB of memory for each git object (a
    run has seven). It is never done automatically.
    """
    with _opened(state, repository) as opened, progress_bar(state, "Packing") as bar:
        objects = opened.directory / "objects"
        before = size_below(objects)
        state.note(f"{'git' if which('git') else 'git is not installed: KITT'} packs {opened.path}")
        _pack_up(opened, bar.describe)
        state.note(f"{before / _MEGABYTE:.1f} MB before, {size_below(objects) / _MEGABYTE:.1f} MB now")


def _pack_up(repository: Repository, report: Callable[[str], None]) -> None:
    """Put all objects into one pack, and remove those that nothing has referred to for two weeks.

    Saves may go on meanwhile: what they write is younger. Without git, ``report`` gets the progress.
    """
    if which("git") is None:
        from dulwich.gc import garbage_collect

        from kitt_karr.git.repository import translated

        with repository.exclusive(), translated(repository.path, "cannot be packed"):
            # Loose objects are deleted once they are packed: the pack must be on the disk by then.
            repository.repo.object_store.fsync_object_files = True
            garbage_collect(repository.repo, progress=report)
        return
    done = subprocess.run(["git", "-C", repository.path, "gc", "--quiet"], capture_output=True, check=False)  # noqa: S603, S607 - as given
    if done.returncode:
        text = f"git could not pack {repository.path} (exit code {done.returncode}); nothing is lost"
        raise StoreUnavailableError(text, hint=f"`git -C {repository.path} gc` shows why")
