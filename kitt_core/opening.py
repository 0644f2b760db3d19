"""Open the store that the user names by a backend, a URI, a path, or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from kitt_core.config import Configuration, Setting, expanded, load_configuration
from kitt_core.errors import ConfigurationError
from kitt_core.options import build_options, describe_options, target_option
from kitt_core.plugins.loading import STORAGE, PluginManager, contained
from kitt_core.redaction import shown_value
from kitt_core.storage.backend import StorageBackend
from kitt_core.storage.contract import ResultStore

__all__ = ["Selection", "open_store", "select_store"]

_URI: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>//.*)?", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@frozen
class Selection:
    """The selected backend, and each of its options with its origin.

    Attributes:
        backend: The backend's record.
        target: What was asked for, and where that came from.
        options: The options that were given; the others have their defaults.
    """

    backend: StorageBackend
    target: Setting
    options: Mapping[str, Setting]

    def open(self) -> ResultStore:
        """Open the store.

        Raises:
            ConfigurationError: An option cannot be used.
        """
        values = {name: setting.value for name, setting in self.options.items()}
        what = f"backend {self.backend.name}"
        options = build_options(self.backend.options, values, what)
        with contained(what):
            return self.backend.open(options)


def open_store(
    target: str | os.PathLike[str] | None = None, /, *, plugins: PluginManager | None = None, **options: Any
) -> ResultStore:
    """Open a store.

    Args:
        target: A backend's name (``sqlite``), a URI (``sqlite:///relative.db``, ``sqlite:////absolute.db``,
            ``postgresql://…``, ``json:///dir``, ``memory:``) or a path. Without it, the environment and
            configuration files decide, and finally it is the user's SQLite file; with it, neither is read.
        plugins: The manager to find the backend with; by default a new one.
        options: Options of the backend, as ``kitt plugins show`` lists them.

    Raises:
        PluginError: The backend is not installed, disabled or broken.
        ConfigurationError: The target or an option cannot be used.
    """
    configuration = load_configuration() if target is None else Configuration()
    flag = None if target is None else os.fspath(target)
    selection = select_store(flag, options, configuration, plugins or PluginManager())
    return selection.open()


def select_store(
    flag: str | None, options: Mapping[str, Any], configuration: Configuration, plugins: PluginManager
) -> Selection:
    """Return the backend and options that flags, environment and files name together.

    Args:
        flag: The target that was given directly, None if none was.
        options: Options that were given directly; they take precedence.
        configuration: The environment and the files.
        plugins: Where to find the backend.

    Raises:
        PluginError: The backend is not installed, disabled or broken.
        ConfigurationError: The target cannot be used, or a file sets an unknown option.
    """
    target = configuration.backend(flag)
    backend, from_target = _resolve(str(target.value), plugins)
    known = describe_options(backend.options)
    configuration.check_options("backends", backend.name, known)
    settings: dict[str, Setting] = {}
    for option in known:
        # A location in the target itself is not overridden by one from the environment or a file.
        if not (from_target and option.target) and (
            setting := configuration.option("backends", backend.name, option)
        ):
            settings[option.name] = setting
    for name in from_target.keys() & options.keys():
        raise ConfigurationError(
            f"the store is named twice: by {shown_value(str(target.value))!r} and by the option {name}",
            hint=f"leave out one of them; the target `{backend.name}` alone takes the option",
        )
    settings |= {name: Setting(value, target.origin) for name, value in from_target.items()}
    settings |= {name: Setting(value, "flag") for name, value in options.items()}
    return Selection(backend, target, settings)


def _resolve(target: str, plugins: PluginManager) -> tuple[StorageBackend, dict[str, Any]]:
    """Return the backend that ``target`` names, and the options that it contains."""
    uri = _URI.fullmatch(target)
    if uri is not None and (uri["rest"] is not None or not Path(target).exists()):
        backend = plugins.find(STORAGE, uri["scheme"])
        return backend, _from_uri(backend, target, uri["scheme"], uri["rest"] or "")
    if _NAME.fullmatch(target) and (target in plugins.names(STORAGE) or not Path(target).exists()):
        return plugins.find(STORAGE, target), {}
    scheme, colon, path = target.partition(":")
    if colon and scheme in plugins.names(STORAGE) and not Path(target).exists():
        backend = plugins.find(STORAGE, scheme)
        option = target_option(backend.options)
        if option is not None and option.target == "uri":  # it knows best what is wrong with its own
            return backend, {option.name: target}
        raise ConfigurationError(
            f"{shown_value(target)!r} has too few slashes after {scheme}:,"
            " expected three (relative) or four (absolute)",
            hint=f"write {scheme}:///{shown_value(path.lstrip('/'))} for a path below the current directory",
        )
    return _recognised(expanded(Setting(target, "the target")), plugins)


def _from_uri(backend: StorageBackend, target: str, scheme: str, rest: str) -> dict[str, Any]:
    option = target_option(backend.options)
    if not rest:
        return {}
    if option is None:
        raise ConfigurationError(f"backend {backend.name} takes no path", hint=f"write {scheme}:")
    if option.target == "uri":
        return {option.name: target}
    path = rest.removeprefix("//")
    if not path.startswith("/"):
        path = shown_value(target).partition("://")[2]
        raise ConfigurationError(
            f"{shown_value(target)!r} has two slashes before its path,"
            " expected three (relative) or four (absolute)",
            hint=f"write {scheme}:///{path} for the path {path} below the current directory",
        )
    if "=" in path.partition("?")[2]:  # a question mark alone may be part of a name
        # What follows is not shown: people put passwords there.
        raise ConfigurationError(
            f"the {scheme} URI ends in ?key=value, but backend {backend.name} takes no options there",
            hint="give options with -O key=value, those of --to with --to-option;"
            f" if it is part of the path, leave out {scheme}:",
        )
    if path == "/":
        raise ConfigurationError(f"{target!r} has no path", hint=f"write {scheme}:///path or {scheme}:////path")
    return {option.name: path[1:]}


def _recognised(path: Path, plugins: PluginManager) -> tuple[StorageBackend, dict[str, Any]]:
    for backend in plugins.recognising(STORAGE, path):
        option = target_option(backend.options)
        if option is not None and option.target == "path":
            text = str(path)
            return backend, {option.name: f"./{text}" if text.startswith("~") else text}  # what to expand was
    what = "is not a store that an installed backend recognises" if path.exists() else "does not exist"
    raise ConfigurationError(
        f"{shown_value(str(path))!r} {what}, expected a backend's name, a URI or the path of a store",
        hint=f"installed: {', '.join(plugins.names(STORAGE))}; a new store needs a URI such as sqlite:///runs.db",
    )
