"""Registries: the records of one kind, by name, each with the plugin that brought it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from kitt_core.errors import PluginError

__all__ = ["Record", "Registry"]


class Record(Protocol):
    """What every record has."""

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
        api_version: The newest contract that this core fulfils.
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
                f"{self._owner} registers {_described(record)} as {self.kind}; a {self._type.__name__} is needed"
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
        """Return which plugin brought the record."""
        return self._owners[name]

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._records.values()))

    @contextmanager
    def owned_by(self, owner: str) -> Iterator[None]:
        """Book what is added inside to ``owner``; drop all of it again if the block raises."""
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


def _described(thing: Any) -> str:
    return f"a {type(thing).__name__}"
