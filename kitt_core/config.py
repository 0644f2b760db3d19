"""Configuration: where each value comes from, and which one counts.

Flags win over the environment, the environment over the project's file (``kitt.toml``, or ``[tool.kitt]`` in
``pyproject.toml``, the nearest upward), that over the user's (``config.toml`` in `kitt_home`), that over
defaults. A value never loses its origin on the way, so ``kitt config show`` can tell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from kitt_core.errors import ConfigurationError, InputNotFoundError
from kitt_core.options import Option
from kitt_core.query import nearest

__all__ = ["DEFAULT_BACKEND", "RUN_KEYS", "Configuration", "Setting", "kitt_home", "load_configuration"]

DEFAULT_BACKEND: Final = "sqlite"
RUN_KEYS: Final = ("engine", "model", "suite", "base_url", "results_dir")
"""Keys of the table ``[run]``: what ``kitt run`` does when no flag says otherwise."""

_TABLES: Final = ("backends", "engines")
_ENV_BACKEND: Final = "KITT_BACKEND"
_ENV_DSN: Final = "KITT_DB_DSN"


@frozen
class Setting:
    """A value and where it came from.

    Attributes:
        value: As it was written.
        origin: ``flag``, ``default``, the name of an environment variable or the path of a file.
    """

    value: Any
    origin: str


@frozen
class Configuration:
    """The merged files, and the environment that goes before them.

    Attributes:
        files: Parsed tables with their paths, the strongest first.
        environment: The process's environment, or a test's.
    """

    files: tuple[tuple[Path, Mapping[str, Any]], ...] = ()
    environment: Mapping[str, str] = field(factory=dict, repr=False)

    def backend(self, flag: str | None = None) -> Setting:
        """Return the name, URI or path of the store to use."""
        if flag is not None:
            return Setting(flag, "flag")
        if value := self.environment.get(_ENV_BACKEND):
            return Setting(value, _ENV_BACKEND)
        if value := self.environment.get(_ENV_DSN):
            # A DSN of the form "host=… dbname=…" is no URI; the backend reads the variable as its option.
            return Setting(value if "://" in value else "postgres", _ENV_DSN)
        return self._from_files("backend") or Setting(DEFAULT_BACKEND, "default")

    def run(self, key: str, flag: Any = None) -> Setting | None:
        """Return a setting of ``kitt run``, one of `RUN_KEYS`; None if it is set nowhere."""
        if flag is not None:
            return Setting(flag, "flag")
        variable = f"KITT_RUN_{key.upper()}"
        if value := self.environment.get(variable):
            return Setting(value, variable)
        return self._from_files("run", key)

    def option(self, table: str, owner: str, option: Option) -> Setting | None:
        """Return what the environment or a file says of one option of a backend or engine.

        Args:
            table: ``backends`` or ``engines``.
            owner: The backend's or engine's name.
            option: The option.
        """
        if option.env and (value := self.environment.get(option.env)):
            return Setting(value, option.env)
        return self._from_files(table, owner, option.name)

    def check_options(self, table: str, owner: str, known: list[Option]) -> None:
        """Raise `ConfigurationError` if a file sets an option that ``owner`` does not have."""
        names = [option.name for option in known]
        for path, tables in self.files:
            for name in tables.get(table, {}).get(owner, {}):
                if name not in names:
                    raise ConfigurationError(
                        f"{path}: {owner} has no option {name!r} in [{table}.{owner}]",
                        hint=nearest(name, names),
                    )

    def _from_files(self, *keys: str) -> Setting | None:
        for path, tables in self.files:
            value: Any = tables
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                return Setting(value, str(path))
        return None


def kitt_home(environment: Mapping[str, str] | None = None) -> Path:
    """Return the directory of the user's KITT: ``KITT_HOME``, else ``~/.kitt``."""
    value = (os.environ if environment is None else environment).get("KITT_HOME")
    return Path(value).expanduser() if value else Path.home() / ".kitt"


def load_configuration(
    file: Path | None = None, *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Configuration:
    """Read the files that apply.

    Args:
        file: Instead of the project's file.
        directory: Where the search for the project's file begins; the current directory without it.
        environment: Instead of the process's.

    Raises:
        InputNotFoundError: ``file`` does not exist.
        ConfigurationError: A file is not TOML or has an unknown key.
    """
    variables = os.environ if environment is None else environment
    project = file if file is not None else _project_file(directory or Path.cwd())
    if file is not None and not file.is_file():
        raise InputNotFoundError(f"{file}: no such configuration file", hint="check the path given to --config")
    files = [
        (path, _read(path)) for path in (project, kitt_home(variables) / "config.toml") if path and path.is_file()
    ]
    return Configuration(tuple(files), dict(variables))


def _project_file(directory: Path) -> Path | None:
    for folder in (directory, *directory.parents):
        if (path := folder / "kitt.toml").is_file():
            return path
        path = folder / "pyproject.toml"
        if path.is_file() and b"[tool.kitt" in path.read_bytes():
            return path
    return None


def _read(path: Path) -> Mapping[str, Any]:
    import tomllib  # only where there is a file

    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    if path.name == "pyproject.toml":
        tables = tables.get("tool", {}).get("kitt", {})
    _check(path, tables)
    return tables


def _check(path: Path, tables: Mapping[str, Any]) -> None:
    known = ("backend", "run", *_TABLES)
    for name, value in tables.items():
        if name not in known:
            raise ConfigurationError(f"{path}: unknown key {name!r}", hint=nearest(name, known))
        if name == "backend" and not isinstance(value, str):
            raise ConfigurationError(f"{path}: backend is {value!r}, expected a name, URI or path in quotes")
        if name != "backend" and not isinstance(value, Mapping):
            raise ConfigurationError(f"{path}: {name} is {value!r}, expected a table [{name}]")
        if name in _TABLES:
            for owner, options in value.items():
                if not isinstance(options, Mapping):
                    raise ConfigurationError(f"{path}: {name}.{owner} is {options!r}, expected a table")
    for name in tables.get("run", {}):
        if name not in RUN_KEYS:
            raise ConfigurationError(f"{path}: unknown key {name!r} in [run]", hint=nearest(name, RUN_KEYS))
