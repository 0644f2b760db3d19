from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from kitt_core.engine import Engine, EngineSession
from kitt_core.errors import StoreUnavailableError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager, Registry
from kitt_core.runs import SchemaState, SchemaStatus
from kitt_core.storage import StorageBackend
from kitt_core.storage.memory import MemoryStore

from .conftest import Answer, Kitt


@frozen
class NoOptions:
    pass


class Store(MemoryStore):
    status = SchemaStatus(version=12, newest=12, size_bytes=4096)
    error: Exception | None = None

    def schema_status(self) -> SchemaStatus:
        if self.error is not None:
            raise self.error
        return self.status


@pytest.fixture
def store(plugins: PluginManager, monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()

    class Plugin:
        @hookimpl
        def kitt_register_storage(self, registry: Registry[StorageBackend]) -> None:
            registry.add(StorageBackend(name="one", open=lambda _: store, options=NoOptions))

    plugins.register(Plugin())
    monkeypatch.setenv("KITT_BACKEND", "one")
    return store


def findings(answer: Answer) -> dict[str, dict[str, Any]]:
    return {found["check"]: found for found in json.loads(answer.out)}


def test_a_healthy_place_is_exit_0(kitt: Kitt, store: Store) -> None:
    answer = kitt("doctor", "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    found = findings(answer)
    assert set(found) >= {"kitt-core", "python", "platform", "sqlite", "libraries", "home", "store", "results"}
    assert {row["state"] for row in found.values()} == {"ok"}
    assert found["store"]["finding"] == (
        "one (from KITT_BACKEND): memory:, schema current, version 12 of 12, 4096 bytes"
    )


@pytest.mark.parametrize(
    ("state", "code", "shown", "hint"),
    [
        (SchemaState.MISSING, 0, "ok", "`kitt storage init` prepares it"),
        (SchemaState.OLD, 0, "warning", "`kitt storage migrate` upgrades it"),
        (SchemaState.NEW, 4, "error", "upgrade kitt-core"),
        (SchemaState.FOREIGN, 4, "error", "name another store with --backend"),
    ],
)
def test_the_stores_schema(kitt: Kitt, store: Store, state: SchemaState, code: int, shown: str, hint: str) -> None:
    store.status = SchemaStatus(version=None, newest=12, state=state, notes=("a note",))
    answer = kitt("doctor", "--format", "json")
    found = findings(answer)["store"]
    assert (answer.code, found["state"], found["hint"]) == (code, shown, hint)
    assert found["finding"].endswith(f"schema {state}; a note")


def test_a_store_that_cannot_be_reached_is_exit_4_and_the_rest_is_shown(kitt: Kitt, store: Store) -> None:
    store.error = StoreUnavailableError("nobody answers", hint="start the server")
    answer = kitt("doctor", "--format", "json")
    assert answer.code == 4
    assert answer.err == "error: store: nobody answers\nhint: start the server\n"
    assert findings(answer)["results"]["state"] == "ok"


def test_a_backend_that_is_not_there_is_exit_2(kitt: Kitt) -> None:
    answer = kitt("--backend", "nothing", "doctor")
    assert answer.code == 2
    assert "store\terror\tno backend 'nothing'" in answer.out


def test_a_broken_configuration_is_a_finding_and_exit_2(kitt: Kitt, store: Store) -> None:
    Path("kitt.toml").write_text("[run\n")
    answer = kitt("doctor", "--format", "json")
    assert answer.code == 2
    assert findings(answer)["configuration"]["state"] == "error"
    assert findings(answer)["platform"]["state"] == "ok"


def test_variables_are_shown_without_secrets(kitt: Kitt, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITT_DB_DSN", "host=h password=hunter2")
    monkeypatch.setenv("KITT_RUN_BASE_URL", "http://me:hunter3@host/v1")
    out = kitt("doctor").out
    assert "hunter" not in out
    assert "KITT_DB_DSN=***" in out
    assert "KITT_RUN_BASE_URL=http://me:***@host/v1" in out


def test_a_results_directory_that_is_a_file_is_a_warning(kitt: Kitt, store: Store) -> None:
    Path("kitt-results").write_text("")
    answer = kitt("doctor", "--format", "json")
    assert answer.code == 0
    assert findings(answer)["results"]["state"] == "warning"


def test_it_makes_nothing(kitt: Kitt, home: Path) -> None:
    pytest.importorskip("kitt_sqlite")
    answer = kitt("doctor", installed=True)
    assert answer.code == 0
    assert not home.exists()
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("backend", ["sqlite", "json:///HOME/x"])
def test_a_store_whose_place_cannot_be_made_is_exit_4(
    kitt: Kitt, home: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    pytest.importorskip("kitt_sqlite")
    monkeypatch.setenv("KITT_BACKEND", backend.replace("HOME", str(home)))
    home.write_text("")
    answer = kitt("doctor", "--format", "json", installed=True)
    found = findings(answer)
    assert (answer.code, found["store"]["state"], found["home"]["state"]) == (4, "error", "warning")
    assert f"cannot be created: {home} is not a directory" in answer.err
    assert kitt("storage", "list", installed=True).code == 4 or backend != "sqlite"


def test_a_home_that_may_not_be_written_is_exit_4(kitt: Kitt, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kitt_sqlite")
    home.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != home and access(path, mode))
    answer = kitt("doctor", "--format", "json", installed=True)
    assert answer.code == 4
    assert f"cannot be created: {home} is not writable" in answer.err


def test_a_store_that_may_only_be_read_is_a_warning(
    kitt: Kitt, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kitt_sqlite")
    assert kitt("storage", "init", installed=True).code == 0
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "kitt.db" and access(path, mode))
    answer = kitt("doctor", "--format", "json", installed=True)
    found = findings(answer)["store"]
    assert (answer.code, found["state"]) == (0, "warning")
    assert found["finding"].endswith("kitt.db is not writable")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("suite = 'nope'", "run: no suite 'nope'"),
        ("engine = 'nope'", "run: no engine 'nope'"),
        ("engine = 'echo'\n[engines.echo]\nanswers = 'many'", "run: option answers of engine echo is 'many'"),
        ("results_dir = '~no-such-user/x'", "results: '~no-such-user/x'"),
    ],
)
def test_what_run_could_not_use_is_exit_2(
    kitt: Kitt, plugins: PluginManager, store: Store, table: str, message: str
) -> None:
    class Plugin:
        @hookimpl
        def kitt_register_engine(self, registry: Registry[Engine]) -> None:
            registry.add(Engine(name="echo", open=never, options=EchoOptions))

    plugins.register(Plugin())
    Path("kitt.toml").write_text(f"[run]\n{table}\n")
    answer = kitt("doctor", "--format", "json")
    assert answer.code == 2
    assert answer.err.startswith(f"error: {message}")
    assert findings(answer)["store"]["state"] == "ok"


@frozen
class EchoOptions:
    answers: int = 1


async def never(options: Any) -> EngineSession:
    raise AssertionError("doctor opens no engine")


def test_a_home_of_nobody_is_a_finding(kitt: Kitt, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITT_HOME", "~no-such-user/x")
    answer = kitt("doctor", "--format", "json")
    assert answer.code == 2
    assert findings(answer)["home"]["state"] == "warning"
    assert findings(answer)["platform"]["state"] == "ok"
