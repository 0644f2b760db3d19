"""What ``kitt doctor`` finds: versions, plugins, files, the store. Only what killed processes left is removed."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from kitt_core import __version__
from kitt_core.benchmarking.suites import suite_named
from kitt_core.config import Configuration, expanded, kitt_home
from kitt_core.errors import ConfigurationError, KittError, StoreUnavailableError
from kitt_core.files import obstacle, remove_unfinished
from kitt_core.opening import select_store
from kitt_core.plugins.loading import ENGINES, PluginManager, PluginStatus
from kitt_core.redaction import REDACTED, shown_value
from kitt_core.runs.model import SchemaState, SchemaStatus
from kitt_core.service.run.engine_choice import select_engine

__all__ = ["Observation", "examine"]

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"

_LIBRARIES: Final = ("attrs", "cattrs", "click", "pluggy", "rich")
_UNUSABLE: Final = {SchemaState.NEW, SchemaState.FOREIGN}
_SECRET_NAMES: Final = ("DSN", "PASSWORD", "TOKEN", "SECRET", "KEY")


@frozen
class Observation:
    """One line of the report.

    Attributes:
        check: What was examined.
        state: ``ok``, ``warning`` or ``error``.
        text: What was found.
        hint: How to fix it, if that is known.
        exit_code: The exit code that it calls for, 0 if none.
    """

    check: str
    state: str
    text: str
    hint: str | None = None
    exit_code: int = 0


def examine(
    load: Callable[[], Configuration],
    plugins: PluginManager,
    backend: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Iterator[Observation]:
    """Yield what is found, whether healthy or broken.

    Args:
        load: Reads the configuration; its errors are reported as findings.
        plugins: The manager; all plugins are loaded.
        backend: The target that was given directly.
        options: The backend's options that were given directly.
    """
    yield from _versions()
    yield from _plugins(plugins)
    yield _home()
    yield from _unfinished_files()
    try:
        configuration = load()
    except KittError as error:
        yield _failure("configuration", error)
        return
    yield from _configuration(configuration)
    yield _store_or_failure(configuration, plugins, backend, options or {})
    yield _run(configuration, plugins)
    yield _results(configuration)


def _versions() -> Iterator[Observation]:
    yield Observation("kitt-core", OK, __version__)
    yield Observation("python", OK, f"{platform.python_version()} ({sys.executable})")
    yield Observation("platform", OK, platform.platform())
    yield Observation("sqlite", OK, _sqlite_version())
    yield Observation("libraries", OK, ", ".join(f"{name} {_installed(name)}" for name in _LIBRARIES))


def _sqlite_version() -> str:
    try:
        import sqlite3
    except ImportError:
        return "this Python was built without it"
    return sqlite3.sqlite_version


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _plugins(plugins: PluginManager) -> Iterator[Observation]:
    statuses = sorted(plugins.statuses(), key=lambda status: (status.distribution, status.kind, status.name))
    for distribution, group in groupby(statuses, key=lambda status: status.distribution):
        members = list(group)
        whole = [status for status in members if status.state != "failed"]
        if whole:
            names = ", ".join(_named(status) for status in whole)
            yield Observation("plugins", OK, f"{distribution} {members[0].version}: {names}")
        for status in members:
            if status.state == "failed":
                text = f"{status.kind} {status.name} of {distribution} {status.version}: {status.reason}"
                yield Observation("plugins", WARNING, text, f"reinstall or upgrade {distribution}")


def _named(status: PluginStatus) -> str:
    return f"{status.kind} {status.name}" + (" (disabled)" if status.state == "disabled" else "")


def _home() -> Observation:
    try:
        return _writable("home", kitt_home())
    except ConfigurationError as error:  # if the configuration or the store needs it, they report the error
        return Observation("home", WARNING, error.message, error.hint)


def _unfinished_files() -> Iterator[Observation]:
    """Remove what killed processes left where people usually write archives and exports."""
    places = {Path()}
    with suppress(ConfigurationError):
        places.add(kitt_home())
    for place in sorted(places):
        if removed := remove_unfinished(place):
            what = "a file" if removed == 1 else f"{removed} files"
            yield Observation(
                "files", OK, f"{place.absolute()}: removed {what} that a killed process left unfinished"
            )


def _configuration(configuration: Configuration) -> Iterator[Observation]:
    files = ", ".join(str(path) for path, _ in configuration.files)
    yield Observation("configuration", OK, files or "no file; defaults are in effect")
    for name, value in sorted(configuration.environment.items()):
        if name.startswith("KITT_"):
            secret = any(part in name for part in _SECRET_NAMES)
            yield Observation("environment", OK, f"{name}={REDACTED if secret else shown_value(value)}")


def _store_or_failure(
    configuration: Configuration, plugins: PluginManager, backend: str | None, options: Mapping[str, str]
) -> Observation:
    try:
        target = configuration.backend(backend)
        named = f"{shown_value(str(target.value))} (from {target.origin})"
    except KittError as error:
        return _failure("store", error)
    try:
        with select_store(backend, options, configuration, plugins).open() as store:
            problem = obstacle(store.paths[0]) if store.paths else None
            if problem is not None and not store.paths[0].exists():
                return Observation(
                    "store", ERROR, f"{named}: it cannot be created: {problem[0]}", problem[1], exit_code=4
                )
            status = store.schema_status()
            found = _store(f"{named}: {store.location}", status)
            if status.state is not SchemaState.CURRENT and not store.prepares_itself(status):
                return found
            try:
                store.check_writable()
            except StoreUnavailableError as error:
                return evolve(found, state=WARNING, text=f"{found.text}; {error.message}", hint=error.hint)
            return found
    except KittError as error:
        return _failure("store", error)
    except OSError as error:
        return Observation("store", ERROR, f"{named}: {error.strerror or error}", "check its path", exit_code=4)


def _run(configuration: Configuration, plugins: PluginManager) -> Observation:
    """Check what ``[run]`` names; without any engine, KITT can still be used to keep results."""
    name = configuration.run("engine")
    try:
        chosen = suite_named(configuration.run("suite").value)
        if name.origin == "default" and name.value not in plugins.names(ENGINES):
            return Observation(
                "run", OK, f"suite {chosen.name}; no engine is chosen, and the default one is not installed"
            )
        engine = select_engine(configuration, plugins)
    except KittError as error:
        return _failure("run", error)
    return Observation("run", OK, f"suite {chosen.name}, engine {engine.engine.name} (from {engine.name.origin})")


def _store(named: str, status: SchemaStatus) -> Observation:
    text = f"{named}, schema {status.state}"
    if status.version is not None:
        text += f", version {status.version} of {status.newest}"
    if status.size_bytes is not None:
        text += f", {status.size_bytes} bytes"
    text = "; ".join((text, *status.notes))
    if status.state in _UNUSABLE:
        hint = "upgrade kitt-core" if status.state is SchemaState.NEW else "name another store with --backend"
        return Observation("store", ERROR, text, hint, exit_code=4)
    if status.state is SchemaState.OLD:
        return Observation("store", WARNING, text, "`kitt storage migrate` upgrades it")
    if status.state is SchemaState.MISSING:
        return Observation("store", OK, text, "`kitt storage init` prepares it")
    return Observation("store", OK, text)


def _failure(check: str, error: KittError) -> Observation:
    return Observation(check, ERROR, error.message, error.hint, exit_code=error.exit_code)


def _results(configuration: Configuration) -> Observation:
    try:
        return _writable("results", expanded(configuration.run("results_dir")))
    except ConfigurationError as error:
        return _failure("results", error)


def _writable(check: str, path: Path) -> Observation:
    """Check whether a directory can be written to or created."""
    problem = obstacle(path, directory=True)
    try:
        what = str(path) if path.exists() else f"{path} (does not exist yet)"
    except OSError:
        what = str(path)
    if problem is not None:
        return Observation(check, WARNING, f"{what}: {problem[0]}", problem[1])
    return Observation(check, OK, f"{what}, writable")
