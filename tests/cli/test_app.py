from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
from importlib.metadata import entry_points, metadata
from pathlib import Path
from typing import Any

import click
import pytest

from kitt_core.cli import app
from kitt_core.cli.lazy import LazyCommand
from kitt_core.errors import KittError, PluginError, StoreUnavailableError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import Command, PluginManager, Registry

from .conftest import Kitt

HEAVY = ("asyncio", "cattrs", "numpy", "psutil", "rich", "sqlalchemy", "sqlite3", "yoyo", "dulwich", "psycopg")


def brings(plugins: PluginManager, function: Any, name: str = "probe") -> None:
    """Register a command of a plugin that calls ``function``."""

    class Plugin:
        @hookimpl
        def kitt_register_commands(self, registry: Registry[Command]) -> None:
            registry.add(Command(name=name, load=lambda: click.command(name)(function)))

    plugins.register(Plugin(), "kitt-probe")


def raising(error: BaseException) -> Any:
    def command() -> None:
        raise error

    return command


def loaded_by(*arguments: str) -> set[str]:
    code = (
        "import sys; from kitt_core.cli.app import main; code = main(sys.argv[1:]);"
        "print(*sys.modules, sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("--version",), ("storage", "--help")])
def test_help_imports_no_plugin_and_nothing_heavy(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert loaded.isdisjoint(HEAVY)
    assert not [name for name in loaded if name.startswith("kitt_") and not name.startswith("kitt_core")]


def test_help_imports_no_command() -> None:
    commands = {
        f"kitt_core.cli.{name}" for name in ("run", "storage", "doctor", "plugins", "config", "fingerprint")
    }
    assert loaded_by("--help").isdisjoint(commands)


def test_every_command_that_help_lists_is_there(kitt: Kitt) -> None:
    for name, command in app._COMMANDS.items():
        assert isinstance(command.load(), click.Command), name
        answer = kitt(name, "--help")
        assert answer.code == 0
        assert answer.out.startswith(f"Usage: kitt {name}")


def test_no_command_at_all_is_a_usage_error_that_shows_the_help(kitt: Kitt) -> None:
    answer = kitt()
    assert (answer.code, answer.out) == (2, "")
    assert "Commands:" in answer.err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["stroage"], "no such command: 'stroage'", "did you mean storage?"),
        (["zzz"], "no such command: 'zzz'", "`kitt --help` lists the commands"),
        (["config", "shwo"], "no such command: 'shwo'", "did you mean show?"),
        (["--bakend", "x", "doctor"], "no such option", "did you mean --backend?"),
        (["-O", "nothing", "doctor"], "'nothing' is not KEY=VALUE", "`kitt --help` shows the usage"),
        (["-O", "a=1", "-O", "a=2", "doctor"], "a is given twice", "`kitt --help` shows the usage"),
        (
            ["doctor", "--backend", "x"],
            "no such option",
            "--backend goes before the command: kitt --backend … doctor",
        ),
        (
            ["storage", "list", "--backend", "x"],
            "no such option",
            "--backend goes before the command: kitt --backend … storage list",
        ),
        (["run", "-s", "nope"], "no suite 'nope'", "choose one with -s, or leave out -s for quick"),
        (["-q", "-v", "doctor"], "--quiet and --verbose cannot be combined", "give only one of them"),
        (["completion", "tcsh"], "'tcsh'", "`kitt completion --help` shows the usage"),
    ],
)
def test_bad_use_is_two_lines_and_exit_2(kitt: Kitt, arguments: list[str], message: str, hint: str) -> None:
    answer = kitt(*arguments)
    assert (answer.code, answer.out) == (2, "")
    error, cure = answer.err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert cure == f"hint: {hint}"


def test_a_configuration_file_that_is_not_there_is_exit_3(kitt: Kitt) -> None:
    answer = kitt("--config", "missing.toml", "config", "show")
    assert answer.code == 3
    assert answer.err == (
        "error: missing.toml: no such configuration file\nhint: check the path given to --config\n"
    )


def test_a_kitt_error_is_one_line_its_hint_another_and_its_class_the_exit_code(
    kitt: Kitt, plugins: PluginManager
) -> None:
    brings(plugins, raising(StoreUnavailableError("the store is\nlocked", hint="wait")))
    answer = kitt("probe")
    assert (answer.code, answer.out, answer.err) == (4, "", "error: the store is locked\nhint: wait\n")


def test_an_unexpected_error_is_one_line_without_traceback(kitt: Kitt, plugins: PluginManager) -> None:
    brings(plugins, raising(RuntimeError("first\nsecond \x1b[31mred")))
    answer = kitt("probe")
    assert (answer.code, answer.out) == (1, "")
    error, hint = answer.err.splitlines()
    assert error == "error: internal error: RuntimeError: first second \\x1b[31mred"
    assert "KITT_DEBUG=1" in hint


def test_kitt_debug_shows_the_traceback(
    kitt: Kitt, plugins: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITT_DEBUG", "1")
    brings(plugins, raising(KittError("told")))
    answer = kitt("probe")
    assert "Traceback (most recent call last)" in answer.err
    assert answer.err.endswith("error: told\n")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 1, "aborted; nothing was changed"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_what_ends_a_command_early(
    kitt: Kitt, plugins: PluginManager, error: BaseException, code: int, message: str
) -> None:
    brings(plugins, raising(error))
    answer = kitt("probe")
    assert answer.code == code
    assert answer.err.splitlines() == ([f"error: {message}"] if message else [])


def test_ctrl_c_at_a_prompt_is_an_interruption(kitt: Kitt, plugins: PluginManager) -> None:
    def prompt() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise click.Abort from None

    brings(plugins, prompt)
    assert kitt("probe").code == 130


def test_the_return_value_of_a_command_is_the_exit_code(kitt: Kitt, plugins: PluginManager) -> None:
    brings(plugins, lambda: 3, "three")
    brings(plugins, lambda: "text", "text")
    assert kitt("three").code == 3
    assert kitt("text").code == 0


def test_commands_of_plugins_are_listed_by_name_and_never_hide_ours(kitt: Kitt, plugins: PluginManager) -> None:
    brings(plugins, lambda: 0, "probe")
    brings(plugins, raising(RuntimeError("imported")), "doctor")
    answer = kitt("--help")
    assert "  probe        From kitt-probe.\n" in answer.out
    assert answer.out.count("\n  doctor") == 1
    assert kitt("doctor", "--help").code == 0


def test_an_installed_command_is_listed_with_the_description_of_its_distribution() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "kitt_core", "--help"], capture_output=True, text=True, check=True
    )
    page = " ".join(listed.stdout.split())
    declared = entry_points(group="kitt.commands")
    assert declared
    for entry in declared:
        assert entry.dist is not None
        assert f"{entry.name} {metadata(entry.dist.name)['Summary']}" in page


def test_a_command_of_a_plugin_says_in_the_list_what_it_is(kitt: Kitt, plugins: PluginManager) -> None:
    class Plugin:
        @hookimpl
        def kitt_register_commands(self, registry: Registry[Command]) -> None:
            load = raising(AssertionError("the page needs no command"))
            registry.add(Command(name="shelf", load=load, summary="Tidies the shelf."))

    plugins.register(Plugin(), "kitt-shelf")
    assert "  shelf        Tidies the shelf.\n" in kitt("--help").out


def test_a_plugin_that_cannot_be_imported_costs_the_list_one_line(
    kitt: Kitt, plugins: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(kind: object, name: str) -> Command:
        raise PluginError(f"command {name} of kitt-shelf failed to load: ImportError: no shelf")

    monkeypatch.setattr(plugins, "names", lambda kind: ["shelf"])
    monkeypatch.setattr(plugins, "find", broken)
    answer = kitt("--help")
    assert answer.code == 0
    assert "shelf        Not available: command shelf of kitt-shelf failed to load" in answer.out


def test_a_plugin_command_that_does_not_load_is_an_error(kitt: Kitt) -> None:
    assert kitt("probe").err.startswith("error: no such command: 'probe'")


def logs(kitt: Kitt, plugins: PluginManager, *flags: str) -> list[str]:
    def command() -> None:
        for name in ("kitt_core.probe", "kitt_shelf", "urllib3", "kittens"):
            logger = logging.getLogger(name)
            logger.debug("%s debugs", name)
            logger.info("%s informs", name)
            logger.warning("%s warns", name)
            logger.error("%s fails", name)

    brings(plugins, command)
    lines: list[str] = kitt(*flags, "probe").err.splitlines()
    return lines


def test_warnings_of_kitt_and_its_plugins_are_shown(kitt: Kitt, plugins: PluginManager) -> None:
    assert logs(kitt, plugins) == [
        "warning: kitt_core.probe warns",
        "warning: kitt_core.probe fails",
        "warning: kitt_shelf warns",
        "warning: kitt_shelf fails",
    ]


def test_verbosity(kitt: Kitt, plugins: PluginManager) -> None:
    assert logs(kitt, plugins, "-q") == ["warning: kitt_core.probe fails", "warning: kitt_shelf fails"]


@pytest.mark.parametrize(("flags", "lines"), [(["-v"], 6), (["-vv"], 8), (["-v", "-v"], 8)])
def test_more_verbosity(kitt: Kitt, plugins: PluginManager, flags: list[str], lines: int) -> None:
    shown = logs(kitt, plugins, *flags)
    assert len(shown) == lines
    assert "info: kitt_shelf informs" in shown


def test_logging_is_as_before_afterwards(kitt: Kitt, plugins: PluginManager) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    logs(kitt, plugins, "-vv")
    assert (root.level, list(root.handlers)) == before


def test_a_logged_exception_is_part_of_the_line(kitt: Kitt, plugins: PluginManager) -> None:
    def command() -> None:
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("kitt_core").exception("it failed")

    brings(plugins, command)
    assert kitt("probe").err == "warning: it failed: ValueError: why\n"


def test_v_says_which_configuration_file_is_used(kitt: Kitt) -> None:
    Path("kitt.toml").write_text('backend = "memory:"\n')
    assert f"info: configuration from {Path.cwd() / 'kitt.toml'}" in kitt("-v", "config", "show").err


def test_what_the_system_refuses_is_no_internal_error(kitt: Kitt, plugins: PluginManager) -> None:
    brings(plugins, raising(PermissionError(errno.EACCES, "Permission denied", "/some/file")))
    answer = kitt("probe")
    assert answer.code == 2
    assert answer.err.splitlines()[0] == "error: /some/file: Permission denied"


def test_output_is_utf8_whatever_the_locale() -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    Path("kitt.toml").write_text('[run]\nmodel = "modèle"\n', encoding="utf-8")
    command = [sys.executable, "-m", "kitt_core", "config", "show"]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert "run.model\tmodèle\t" in done.stdout.decode()


def test_main_works_in_a_thread(kitt: Kitt, plugins: PluginManager) -> None:
    brings(plugins, lambda: 7)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(kitt("probe").code))
    thread.start()
    thread.join()
    assert codes == [7]


def test_completion_offers_commands_and_installed_backends() -> None:
    def completed(words: str, position: int) -> list[str]:
        environment = {
            **os.environ,
            "_KITT_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
        }
        command = [sys.executable, "-m", "kitt_core"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return [line.partition(",")[2] for line in done.stdout.split()]

    assert completed("kitt fing", 1) == ["fingerprint"]
    assert "memory" in completed("kitt --backend me", 2)
    assert completed("kitt plugins sh", 2) == ["show"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script(kitt: Kitt, shell: str) -> None:
    answer = kitt("completion", shell)
    assert answer.code == 0
    assert "_KITT_COMPLETE" in answer.out


def test_a_lazy_command_is_imported_when_it_is_loaded() -> None:
    assert LazyCommand("kitt_core.cli.doctor:doctor", "").load().name == "doctor"
    with pytest.raises(ModuleNotFoundError):
        LazyCommand("kitt_core.cli.nothing:here", "").load()
