"""The engine that the user names, with its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from kitt_core.config import Configuration, Setting
from kitt_core.engine import Engine
from kitt_core.errors import ConfigurationError
from kitt_core.options import build_options, describe_options
from kitt_core.plugins.loading import ENGINES, PluginManager
from kitt_core.redaction import without_secrets

__all__ = ["EngineSelection", "select_engine"]

_RUN_OPTIONS: Final = ("model", "base_url")
"""Options of an engine that have a flag and a key of ``[run]`` of their own."""


@frozen
class EngineSelection:
    """The selected engine, and each of its options with its origin.

    Attributes:
        engine: The engine's record.
        name: What was asked for, and where that came from.
        settings: The options that were given; the others have their defaults.
        options: The object that the engine is opened with.
    """

    engine: Engine
    name: Setting
    settings: Mapping[str, Setting] = field(repr=False)
    options: Any = field(repr=False)

    def shown_options(self) -> dict[str, Any]:
        """Return every option's value for the document: JSON values, secrets hidden."""
        shown: dict[str, Any] = {}
        for option in describe_options(self.engine.options):
            value = getattr(self.options, option.name)
            plain = value is None or (isinstance(value, bool | int | float) and not option.secret)
            shown[option.name] = value if plain else without_secrets(option.shown(value))
        return shown


def select_engine(
    configuration: Configuration,
    plugins: PluginManager,
    *,
    name: str | None = None,
    model: str | None = None,
    base_url: str | None = None,
    options: Mapping[str, str] | None = None,
) -> EngineSelection:
    """Return the engine and options that flags, environment and files name together.

    Args:
        configuration: The environment and the files.
        plugins: Where to find the engine.
        name: The engine that was given directly.
        model: The model that was given directly.
        base_url: The server that was given directly.
        options: Other options that were given directly.

    Raises:
        PluginError: The engine is not installed, disabled or broken.
        ConfigurationError: The engine has no such option, or a value cannot be used.
    """
    chosen = configuration.run("engine", name)
    engine = plugins.find(ENGINES, str(chosen.value))
    known = describe_options(engine.options)
    configuration.check_options("engines", engine.name, known)
    settings = {
        option.name: setting
        for option in known
        if (setting := configuration.option("engines", engine.name, option)) is not None
    }
    names = {option.name for option in known}
    given = {"model": model, "base_url": base_url}
    for key in _RUN_OPTIONS:
        setting = configuration.run(key, given[key])
        # [run] serves all engines, so what this one does not take is an error only as a flag.
        if setting.value is not None and (key in names or setting.origin == "flag"):
            settings[key] = setting
    settings |= {key: Setting(value, "flag") for key, value in (options or {}).items()}
    _check_known(engine, settings, names)
    values = {key: setting.value for key, setting in settings.items()}
    built = build_options(engine.options, values, f"engine {engine.name}", flag="--engine-option")
    return EngineSelection(engine, chosen, settings, built)


def _check_known(engine: Engine, settings: Mapping[str, Setting], names: set[str]) -> None:
    for key in _RUN_OPTIONS:
        if key in settings and key not in names:
            flag = f"--{key.replace('_', '-')}"
            raise ConfigurationError(
                f"{flag} {settings[key].value!r} is given, but engine {engine.name} has no option {key}",
                hint=f"leave {flag} out, or name another engine with -e",
            )
