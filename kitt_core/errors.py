"""Every error that KITT raises on purpose.

::

    KittError
    ├── InvalidDocumentError        the document is refused (also a ValueError)
    ├── InvalidArchiveError         the archive is damaged, truncated or not an archive; nothing was restored
    ├── RunExistsError              the id is taken by a run with other content
    ├── RunNotFoundError            no run has this id, or several have
    ├── InputNotFoundError          a path that was given does not exist
    ├── UnknownFieldError           a filter, order or statistic that does not exist (also a ValueError)
    ├── InvalidQueryError           a field's value cannot be read (also a ValueError)
    ├── UnsupportedOperationError   the store lacks the capability
    ├── StoreUnavailableError       unreachable, locked, full, read-only, not a store
    ├── SchemaError
    │   ├── SchemaMissingError
    │   ├── SchemaTooOldError
    │   └── SchemaTooNewError
    ├── MigrationError              an upgrade failed and was rolled back
    ├── PluginError                 a plugin is missing, broken, or collides
    ├── ConfigurationError          an option, a file or a target that cannot be used
    └── EngineError                 the engine cannot be reached or fails
        └── EngineLostError         the engine is gone for good

``str(error)`` is one line of at most 300 characters. It says what is at fault, what was expected and what was
found; ``error.hint``, if set, says how to fix it. The driver's own exception is the ``__cause__``; it is
never part of the text, because drivers quote passwords and statements.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ConfigurationError",
    "EngineError",
    "EngineLostError",
    "InputNotFoundError",
    "InvalidArchiveError",
    "InvalidDocumentError",
    "InvalidQueryError",
    "KittError",
    "MigrationError",
    "PluginError",
    "RunExistsError",
    "RunNotFoundError",
    "SchemaError",
    "SchemaMissingError",
    "SchemaTooNewError",
    "SchemaTooOldError",
    "StoreUnavailableError",
    "UnknownFieldError",
    "UnsupportedOperationError",
]

_LONGEST: Final = 300


class KittError(Exception):
    """The base class: ``except KittError`` catches whatever KITT raises on purpose.

    Args:
        message: What is wrong and what was expected, in one line.
        hint: How to fix it, in one line; shown by the command line after ``hint:``.
    """

    exit_code: int = 2
    """What the command line exits with (DESIGN §6)."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = _one_line(message, _LONGEST)
        self.hint = None if hint is None else _one_line(hint, _LONGEST)
        super().__init__(self.message)

    def __str__(self) -> str:
        if self.hint is None:
            return self.message
        together = f"{self.message} ({self.hint})"
        return together if len(together) <= _LONGEST else self.message


class InvalidDocumentError(KittError, ValueError):
    """KITT does not store such a document; the message names the JSON path, the value and what was expected."""

    exit_code = 5


class InvalidArchiveError(KittError):
    """The file is not an archive that can be restored: it is damaged, truncated, hostile or in another format."""

    exit_code = 5


class RunExistsError(KittError):
    """A run with this id is already stored, with other content."""

    exit_code = 5


class RunNotFoundError(KittError):
    """No run has the id that was asked for, or a shortened id matches several runs."""

    exit_code = 3


class InputNotFoundError(KittError):
    """A file or directory to be read does not exist, or contains nothing to read."""

    exit_code = 3


class UnknownFieldError(KittError, ValueError):
    """A filter, order, group or statistic has a name that KITT does not know."""


class InvalidQueryError(KittError, ValueError):
    """A filter, order or page has a value that cannot be read (a bad date, a negative limit)."""


class UnsupportedOperationError(KittError):
    """The store does not declare the capability that the operation needs."""


class StoreUnavailableError(KittError):
    """The store cannot be used now: unreachable, locked, full, read-only, damaged, or not a store at all."""

    exit_code = 4


class SchemaError(KittError):
    """The database does not have the schema version that this KITT reads and writes."""

    exit_code = 4


class SchemaMissingError(SchemaError):
    """The database has no KITT tables yet."""


class SchemaTooOldError(SchemaError):
    """The database has an older schema; ``kitt storage migrate`` upgrades it."""


class SchemaTooNewError(SchemaError):
    """The database was written by a newer KITT; it is left untouched."""


class MigrationError(KittError):
    """An upgrade failed; the database is as it was before."""

    exit_code = 4


class PluginError(KittError):
    """A plugin is not installed, disabled, broken, too new, or claims a name that is taken."""


class ConfigurationError(KittError):
    """An option, a configuration file or a store's target cannot be used."""


class EngineError(KittError):
    """An inference engine cannot be reached, or fails before it has answered anything."""

    exit_code = 1


class EngineLostError(EngineError):
    """The engine is gone: no further request can succeed. The run ends, and what it has measured is kept."""


def _one_line(text: str, longest: int) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
