"""What plugins register: one registry per kind, and the records of importers, exporters and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, Protocol, TypeVar

from attrs import field, frozen

from kitt_core.errors import PluginError
from kitt_core.runs.model import Attachment, StoredRun

__all__ = [
    "COMMAND_API_VERSION",
    "EXPORT_API_VERSION",
    "IMPORT_API_VERSION",
    "Command",
    "Exporter",
    "ImportCandidate",
    "Importer",
    "Record",
    "Registry",
]


class Record(Protocol):
    """The attributes of every record."""

    @property
    def name(self) -> str:
        """The name that the user types."""
        ...

    @property
    def api_version(self) -> int:
        """The version of the contract that the record was written for."""
        ...


R = TypeVar("R", bound=Record)


class Registry(Generic[R]):
    """Records of one kind by name.

    Args:
        kind: The kind's name in messages, such as ``storage backend``.
        record_type: What may be added.
        api_version: The newest version of the contract that this core supports.
    """

    def __init__(self, kind: str, record_type: type[R], api_version: int) -> None:
        self.kind = kind
        self._type = record_type
        self._api_version = api_version
        self._records: dict[str, R] = {}
        self._owners: dict[str, str] = {}
        self._owner = "the application"

    def add(self, record: R) -> None:
        """Add ``record``.

        Raises:
            PluginError: It is not a record of this kind, was written for a newer core, or its name is taken.
        """
        if not isinstance(record, self._type):
            raise PluginError(
                f"{self._owner} registers an object of type {type(record).__name__} as {self.kind},"
                f" expected {self._type.__name__}"
            )
        if record.api_version > self._api_version:
            raise PluginError(
                f"{self.kind} {record.name} of {self._owner} needs {self.kind} API {record.api_version};"
                f" this is {self._api_version}",
                hint="upgrade kitt-core",
            )
        if record.name in self._records:
            raise PluginError(
                f"{self.kind} {record.name} of {self._owner} is already provided by {self._owners[record.name]}",
                hint="uninstall one of the two, or name it in KITT_DISABLED_PLUGINS",
            )
        self._records[record.name] = record
        self._owners[record.name] = self._owner

    def get(self, name: str) -> R | None:
        """Return the record of that name, None if there is none yet."""
        return self._records.get(name)

    def owner(self, name: str) -> str:
        """Return the distribution that provides the record."""
        return self._owners[name]

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._records.values()))

    @contextmanager
    def owned_by(self, owner: str) -> Iterator[None]:
        """Attribute records that are added inside the block to ``owner``; drop them if the block raises."""
        before, self._owner = self._owner, owner
        kept = dict(self._records)
        try:
            yield
        except BaseException:
            self._records = kept
            self._owners = {name: self._owners[name] for name in kept}
            raise
        finally:
            self._owner = before


IMPORT_API_VERSION: Final = 1
"""The version of this record's contract."""


@frozen
class ImportCandidate:
    """A document that an importer found.

    Attributes:
        source: Where it was found, for messages.
        read: Returns the document's bytes. Raises `KittError` or `OSError` if it can't be read; then only this
            candidate is refused.
        run_id: Its id, if the source has one.
        created_at: When it was first saved, if the source records it.
        attachments: Files that belong to it.
        portable: Whether another process may call ``read``, while this one goes on: it can be pickled, and depends
            on nothing but files and what is pickled with it.
    """

    source: str
    read: Callable[[], bytes] = field(repr=False)
    run_id: str | None = None
    created_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    portable: bool = False


def _reads_nothing(_stream: BinaryIO, _source: str) -> Iterator[ImportCandidate]:
    return iter(())


@frozen
class Importer:
    """A reader for one kind of result files.

    Attributes:
        name: Its name; equal to the entry point's.
        recognises: Whether a file or directory is of this kind; must not parse anything.
        find: Yields the documents of a recognised path, in a stable order.
        read_stream: Yields the documents from standard input.
        summary: One line for listings.
        api_version: The `IMPORT_API_VERSION` that it was written for.
    """

    name: str
    recognises: Callable[[Path], bool] = field(repr=False)
    find: Callable[[Path], Iterator[ImportCandidate]] = field(repr=False)
    read_stream: Callable[[BinaryIO, str], Iterator[ImportCandidate]] = field(default=_reads_nothing, repr=False)
    summary: str = ""
    api_version: int = 1


EXPORT_API_VERSION: Final = 1
"""The version of this record's contract."""


@frozen
class Exporter:
    """An export format.

    Attributes:
        name: What the user types after ``--format``; equal to the entry point's name.
        write: Writes all runs, an iterator, to one binary stream; should not collect them in memory.
        suffix: The suffix of files in this format, such as ``.csv``.
        single: Whether a file holds exactly one run, so that several runs go to a directory, one file each.
        summary: One line for listings.
        api_version: The `EXPORT_API_VERSION` that it was written for.
    """

    name: str
    write: Callable[[Iterable[StoredRun], BinaryIO], None] = field(repr=False)
    suffix: str
    single: bool = False
    summary: str = ""
    api_version: int = 1


COMMAND_API_VERSION: Final = 1
"""The version of this record's contract."""


@frozen
class Command:
    """A command that a plugin adds.

    Attributes:
        name: What the user types after ``kitt``; equal to the entry point's name.
        load: Imports and returns the `click.Command`.
        summary: One line for listings.
        api_version: The `COMMAND_API_VERSION` that it was written for.
    """

    name: str
    load: Callable[[], Any] = field(repr=False)
    summary: str = ""
    api_version: int = 1
