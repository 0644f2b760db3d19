"""The plugin manager: finds plugins by entry point, imports the one that is asked for, contains its failures.

There is no global manager: a `PluginManager()` belongs to whoever creates it, be it the command line, an embedder
or a test.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import pluggy
from attrs import field, frozen

from kitt_core import hookspecs
from kitt_core.engine import ENGINE_API_VERSION, Engine
from kitt_core.errors import KittError, PluginError
from kitt_core.fingerprint import FINGERPRINT_API_VERSION, FingerprintSource
from kitt_core.plugins.records import (
    COMMAND_API_VERSION,
    EXPORT_API_VERSION,
    IMPORT_API_VERSION,
    Command,
    Exporter,
    Importer,
    Record,
    Registry,
)
from kitt_core.redaction import without_secrets
from kitt_core.runs.model import CheckedRun
from kitt_core.storage.backend import STORAGE_API_VERSION, StorageBackend

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

__all__ = [
    "COMMANDS",
    "ENGINES",
    "EXPORTERS",
    "FINGERPRINTS",
    "IMPORTERS",
    "KINDS",
    "STORAGE",
    "Kind",
    "PluginManager",
    "PluginStatus",
    "contained",
]

logger = logging.getLogger(__name__)


class _Recognising(Record, Protocol):
    @property
    def recognises(self) -> Callable[[Path], bool]: ...


R = TypeVar("R", bound=Record)
Q = TypeVar("Q", bound=_Recognising)

_DISABLED: Final = "KITT_DISABLED_PLUGINS"
_LISTENERS: Final = "kitt.listeners"
_INSTALL: Final = {
    "sqlite": "kitt-sqlite",
    "postgres": "kitt-postgres",
    "postgresql": "kitt-postgres",
    "json": "kitt-json",
    "karr": "kitt-karr",
    "reference": "kitt-engines",
    "openai": "kitt-engines",
    "host": "kitt-hardware",
    "nvidia": "kitt-hardware",
    "amd": "kitt-hardware",
    "apple": "kitt-hardware",
}
"""Name to the distribution that provides it, for hints: the only place where the core knows its plugins."""

_SERVERS: Final = dict.fromkeys(
    ("vllm", "sglang", "tgi", "llamacpp", "ollama", "lmstudio", "trtllm", "tensorrtllm", "lmdeploy"), "openai"
)
"""Inference servers, without punctuation, and the engine that measures them."""


@frozen
class Kind(Generic[R]):
    """A kind of record that plugins provide.

    Attributes:
        name: What messages call it.
        group: The entry-point group.
        hook: The registration hook.
        record: The record's class.
        api_version: The newest version of the record's contract that this core supports.
    """

    name: str
    group: str
    hook: str
    record: type[R] = field(repr=False)
    api_version: int


STORAGE: Final = Kind("backend", "kitt.storage", "kitt_register_storage", StorageBackend, STORAGE_API_VERSION)
FINGERPRINTS: Final = Kind(
    "fingerprint source",
    "kitt.fingerprint",
    "kitt_register_fingerprint",
    FingerprintSource,
    FINGERPRINT_API_VERSION,
)
EXPORTERS: Final = Kind("exporter", "kitt.export", "kitt_register_exporter", Exporter, EXPORT_API_VERSION)
IMPORTERS: Final = Kind("importer", "kitt.import", "kitt_register_importer", Importer, IMPORT_API_VERSION)
ENGINES: Final = Kind("engine", "kitt.engine", "kitt_register_engine", Engine, ENGINE_API_VERSION)
COMMANDS: Final = Kind("command", "kitt.commands", "kitt_register_commands", Command, COMMAND_API_VERSION)
KINDS: Final[tuple[Kind[Any], ...]] = (STORAGE, FINGERPRINTS, EXPORTERS, IMPORTERS, ENGINES, COMMANDS)


@frozen
class PluginStatus:
    """One entry point, for ``kitt plugins list``.

    Attributes:
        kind: What it provides; may also be ``listener``.
        name: The entry point's name.
        distribution: The distribution that declares it.
        version: The distribution's version.
        state: ``loaded``, ``available``, ``disabled`` or ``failed``.
        summary: The record's summary once it is loaded.
        reason: Why it failed.
    """

    kind: str
    name: str
    distribution: str
    version: str
    state: str
    summary: str = ""
    reason: str = ""


class PluginManager:
    """Finds, loads and keeps plugins.

    Args:
        disabled: Names of entry points or distributions that are never imported; by default those that
            ``KITT_DISABLED_PLUGINS`` lists, separated by commas.
        autoload: Whether to look for entry points at all; if not, there are only plugins passed to `register`.
    """

    def __init__(self, *, disabled: Collection[str] | None = None, autoload: bool = True) -> None:
        self._disabled = _disabled_names() if disabled is None else frozenset(disabled)
        self._autoload = autoload
        self._entry_points: Any = None
        self._by_group: dict[str, list[EntryPoint]] = {}
        self._attempted: set[tuple[str, str, str]] = set()
        self._failures: dict[tuple[str, str, str], str] = {}
        self._cures: dict[tuple[str, str, str], str] = {}
        self._registries: dict[str, Registry[Any]] = {}
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        for kind in KINDS:
            registry = Registry(kind.name, kind.record, kind.api_version)
            self._registries[kind.group] = registry
            getattr(self._pluggy.hook, kind.hook).call_historic(kwargs={"registry": registry})

    def register(self, plugin: object, name: str = "the application") -> None:
        """Register a module or object directly, without packaging.

        Raises:
            PluginError: The plugin was refused; nothing of it stays registered.
        """
        try:
            # pluggy needs a unique name for each object, and an application may register several.
            self._register(plugin, f"{name}:{getattr(plugin, '__name__', id(plugin))}", name)
        except PluginError:
            raise
        except Exception as error:  # pluggy's own checks and whatever the plugin's hooks raise
            raise PluginError(f"plugin {name} failed to register: {_reason(error)}") from error

    def find(self, kind: Kind[R], name: str) -> R:
        """Return the record of that name, importing only the plugin that declares it.

        Raises:
            PluginError: It is not installed, disabled or broken; the message says which, and the hint what to do.
        """
        record = self._lookup(kind, name)
        if record is None:
            self._load(kind.group, name)
            record = self._lookup(kind, name)
        if record is None:
            raise self._missing(kind, name)
        return record

    def all(self, kind: Kind[R]) -> list[R]:
        """Return every record of that kind, importing all plugins that declare one; broken ones are left out."""
        for name in self._entry_names(kind.group):
            self._load(kind.group, name)
        return list(self._registry(kind))

    def recognising(self, kind: Kind[Q], path: Path) -> Iterator[Q]:
        """Yield the records that recognise ``path``; a record that raises is reported and left out."""
        for record in self.all(kind):
            try:
                recognised = record.recognises(path)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin's error must not affect the others
                reason = without_secrets(_reason(error))
                logger.warning("%s %s failed to recognise %s: %s", kind.name, record.name, path, reason)
                continue
            if recognised:
                yield record

    def names(self, kind: Kind[Any]) -> list[str]:
        """Return the available names, sorted; imports nothing."""
        known = {entry.name for entry in self._entries(kind.group) if not self._is_disabled(entry)}
        return sorted(known | {record.name for record in self._registry(kind)})

    def owner(self, kind: Kind[Any], name: str) -> str:
        """Return the distribution that provides the record."""
        return self._registry(kind).owner(name)

    def announce_saved(self, run: CheckedRun, location: str) -> None:
        """Tell every listener that a run was saved; exceptions are logged and go no further."""
        for name in self._entry_names(_LISTENERS):
            self._load(_LISTENERS, name)
        facts = {"run": run, "location": location}
        for implementation in self._pluggy.hook.kitt_run_saved.get_hookimpls():
            try:
                implementation.function(*(facts[name] for name in implementation.argnames))
            except (Exception, SystemExit):  # the run is saved, whatever a listener does
                logger.exception("kitt_run_saved of %s failed", implementation.plugin_name)

    def statuses(self, *, load: bool = True) -> list[PluginStatus]:
        """Return the state of every entry point, after loading all of them unless ``load`` is False."""
        return [
            self._status(kind_name, group, entry)
            for kind_name, group in [*((kind.name, kind.group) for kind in KINDS), ("listener", _LISTENERS)]
            for entry in self._entries(group)
            if not load or self._load(group, entry.name)
        ]

    def _status(self, kind: str, group: str, entry: EntryPoint) -> PluginStatus:
        distribution, version = _distribution(entry), _version(entry)
        key = (group, distribution, entry.name)
        record = self._registries[group].get(entry.name) if group in self._registries else None
        if self._is_disabled(entry):
            state = "disabled"
        elif key in self._failures:
            state = "failed"
        else:
            state = "loaded" if key in self._attempted else "available"
        summary = getattr(record, "summary", "") if state == "loaded" else ""
        return PluginStatus(kind, entry.name, distribution, version, state, summary, self._failures.get(key, ""))

    def _registry(self, kind: Kind[R]) -> Registry[R]:
        return self._registries[kind.group]

    def _lookup(self, kind: Kind[R], name: str) -> R | None:
        registry = self._registry(kind)
        found = registry.get(name)
        if found is None:
            found = next((r for r in registry if name in getattr(r, "schemes", ())), None)
        return found

    def _entries(self, group: str, name: str | None = None) -> Iterator[EntryPoint]:
        if not self._autoload:
            return
        if self._entry_points is None:
            from importlib.metadata import entry_points

            self._entry_points = entry_points()
        if group not in self._by_group:
            self._by_group[group] = list(self._entry_points.select(group=group))
        for entry in self._by_group[group]:
            if name is None or entry.name == name:
                yield entry

    def _entry_names(self, group: str) -> list[str]:
        return sorted({entry.name for entry in self._entries(group)})

    def _is_disabled(self, entry: EntryPoint) -> bool:
        # The distribution's name has to be parsed from its metadata, which is skipped if nothing is disabled.
        return bool(self._disabled) and (entry.name in self._disabled or _distribution(entry) in self._disabled)

    def _load(self, group: str, name: str) -> bool:
        """Load whatever declares ``name`` in ``group``; always returns True, for use in a condition."""
        for entry in self._entries(group, name):
            distribution = _distribution(entry)
            key = (group, distribution, name)
            if key in self._attempted or self._is_disabled(entry):
                continue
            self._attempted.add(key)
            try:
                with redirect_stdout(sys.stderr):  # what a plugin prints must not spoil what a command prints
                    plugin = entry.load()
                self._register(plugin, f"{distribution}:{entry.value}", distribution, declared=True)
                self._check_provided(group, name, distribution)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # third-party code may raise anything; other plugins must not suffer
                self._failures[key] = _reason(error)
                if isinstance(error, KittError) and error.hint:
                    self._cures[key] = error.hint
                logger.debug("plugin %s of %s failed to load", name, distribution, exc_info=True)
        return True

    def _check_provided(self, group: str, name: str, distribution: str) -> None:
        registry = self._registries.get(group)
        if registry is None:
            return
        record = next((r for r in registry if name in (r.name, *getattr(r, "schemes", ()))), None)
        if record is None:
            raise PluginError(f"{distribution} declares {name} but registers no {registry.kind} of that name")
        if registry.owner(record.name) != distribution:
            raise PluginError(
                f"{registry.kind} {name} of {distribution} is already provided by {registry.owner(record.name)}",
                hint="uninstall one of the two, or name its distribution in KITT_DISABLED_PLUGINS",
            )

    def _register(self, plugin: object, name: str, owner: str, *, declared: bool = False) -> None:
        if self._pluggy.is_registered(plugin):  # several entry points may name the same module
            return
        with ExitStack() as stack:
            for registry in self._registries.values():
                stack.enter_context(registry.owned_by(owner))
            try:
                self._pluggy.register(plugin, name)
                if declared:
                    self._check_declared(owner)
            except BaseException:
                if self._pluggy.is_registered(plugin):
                    self._pluggy.unregister(plugin)
                raise

    def _check_declared(self, distribution: str) -> None:
        """Refuse a record whose name has no entry point in its distribution: the name may be another plugin's."""
        for group, registry in self._registries.items():
            for record in registry:
                declared = (_distribution(entry) == distribution for entry in self._entries(group, record.name))
                if registry.owner(record.name) == distribution and not any(declared):
                    raise PluginError(
                        f"{distribution} registers the {registry.kind} {record.name} without an entry point"
                        f" of that name in {group}"
                    )

    def _missing(self, kind: Kind[Any], name: str) -> PluginError:
        for key, reason in self._failures.items():
            group, distribution, failed = key
            if group == kind.group and failed == name:
                return PluginError(
                    f"{kind.name} {name} of {distribution} failed to load: {reason}",
                    hint=self._cures.get(key, f"reinstall or upgrade {distribution}"),
                )
        if any(self._is_disabled(entry) for entry in self._entries(kind.group, name)):
            return PluginError(f"{kind.name} {name} is disabled", hint=f"remove it from {_DISABLED}")
        installed = self.names(kind)
        close = difflib.get_close_matches(name, installed, 1)
        hint = (
            f"did you mean {close[0]}?"
            if close
            else "`kitt plugins list` shows what is installed and what is broken"
        )
        hint = f"pip install {_INSTALL[name]}" if name in _INSTALL else hint
        server = re.sub("[-_. ]", "", name.lower())
        if kind is ENGINES and server in _SERVERS:
            through = _SERVERS[server]
            hint = f"a server is measured with -e {through} --base-url URL; the run's engine is then detected"
            if through not in installed:
                hint = f"pip install {_INSTALL[through]}; {hint}"
        return PluginError(f"no {kind.name} {name!r}; installed: {', '.join(installed) or 'none'}", hint=hint)


@contextmanager
def contained(what: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Run a plugin's code; any exception except `KittError` becomes a `PluginError` that names ``what``.

    Args:
        what: What is running, such as ``exporter csv``.
        passing: Further exceptions that are not converted, because the caller handles them.

    Raises:
        PluginError: The code raised something else.
    """
    known: tuple[type[Exception], ...] = (KittError, *passing)
    try:
        yield
    except known:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{what} failed: {without_secrets(_reason(error))}",
            hint="set KITT_DEBUG=1 to see where, and report it to the plugin's author",
        ) from error


def _disabled_names() -> frozenset[str]:
    return frozenset(name.strip() for name in os.environ.get(_DISABLED, "").split(",") if name.strip())


def _distribution(entry: EntryPoint) -> str:
    return _fact(entry.dist, "name") or "an unknown distribution"


def _version(entry: EntryPoint) -> str:
    return _fact(entry.dist, "version") or "unknown"


@lru_cache(maxsize=256)  # each access parses the metadata anew
def _fact(distribution: Distribution | None, name: str) -> str | None:
    try:
        return getattr(distribution, name, None)
    except Exception:  # noqa: BLE001  # damaged metadata raises different exceptions in different Pythons
        return None


def _reason(error: BaseException) -> str:
    if isinstance(error, KittError):
        return error.message
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text}"
