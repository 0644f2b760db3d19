"""Every setting in effect, with its origin: for ``kitt config show``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kitt_core.config import RUN_KEYS, Configuration, Setting, kitt_home
from kitt_core.errors import KittError
from kitt_core.opening import select_store
from kitt_core.options import Option, describe_options
from kitt_core.plugins.loading import PluginManager
from kitt_core.redaction import REDACTED, shown_value
from kitt_core.service.run.engine_choice import select_engine

__all__ = ["settings_in_effect"]

logger = logging.getLogger(__name__)


def settings_in_effect(
    configuration: Configuration,
    plugins: PluginManager,
    backend: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, Setting]]:
    """Yield each setting by its key, secrets hidden; what cannot be resolved is logged as a warning.

    Args:
        configuration: The environment and the files.
        plugins: Provides the options of backend and engine.
        backend: The target that was given directly.
        options: The backend's options that were given directly.
    """
    variable = "KITT_HOME"
    origin = variable if variable in configuration.environment else "default"
    yield "home", Setting(str(kitt_home(configuration.environment)), origin)
    target = configuration.backend(backend)
    yield "backend", Setting(shown_value(str(target.value)), target.origin)
    try:
        selection = select_store(backend, options or {}, configuration, plugins)
        known = describe_options(selection.backend.options)
        yield from _options(f"backends.{selection.backend.name}", known, selection.options)
    except KittError as error:
        logger.warning("the backend's options cannot be shown: %s", error)
    for key in RUN_KEYS:
        setting = configuration.run(key)
        yield f"run.{key}", attrs.evolve(setting, value=_hidden(setting.value))
    try:
        engine = select_engine(configuration, plugins)
        yield from _options(
            f"engines.{engine.engine.name}", describe_options(engine.engine.options), engine.settings
        )
    except KittError as error:
        logger.warning("the engine's options cannot be shown: %s", error)


def _options(prefix: str, known: list[Option], given: Mapping[str, Setting]) -> Iterator[tuple[str, Setting]]:
    for option in known:
        setting = given.get(option.name) or Setting(option.default, "default")
        value = REDACTED if option.hides(setting.value) else _hidden(setting.value)
        yield f"{prefix}.{option.name}", attrs.evolve(setting, value=value)


def _hidden(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return shown_value(str(value))
