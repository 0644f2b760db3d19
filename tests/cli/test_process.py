"""What surrounds the command line: signals, streams, the account, the working directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from .conftest import Kitt

SLEEPER = """
import signal, sys, time
import click
from kitt_core.cli.app import main
from kitt_core.cli.invocation import State
from kitt_core.plugins import Command
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager

def sleep():
    print("ready", flush=True)
    time.sleep(60)

class Plugin:
    @hookimpl
    def kitt_register_commands(self, registry):
        registry.add(Command(name="sleep", load=lambda: click.command("sleep")(sleep)))

# Whatever the tests were started by: `nohup` and `&` leave signals ignored, and children inherit that.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, signal.SIG_IGN if number.name in sys.argv else usual)
state = State()
state.plugins = PluginManager(autoload=False)
state.plugins.register(Plugin())
sys.exit(main(["sleep"], state=state))
"""


@pytest.mark.parametrize(
    ("number", "ignored", "code"),
    [
        (signal.SIGINT, "", 130),
        (signal.SIGTERM, "", 143),
        (signal.SIGTERM, "SIGINT", 143),
        (signal.SIGHUP, "", 129),
    ],
)
def test_signals_end_a_command_with_their_exit_code(
    spawn: Callable[..., subprocess.Popen[str]], number: signal.Signals, ignored: str, code: int
) -> None:
    process = spawn(
        [sys.executable, "-c", SLEEPER, ignored], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=180)
    assert (process.returncode, err.strip()) == (code, "error: interrupted")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(spawn: Callable[..., subprocess.Popen[str]], unbuffered: str) -> None:
    command = [sys.executable, "-m", "kitt_core", "plugins", "list"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    process = spawn(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=180) == 141


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_one_line(unbuffered: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = [sys.executable, "-m", "kitt_core", "plugins", "list"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: standard output cannot be written: No space left on device"
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("unbuffered", "what"), [("", "standard output cannot be written"), ("1", "input or output failed")]
)
def test_a_full_disk_behind_a_help_page_is_one_line(unbuffered: str, what: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = [sys.executable, "-m", "kitt_core", "--help"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"error: {what}: No space left on device"
    assert "Traceback" not in done.stderr


LIST = ["plugins", "list"]
INIT = ["--backend=sqlite:///runs.db", "storage", "init"]
IMPORT = ["--backend=memory:", "storage", "import", "-"]
RESTORE = ["--backend=memory:", "storage", "restore", "-"]
NO_OUTPUT = "error: standard output cannot be written: Bad file descriptor"


@pytest.mark.parametrize(
    ("closed", "arguments", "code", "error", "unbuffered"),
    [
        (">&-", ["--help"], 2, NO_OUTPUT, ""),
        (">&-", LIST, 2, NO_OUTPUT, ""),
        (">&-", LIST, 2, NO_OUTPUT, "1"),
        (">&-", ["nothing"], 2, "error: no such command: 'nothing'", ""),
        (">&-", INIT, 0, "runs.db is ready, schema version 13", ""),
        ("2>&-", LIST, 0, None, ""),
        ("2>&-", ["nothing"], 2, None, ""),
        ("2>&-", ["nothing"], 2, None, "1"),
        ("2>&-", INIT, 0, None, "1"),
        ("2>/dev/full", ["nothing"], 2, None, ""),
        ("<&-", IMPORT, 3, "error: -: standard input is closed or can't be read, expected a file or a pipe", ""),
        ("<&-", RESTORE, 3, "error: standard input is closed or can't be read, expected a file or a pipe", ""),
        ("<&-", LIST, 0, None, ""),
        (">&- 2>&- <&-", LIST, 2, None, "1"),
        (">&- 2>&- <&-", INIT, 0, None, ""),
    ],
)  # fmt: skip
def test_closed_streams(closed: str, arguments: list[str], code: int, error: str | None, unbuffered: str) -> None:
    if "sqlite:///runs.db" in "".join(arguments):
        pytest.importorskip("kitt_sqlite")
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "kitt_core", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.splitlines()[:1]) == (code, [error] if error else [])
    if "init" in arguments:  # nothing was printed into the file that got a closed stream's number
        assert Path("runs.db").read_bytes().startswith(b"SQLite format 3\0")


INTERRUPTED_IMPORT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "kitt_core.cli.app":
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, Finder())
sys.argv = ["kitt", "--version"]
from kitt_core.__main__ import main
sys.exit(main())
"""


def test_ctrl_c_while_the_command_line_is_imported_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_the_installed_program_begins_where_ctrl_c_is_handled() -> None:
    (script,) = entry_points(group="console_scripts", name="kitt")
    assert script.value == "kitt_core.__main__:main"
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, kitt_core.__main__; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not [name for name in loaded.stdout.split() if name.startswith(("kitt_core.cli", "click"))]


HOMELESS = """
import pwd, sys

def getpwuid(uid):
    raise KeyError(uid)

pwd.getpwuid = getpwuid
from kitt_core.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["plugins", "list"], 0), (["--backend=sqlite:///runs.db", "storage", "list"], 0), (["storage", "list"], 2)],
)
def test_an_account_without_a_home(arguments: list[str], code: int) -> None:
    pytest.importorskip("kitt_sqlite")
    environment = {name: value for name, value in os.environ.items() if name not in {"HOME", "KITT_HOME"}}
    command = [sys.executable, "-c", HOMELESS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    error = "error: your home directory is not known\nhint: set KITT_HOME to a directory\n" if code else ""
    assert (done.returncode, done.stderr) == (code, error)


def test_a_home_of_nobody_and_a_directory_that_was_removed(
    kitt: Kitt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert kitt("plugins", "list").code == 0
    assert kitt("fingerprint", "-o", "x.json").code == 2
    pytest.importorskip("kitt_sqlite")
    assert kitt(f"--backend=sqlite:///{tmp_path}/runs.db", "storage", "list", installed=True).code == 0
    for backend, error in (
        ("json:///.", "error: . is relative, but the current directory no longer exists"),
        ("sqlite:///x.db", "error: x.db cannot be used: No such file or directory"),
    ):
        answer = kitt(f"--backend={backend}", "storage", "list", installed=True)
        assert (answer.code, answer.err.splitlines()[0]) == (4, error)
    monkeypatch.setenv("KITT_HOME", "~no-such-user/x")
    assert kitt("plugins", "list").code == 0
    answer = kitt("config", "show")
    assert answer.code == 2
    assert answer.err.startswith("error: KITT_HOME is '~no-such-user/x', but there is no such home directory\n")
