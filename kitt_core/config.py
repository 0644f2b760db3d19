"""Configuration: where each value comes from, and which one wins.

Flags win over the environment, the environment over the project's file (``kitt.toml``, or ``[tool.kitt]`` in
``pyproject.toml``, the nearest one upwards), that over the user's (``config.toml`` in `kitt_home`), and that over
defaults. Every value keeps its origin, so that ``kitt config show`` can show it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from kitt_core.errors import ConfigurationError, InputNotFoundError
from kitt_core.options import Option, home_expanded, not_empty
from kitt_core.redaction import shown_value
from kitt_core.runs.query import nearest

__all__ = [
    "DEFAULT_BACKEND",
    "RUN_DEFAULTS",
    "RUN_KEYS",
    "TREE_NAME",
    "Configuration",
    "Setting",
    "expanded",
    "kitt_home",
    "load_configuration",
]

DEFAULT_BACKEND: Final = "sqlite"
TREE_NAME: Final = "kitt-results"
"""The name of a tree of run directories: ``kitt run`` writes there, the backend ``json`` looks for it."""
RUN_KEYS: Final = ("engine", "model", "suite", "base_url", "results_dir")
"""Keys of the table ``[run]``: what ``kitt run`` does when no flag says otherwise."""
RUN_DEFAULTS: Final = MappingProxyType({"engine": "reference", "suite": "quick", "results_dir": TREE_NAME})
"""The defaults of these keys; the others have none."""

_PYPROJECT: Final = "pyproject.toml"
_TABLES: Final = ("backends", "engines")
_ENV_HOME: Final = "KITT_HOME"
_ENV_BACKEND: Final = "KITT_BACKEND"
_ENV_DSN: Final = "KITT_DB_DSN"

_File = tuple[Path, Mapping[str, Any]]


@frozen
class Setting:
    """A value and where it came from.

    Attributes:
        value: The value as it was written.
        origin: ``flag``, ``default``, the name of an environment variable or the path of a file.
    """

    value: Any
    origin: str


@frozen
class Configuration:
    """The configuration files, and the environment, which takes precedence over them.

    Attributes:
        files: Parsed tables with their paths, the highest precedence first.
        environment: The process's environment, or a test's.
    """

    files: tuple[tuple[Path, Mapping[str, Any]], ...] = ()
    environment: Mapping[str, str] = field(factory=dict, repr=False)

    def backend(self, flag: str | None = None) -> Setting:
        """Return the name, URI or path of the store to use.

        Raises:
            ConfigurationError: What names the store is empty.
        """
        if flag is not None:
            return Setting(not_empty(flag, "the name of the store"), "flag")
        if value := _variable(self.environment, _ENV_BACKEND):
            return Setting(value, _ENV_BACKEND)
        if value := _variable(self.environment, _ENV_DSN):
            # A DSN of the form "host=… dbname=…" is not a URI; the backend reads the variable as its option.
            return Setting(value if "://" in value else "postgres", _ENV_DSN)
        return self._from_files("backend") or Setting(DEFAULT_BACKEND, "default")

    def run(self, key: str, flag: Any = None) -> Setting:
        """Return a setting of ``kitt run``, one of `RUN_KEYS`; its value is None if it is not set.

        Raises:
            ConfigurationError: It is empty.
        """
        if flag is not None:
            return Setting(not_empty(flag, key), "flag")
        variable = f"KITT_RUN_{key.upper()}"
        if value := _variable(self.environment, variable):
            return Setting(value, variable)
        return self._from_files("run", key) or Setting(RUN_DEFAULTS.get(key), "default")

    def option(self, table: str, owner: str, option: Option) -> Setting | None:
        """Return one option of a backend or engine from the environment or a file, None if neither sets it.

        Args:
            table: ``backends`` or ``engines``.
            owner: The backend's or engine's name.
            option: The option.

        Raises:
            ConfigurationError: It is empty.
        """
        if option.env and (value := _variable(self.environment, option.env)):
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
                return Setting(not_empty(value, f"{path}: {'.'.join(keys)}"), str(path))
        return None


def _variable(environment: Mapping[str, str], name: str) -> str | None:
    return not_empty(environment.get(name), name, cure=f"remove it: `unset {name}`")


def kitt_home(environment: Mapping[str, str] | None = None) -> Path:
    """Return the user's KITT directory: ``KITT_HOME``, else ``~/.kitt``.

    Raises:
        ConfigurationError: The home directory is not known, or ``KITT_HOME`` is empty.
    """
    value = _variable(os.environ if environment is None else environment, _ENV_HOME)
    try:
        return home_expanded(value) if value else Path.home() / ".kitt"
    except RuntimeError as error:
        what = (
            f"{_ENV_HOME} is {value!r}, but there is no such home directory"
            if value
            else "your home directory is not known"
        )
        raise ConfigurationError(what, hint=f"set {_ENV_HOME} to a directory") from error


def expanded(setting: Setting) -> Path:
    """Return a setting's value as a path, with a leading ``~`` expanded.

    Raises:
        ConfigurationError: There is no such home directory.
    """
    try:
        return home_expanded(str(setting.value))
    except RuntimeError as error:
        raise ConfigurationError(
            f"{shown_value(str(setting.value))!r} (from {setting.origin}): there is no such home directory",
            hint="write the full path",
        ) from error


def load_configuration(
    file: Path | None = None, *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Configuration:
    """Read the configuration files that apply.

    Args:
        file: Read this instead of the project's file.
        directory: Where the search for the project's file begins; by default the current directory.
        environment: Used instead of the process's environment.

    Raises:
        InputNotFoundError: ``file`` does not exist.
        ConfigurationError: A file cannot be read, is not TOML, or has an unknown key.
    """
    variables = os.environ if environment is None else environment
    if file is None:
        project = _projects_file(directory)
    elif _is_file(file):
        project = (file, _read(file) or {})
    else:
        raise InputNotFoundError(f"{file}: no such configuration file", hint="check the path given to --config")
    return Configuration(tuple(filter(None, (project, _users_file(variables)))), dict(variables))


def _projects_file(directory: Path | None) -> _File | None:
    try:
        start = directory or Path.cwd()
    except FileNotFoundError:  # the current directory was removed, so it has no parents
        return None
    for path in (folder / name for folder in (start, *start.parents) for name in ("kitt.toml", _PYPROJECT)):
        try:
            there = path.is_file()
        except PermissionError:  # the directory may not be searched, so nothing in it can be read
            continue
        if there and (tables := _read(path)) is not None:
            return path, tables
    return None


def _users_file(variables: Mapping[str, str]) -> _File | None:
    try:
        path = kitt_home(variables) / "config.toml"
    except ConfigurationError:
        if _ENV_HOME in variables:
            raise
        return None  # without a home there is no such file; what needs a home reports that itself
    return (path, _read(path) or {}) if _is_file(path) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return a file's tables; None for a ``pyproject.toml`` without a table for KITT."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    tables: Mapping[str, Any] | None
    if path.name == _PYPROJECT:
        # Most have nothing to do with KITT, so they need not be parsed, nor even be valid.
        tables = _ours(path, _parsed(path, content)) if b"kitt" in content else None
    else:
        tables = _parsed(path, content)
    if tables is not None:
        _check(path, tables)
    return tables


def _parsed(path: Path, content: bytes) -> Mapping[str, Any]:
    import tomllib  # needed only if there is a file

    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ConfigurationError(f"{path}: nested too deeply to be read") from error
    except ValueError as error:  # not TOML, not UTF-8, or a number with thousands of digits
        raise ConfigurationError(f"{path}: not TOML: {error}") from error


def _ours(path: Path, tables: Mapping[str, Any]) -> Mapping[str, Any] | None:
    tool = tables.get("tool")
    if not isinstance(tool, Mapping) or "kitt" not in tool:
        return None
    ours = tool["kitt"]
    if not isinstance(ours, Mapping):
        raise ConfigurationError(f"{path}: tool.kitt is {ours!r}, expected a table [tool.kitt]")
    return ours


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: cannot be read: {error.strerror}",
        hint="make it readable, or use another one: --config for the project's file, KITT_HOME for the user's",
    )


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
    _check_run(path, tables.get("run", {}))


def _check_run(path: Path, table: Mapping[str, Any]) -> None:
    for name, value in table.items():
        if name not in RUN_KEYS:
            raise ConfigurationError(f"{path}: unknown key {name!r} in [run]", hint=nearest(name, RUN_KEYS))
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: {name} in [run] is {value!r}, expected text in quotes")
