"""Export runs in some format, to a stream or to a directory with a file per run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from attrs import evolve

from kitt_core.errors import ConfigurationError, InvalidDocumentError, RunNotFoundError
from kitt_core.files import check_output, replaced_file
from kitt_core.plugins.loading import EXPORTERS, PluginManager, contained
from kitt_core.plugins.records import Exporter
from kitt_core.runs.model import Progress, StoredRun
from kitt_core.runs.query import Filters, RunFilter
from kitt_core.service.transfer.reading import FailedRun, digest_of
from kitt_core.storage.contract import ResultStore

__all__ = ["choose_exporter", "export_to_directory", "export_to_stream", "select_runs"]

_DEFAULT = "json"


def choose_exporter(plugins: PluginManager, name: str | None, file: Path | None) -> Exporter:
    """Return the exporter that is named, else that of the file's extension, else ``json``.

    Args:
        plugins: Provides the exporters.
        name: The format's name, None if none was given.
        file: The file that will be written, None for a directory or standard output.

    Raises:
        PluginError: No exporter has that name.
        ConfigurationError: No exporter has the extension.
    """
    if name is not None or file is None or not file.suffix:
        return plugins.find(EXPORTERS, name or _DEFAULT)
    exporters = plugins.all(EXPORTERS)
    found = next((exporter for exporter in exporters if exporter.suffix == file.suffix.lower()), None)
    if found is None:
        known = ", ".join(sorted(exporter.suffix for exporter in exporters))
        raise ConfigurationError(
            f"no format has the extension {file.suffix} of {file}", hint=f"give --format, or one of {known}"
        )
    return found


def select_runs(
    store: ResultStore,
    ids: Sequence[str] = (),
    filters: Filters = None,
    *,
    on_damage: Callable[[FailedRun], None] | None = None,
) -> Iterator[StoredRun]:
    """Yield the runs that have one of the ids (any id, if none is given) and match, one document at a time.

    Args:
        store: The store.
        ids: The ids.
        filters: A `RunFilter`, or a mapping of its fields.
        on_damage: Called for a run whose document is not what was saved, before it is yielded as it is.

    Raises:
        RunNotFoundError: After the last run: there was none, or one with a given id is missing.
    """
    wanted = RunFilter.of(filters)
    selects_by_value = wanted != RunFilter()
    if ids:
        wanted = evolve(wanted, id=tuple(ids))
    missing = dict.fromkeys(ids)
    found = 0
    for run in store.scan(wanted):
        found += 1
        missing.pop(run.id, None)
        if on_damage is not None:
            try:
                digest_of(run, store.location)
            except InvalidDocumentError as error:
                on_damage(FailedRun(run.id, error))
        yield run
    if missing and not selects_by_value:
        raise RunNotFoundError(f"run {next(iter(missing))} is no longer in {store.location}")
    if not found:
        raise RunNotFoundError(f"no run in {store.location} matches", hint="`kitt storage list` shows the runs")


def export_to_stream(
    exporter: Exporter, runs: Iterable[StoredRun], stream: BinaryIO, *, progress: Progress | None = None
) -> int:
    """Write the runs to one stream and return how many there were.

    Raises:
        ConfigurationError: There are several, but the format holds only one; nothing was written.
    """
    counted = _Counted(_only_one(runs, exporter) if exporter.single else runs, progress)
    with contained(f"exporter {exporter.name}", passing=(OSError,)):
        exporter.write(counted, stream)
    return counted.done


def export_to_directory(
    exporter: Exporter,
    runs: Iterable[StoredRun],
    directory: Path,
    *,
    progress: Progress | None = None,
    store: Sequence[Path] = (),
) -> int:
    """Write a file per run, named by its id, and return how many there were.

    Args:
        exporter: The format.
        runs: The runs.
        directory: Where to write; it is created if it is missing.
        progress: Called after each run that is written.
        store: The `paths` of the store that the runs come from, which are never written to.

    Raises:
        ConfigurationError: The directory or a file can't be written.
    """
    counted = _Counted(runs, progress)
    for run in counted:
        # Not before the first run: an empty selection leaves nothing behind.
        _make(directory)
        target = directory / f"{run.id}{exporter.suffix}"
        check_output(target, store)
        with replaced_file(target) as file, contained(f"exporter {exporter.name}", passing=(OSError,)):
            exporter.write([run], file)
    return counted.done


class _Counted:
    """Counts runs as they pass."""

    def __init__(self, runs: Iterable[StoredRun], progress: Progress | None) -> None:
        self._runs = runs
        self._progress = progress
        self.done = 0

    def __iter__(self) -> Iterator[StoredRun]:
        for run in self._runs:
            yield run
            self.done += 1
            if self._progress is not None:
                self._progress(self.done, None)


def _only_one(runs: Iterable[StoredRun], exporter: Exporter) -> Iterator[StoredRun]:
    """Yield the only run; a second one is looked for before the first is yielded."""
    iterator = iter(runs)
    first = next(iterator, None)
    if first is None:
        return
    second = next(iterator, None)
    if second is not None:
        raise ConfigurationError(
            f"several runs are selected, but {exporter.name} holds only one",
            hint="give a directory (-o DIR/) to get a file per run, or --format jsonl",
        )
    yield first


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{directory} cannot be created: {error.strerror or error}", hint="name another directory after -o"
        ) from error
