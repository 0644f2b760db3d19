from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from kitt_core import open_store
from kitt_core.cli.app import main
from kitt_core.cli.invocation import State
from kitt_core.errors import StoreUnavailableError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager, Registry
from kitt_core.runs import Attachment, CheckedRun
from kitt_core.service.transfer import copying
from kitt_core.storage import ResultStore, StorageBackend
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import as_bytes, small

Kitt = Callable[..., Any]
Make = Callable[..., bytes]


def documents(uri: str) -> dict[str, bytes]:
    with open_store(uri) as store:
        return {run.id: run.document for run in store.scan()}


@pytest.mark.parametrize("to", ["json:///.", "json:///new/directory", "sqlite:///copy.db", "copy.db"])
def test_all_runs_are_copied_and_the_second_time_none(kitt: Kitt, stored: list[str], to: str) -> None:
    first, again = kitt("copy", "--to", to), kitt("copy", "--to", to)
    assert (first.code, again.code) == (0, 0)
    assert first.err.startswith("3 copied, 0 already there, 0 failed (runs.db to ")
    assert again.err.startswith("0 copied, 3 already there, 0 failed (runs.db to ")
    assert first.out == again.out == b""
    assert documents(to) == documents("runs.db")
    assert set(documents(to)) == set(stored)


@pytest.mark.parametrize("source", ["sqlite:///missing.db", "json:///missing", "karr:///missing"])
@pytest.mark.parametrize("command", [("copy", "--to", "sqlite:///new.db"), ("backup", "new.tar.gz")])
def test_what_is_not_there_is_not_carried_and_not_made(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    command: Sequence[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["--backend", source, "storage", *command]) == 4
    error, hint = capsys.readouterr().err.splitlines()
    assert "does not exist, so there are no runs to read from it" in error
    assert hint.startswith("hint: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_filters_say_which_runs(kitt: Kitt, stored: list[str]) -> None:
    outcome = kitt("copy", "--to", "json:///.", "--engine", "vllm", "--where", "avg_tps>40")
    assert outcome.code == 0
    assert set(documents("json:///.")) == {stored[1]}
    nothing = kitt("copy", "--to", "json:///other", "--model", "nothing")
    assert (nothing.code, nothing.err) == (0, "0 copied: no run in runs.db matches\n")
    assert not Path("other").exists()


def test_the_numbers_can_be_had_as_data(kitt: Kitt, stored: list[str]) -> None:
    assert kitt("copy", "--to", "json:///.", "--format", "json").json == {
        "copied": 3,
        "present": 0,
        "failed": [],
        "unread": 0,
        "files_left": 0,
        "unfit": 0,
    }
    assert kitt("copy", "--to", "json:///.", "-o", "report.csv", "--format", "csv").out == b""
    assert Path("report.csv").read_text().splitlines()[1].startswith("0,3,")


def test_quiet_says_nothing(kitt: Kitt, stored: list[str], capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["-q", "--backend", "runs.db", "storage", "copy", "--to", "json:///."]) == 0
    assert capsysbinary.readouterr() == (b"", b"")


def test_a_run_that_fails_is_named_and_exits_with_1(kitt: Kitt, stored: list[str], document: Make) -> None:
    with open_store("json:///.") as store:
        store.save_result(document("org/other"), run_id=stored[1])
    outcome = kitt("copy", "--to", "json:///.", "--format", "json")
    assert outcome.code == 1
    error, hint, note = outcome.err.splitlines()
    assert error.startswith(f"error: run {stored[1]}: it is already in ")
    assert ", with other content" in error
    assert hint.startswith("hint: nothing is overwritten")
    assert note.startswith("2 copied, 0 already there, 1 failed")
    assert outcome.json["failed"][0]["id"] == stored[1]
    assert documents("json:///.")[stored[1]] == document("org/other")


def test_the_only_run_that_fails_tells_by_its_exit_code(kitt: Kitt, stored: list[str], document: Make) -> None:
    with open_store("json:///.") as store:
        store.save_result(document("org/other"), run_id=stored[1])
    assert kitt("copy", "--to", "json:///.", "--model", "org/b").code == 5


def test_documents_that_import_refuses_are_copied_and_told(kitt: Kitt) -> None:
    with open_store("sqlite:///runs.db") as store:
        store.save_result(b"{}", run_id="empty", strict=False)
        store.save_result(b'{"model": 1, "engine": "e"}', run_id="odd", strict=False)
    outcome = kitt("copy", "--to", "json:///.")
    assert outcome.code == 0
    assert "1 run copied with fields that do not fit: empty in listings, complete in the documents" in outcome.err
    assert documents("json:///.") == {"empty": b"{}", "odd": b'{"model": 1, "engine": "e"}'}


@pytest.mark.parametrize(
    "command", [("copy", "--to", "sqlite:///c.db"), ("import", "kitt-results"), ("restore", "b.tar.gz")]
)
def test_files_that_stay_behind_are_said_whatever_brings_the_runs(
    home: Path, document: Make, capsys: pytest.CaptureFixture[str], command: Sequence[str]
) -> None:
    files = [Attachment(name, 1, lambda: io.BytesIO(b"1")) for name in ("a", "b")]
    with open_store("json:///.") as store:
        store.save_result(document(), attachments=files)
    assert main(["--backend", "json:///.", "storage", "backup", "b.tar.gz"]) == 0
    source = "json:///." if command[0] == "copy" else "sqlite:///c.db"
    capsys.readouterr()
    for _ in range(2):  # also of a run that is there already
        assert main(["--backend", source, "storage", *command]) == 0
        note, _ = capsys.readouterr().err.splitlines()
        assert note == "2 attachments left out: c.db keeps documents only"
    assert main(["--backend", source, "storage", *command, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["files_left"] == 2
    there = ["copy", "--to", "json:///there"] if command[0] == "copy" else command
    assert main(["--backend", "json:///." if command[0] == "copy" else "json:///there", "storage", *there]) == 0
    assert "left out" not in capsys.readouterr().err
    assert len(list(Path("there").glob("kitt-results/*/*/*/outputs/*"))) == 2


@pytest.mark.parametrize("to", ["runs.db", "sqlite:///./runs.db", "link.db", "sqlite:///{here}/runs.db"])
def test_a_store_is_not_copied_into_itself(kitt: Kitt, stored: list[str], tmp_path: Path, to: str) -> None:
    Path("link.db").symlink_to("runs.db")
    outcome = kitt("copy", "--to", to.format(here=tmp_path))
    assert outcome.code == 2
    assert outcome.err.splitlines()[0].startswith("error: ")
    assert "copy from" in outcome.err.splitlines()[0]
    assert outcome.err.splitlines()[1].startswith("hint: name another")
    assert len(outcome.err.splitlines()) == 2


def test_a_tree_is_not_copied_into_itself(
    kitt: Kitt, document: Make, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with open_store("json:///.") as store:
        store.save_result(document())
    for to in ("json:///.", "json:///kitt-results", "json:///kitt-results/below", "sqlite:///kitt-results/a.db"):
        assert main(["--backend", "json:///.", "storage", "copy", "--to", to]) == 2
        assert "copy from" in capsysbinary.readouterr().err.decode()
    assert not list(Path("kitt-results").glob("below*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing option '--to'"),
        (["--to", ""], "--to is empty"),
        (["--to", "nope://user:secret@host/x"], "no backend 'nope'"),
        (["--to", "nope"], "no backend 'nope'"),
        (["--to", "sqlite:///c.db", "--to-option", "path=d.db"], "the store is named twice"),
        (["--to", "sqlite:///c.db", "--to-option", "busy_timeot=1"], "has no option 'busy_timeot'"),
        (["--to", "sqlite:///c.db", "--to-option", "x"], "'x' is not KEY=VALUE"),
        (["--to", "c.db", "-o", "c.db", "--format", "json"], "it belongs to the store"),
        (["--to", "c.db", "-o", "runs.db", "--format", "json"], "it belongs to the store"),
        (["--to", "c.db", "--where", "x"], "condition"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_2(
    kitt: Kitt, stored: list[str], arguments: list[str], said: str
) -> None:
    outcome = kitt("copy", *arguments)
    assert outcome.code == 2
    assert said in outcome.err.splitlines()[0]
    assert len(outcome.err.splitlines()) <= 2
    assert "secret" not in outcome.err
    assert not Path("c.db").exists()


@pytest.mark.parametrize("to", ["sqlite:///no.db", "json:///file"])
def test_a_target_that_is_no_store_exits_with_4(kitt: Kitt, stored: list[str], to: str) -> None:
    Path("no.db").write_bytes(b"no database" * 100)
    Path("file").touch()
    outcome = kitt("copy", "--to", to)
    assert outcome.code == 4
    assert len(outcome.err.splitlines()) == 2


def test_options_of_the_target_come_from_flags_environment_and_files(
    kitt: Kitt, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kitt("copy", "--to", "sqlite", "--to-option", "path=flag.db").code == 0
    monkeypatch.setenv("KITT_DB_PATH", "environment.db")
    assert kitt("copy", "--to", "sqlite").code == 0
    monkeypatch.delenv("KITT_DB_PATH")
    Path("kitt.toml").write_text('[backends.sqlite]\npath = "file.db"\n')
    assert kitt("copy", "--to", "sqlite").code == 0
    for name in ("flag.db", "environment.db", "file.db"):
        assert set(documents(name)) == set(stored)


# A backend that stands for a server.


@frozen
class ServerOptions:
    dsn: str = field(default="", metadata={"env": "KITT_DB_DSN", "target": "uri"})
    pool_size: int = 5


class Server(MemoryStore):
    """Goes away when it is full."""

    room = 1000

    def write_runs(self, checked: Sequence[CheckedRun]) -> None:
        if len(self._runs) + len(checked) > self.room:
            raise StoreUnavailableError("postgresql://host/db cannot be reached", hint="try again")
        super().write_runs(checked)

    def close(self) -> None:
        """What a server holds stays."""


class Servers:
    """Brings the backend, and keeps its stores by what opened them."""

    def __init__(self) -> None:
        self.stores: dict[str, Server] = {}

    @hookimpl
    def kitt_register_storage(self, registry: Registry[StorageBackend]) -> None:
        registry.add(
            StorageBackend(name="server", open=self._open, options=ServerOptions, schemes=("postgresql",))
        )

    def _open(self, options: ServerOptions) -> ResultStore:
        return self.stores.setdefault(options.dsn, Server())


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    monkeypatch.setattr(copying, "_MOST_WRITTEN", 10)
    return Servers()


def call(servers: Servers, *arguments: str) -> int:
    plugins = PluginManager(disabled={"kitt-postgres"})
    plugins.register(servers, "servers")
    state = State()
    state.plugins = plugins
    return main(list(arguments), state=state)


def test_the_environment_says_which_server(
    kitt: Kitt, stored: list[str], servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITT_DB_DSN", "host=h password=secret")
    assert call(servers, "--backend", "runs.db", "storage", "copy", "--to", "server") == 0
    assert servers.stores["host=h password=secret"].count() == 3


def test_the_same_server_is_not_copied_into_itself(
    servers: Servers, kitt: Kitt, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    uri = "postgresql://user:secret@host/db"
    assert call(servers, "--backend", uri, "storage", "copy", "--to", uri) == 2
    said = capsysbinary.readouterr().err.decode()
    assert said.startswith("error: the store to copy to is the one to copy from\nhint: ")
    assert "secret" not in said


def test_a_server_that_goes_away_exits_with_4_and_says_how_far_it_came(
    servers: Servers, kitt: Kitt, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with open_store("sqlite:///runs.db", synchronous="OFF") as store:
        for i in range(35):
            store.save_result(small(i), run_id=f"run-{i:02}")
    uri = "postgresql://user:secret@host/db"
    servers.stores[uri] = server = Server()
    server.save_result(b'{"model": "other", "engine": "e"}', run_id="run-03")
    server.room = 25
    command = ("--backend", "runs.db", "storage", "copy", "--to", uri)
    assert call(servers, *command) == 4
    said = capsysbinary.readouterr().err.decode().splitlines()
    assert said[0].startswith("error: run run-03: ")
    assert said[2:] == [
        "20 copied, 0 already there, 1 failed so far; run the same command again to continue",
        "error: postgresql://host/db cannot be reached",
        "hint: try again",
    ]
    server.room = 100
    assert call(servers, *command) == 1
    assert "14 copied, 20 already there, 1 failed" in capsysbinary.readouterr().err.decode()
    assert server.count() == 35


def test_a_terminal_shows_how_far_it_is(
    kitt: Kitt, stored: list[str], terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redirect_stderr(terminal):
        assert main(["--backend", "runs.db", "storage", "copy", "--to", "json:///."]) == 0
    assert "Copying" in terminal.text()
    assert "3/3" in terminal.text()


def directories() -> list[str]:
    """Return what others would take for runs; `os.walk` minds nothing that goes meanwhile."""
    return [
        name for name, _, files in os.walk("kitt-results") if "metrics.json" in files and "/.kitt-" not in name
    ]


def test_an_interrupted_copy_says_how_far_it_came_and_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///runs.db", synchronous="OFF") as store:
        for i in range(250):
            store.save_result(as_bytes(small(i)), run_id=f"run-{i:03}")
    command = [sys.executable, "-m", "kitt_core", "--backend", "runs.db", "storage", "copy", "--to", "json:///."]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        deadline = time.monotonic() + 180
        while len(directories()) <= 100 and time.monotonic() < deadline:  # more than are written together
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    so_far, last = said.splitlines()
    assert so_far.endswith(" failed so far; run the same command again to continue")
    assert last == "error: interrupted"
    done = subprocess.run([*command, "--format", "json"], capture_output=True, check=True)
    report = json.loads(done.stdout)
    assert report["copied"] + report["present"] == 250
    assert report["present"] > 0
    assert documents("json:///.") == documents("runs.db")
