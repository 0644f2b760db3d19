"""What every command receives: the global options and what follows from them, created on demand."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from attrs import define, field

from kitt_core.cli.messages import say
from kitt_core.errors import ConfigurationError, KittError
from kitt_core.redaction import REDACTED, shown_value

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kitt_core.config import Configuration
    from kitt_core.opening import Selection
    from kitt_core.plugins.loading import PluginManager
    from kitt_core.storage.contract import ResultStore

__all__ = ["State", "complete_backend", "pass_state"]

logger = logging.getLogger(__name__)

# Also in kitt_core.plugins.loading, which takes too long to import just for these.
_COMMANDS: Final = "kitt.commands"
_DISABLED: Final = "KITT_DISABLED_PLUGINS"


@define(slots=False)
class State:
    """The global options of one invocation of ``kitt``.

    Attributes:
        backend: ``--backend``, None if it was not given.
        options: ``-O KEY=VALUE`` by key.
        config_file: ``--config``, None for the project's file.
        verbosity: -1 for ``-q``, 0, or the number of ``-v``.
    """

    backend: str | None = None
    options: dict[str, str] = field(factory=dict)
    config_file: Path | None = None
    verbosity: int = 0
    _opened: list[ResultStore] = field(factory=list, init=False, repr=False)

    @cached_property
    def plugins(self) -> PluginManager:
        """The plugin manager of this invocation."""
        from kitt_core.plugins.loading import PluginManager

        return PluginManager()

    @property
    def declared_commands(self) -> dict[str, str] | None:
        """What the distributions of commands say they are, by command; None if only the plugin manager knows.

        Neither the manager nor a plugin is imported for it: a help page should not cost what plugins cost.
        """
        if "plugins" in vars(self) or os.environ.get(_DISABLED):
            return None
        from importlib.metadata import entry_points

        entries = sorted(entry_points(group=_COMMANDS), key=lambda entry: entry.name)
        return {entry.name: (entry.dist and entry.dist.metadata["Summary"]) or "" for entry in entries}

    @cached_property
    def configuration(self) -> Configuration:
        """The configuration files and the environment.

        Raises:
            InputNotFoundError: The file of ``--config`` does not exist.
            ConfigurationError: A file cannot be used.
        """
        from kitt_core.config import load_configuration

        configuration = load_configuration(self.config_file)
        for path, _ in configuration.files:
            logger.info("configuration from %s", path)
        return configuration

    @property
    def is_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return sys.stdout.isatty()

    @property
    def shows_progress(self) -> bool:
        """Whether to draw progress bars: stderr is a terminal, and ``-q`` was not given."""
        return self.verbosity >= 0 and sys.stderr.isatty()

    def shown_options(self) -> str:
        """Return the global options as they were given, for a command in a message; secrets are hidden."""
        given: list[str] = []
        if self.config_file is not None:
            given += ["--config", shlex.quote(str(self.config_file))]
        if self.backend is not None:
            given += ["--backend", shlex.quote(shown_value(self.backend))]
        for key, value in self.options.items():
            given += ["-O", shlex.quote(f"{key}={value if self._may_show(key) else REDACTED}")]
        return "".join(f"{text} " for text in given)

    def _may_show(self, key: str) -> bool:
        from kitt_core.options import describe_options

        try:
            known = {option.name: option for option in describe_options(self.selection().backend.options)}
        except KittError:
            return False
        return key in known and known[key].shown(self.options[key]) == self.options[key]

    def selection(self) -> Selection:
        """Return the selected store, with the origin of each setting.

        Raises:
            PluginError: The backend is not installed, disabled or broken.
            ConfigurationError: The target or an option cannot be used.
        """
        from kitt_core.opening import select_store

        return select_store(self.backend, self.options, self.configuration, self.plugins)

    def open_store(self, output: Path | None = None) -> ResultStore:
        """Open the selected store; the caller closes it.

        Args:
            output: What ``-o`` names, which must not be the store.

        Raises:
            PluginError: The backend is not installed, disabled or broken.
            ConfigurationError: The target or an option cannot be used, or the output would overwrite the store.
            StoreUnavailableError: It can't be opened.
        """
        store = self.selection().open()
        try:
            _check_output(output, store)
        except ConfigurationError:
            store.close()
            raise
        self._opened.append(store)
        return store

    @property
    def unread(self) -> int:
        """How many places of the stores that were opened could not be read, so that an answer lacks them."""
        return sum(len(store.unread) for store in self._opened)

    def protect_store(self, output: Path | None) -> None:
        """Refuse an output that would overwrite the store; for commands that also work without a store.

        Raises:
            ConfigurationError: The output is the store, or in it.
        """
        try:
            store = self.selection().open()
        except KittError:  # a store that can't be opened is not going to be read either
            return
        with store:
            _check_output(output, store)

    def note(self, text: str) -> None:
        """Tell the user what was done, on stderr; ``-q`` silences it."""
        if self.verbosity >= 0:
            say(text)


def _check_output(output: Path | None, store: ResultStore) -> None:
    if output is not None and str(output) != "-":
        from kitt_core.files import check_output

        check_output(output, store.paths)


pass_state = click.make_pass_decorator(State)
"""Passes the `State` to a command as its first argument."""


def complete_backend(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the backends whose names begin with ``incomplete``; for ``shell_complete``."""
    from click.shell_completion import CompletionItem

    from kitt_core.plugins.loading import STORAGE

    names = ctx.ensure_object(State).plugins.names(STORAGE)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
