from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from kitt_core import open_store
from kitt_core.config import kitt_home
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import PluginManager, Registry
from kitt_core.storage import StorageBackend
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import MINIMAL

from .conftest import Kitt


@frozen
class Options:
    path: str = field(default="default.db", metadata={"target": "path", "env": "SHELF_PATH"})
    dsn: str | None = field(default=None, metadata={"secret": True, "env": "SHELF_DSN"})
    timeout: float = 5.0


class Shelf:
    @hookimpl
    def kitt_register_storage(self, registry: Registry[StorageBackend]) -> None:
        registry.add(StorageBackend(name="shelf", open=lambda _: MemoryStore(), options=Options))


def shown(kitt: Kitt, *flags: str) -> dict[str, tuple[object, str]]:
    answer = kitt(*flags, "config", "show", "--format", "json")
    assert answer.code == 0
    return {row["key"]: (row["value"], row["origin"]) for row in json.loads(answer.out)}


@pytest.fixture(autouse=True)
def shelf(plugins: PluginManager) -> None:
    plugins.register(Shelf())


def test_every_value_has_its_origin(kitt: Kitt, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    user = home / "config.toml"
    user.write_text('backend = "shelf"\n[backends.shelf]\ntimeout = 9.5\n[run]\nsuite = "performance"\n')
    project = Path.cwd() / "kitt.toml"
    project.write_text('[run]\nmodel = "tiny"\n')
    monkeypatch.setenv("SHELF_PATH", "env.db")
    found = shown(kitt)
    assert found["home"] == (str(home), "KITT_HOME")
    assert found["backend"] == ("shelf", str(user))
    assert found["backends.shelf.path"] == ("env.db", "SHELF_PATH")
    assert found["backends.shelf.timeout"] == (9.5, str(user))
    assert found["run.suite"] == ("performance", str(user))
    assert found["run.model"] == ("tiny", str(project))
    assert found["run.results_dir"] == ("kitt-results", "default")


def test_flags_win(kitt: Kitt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITT_BACKEND", "memory")
    found = shown(kitt, "--backend", "shelf:///flag.db", "-O", "timeout=1")
    assert found["backend"] == ("shelf:///flag.db", "flag")
    assert found["backends.shelf.path"] == ("flag.db", "flag")
    assert found["backends.shelf.timeout"] == ("1", "flag")


def test_secrets_are_hidden_wherever_they_stand(kitt: Kitt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELF_DSN", "host=h password=hunter2")
    monkeypatch.setenv("KITT_RUN_BASE_URL", "http://me:hunter3@host/v1")
    answer = kitt("--backend", "shelf://me:hunter4@host/x", "config", "show")
    assert "hunter" not in answer.out + answer.err
    assert shown(kitt, "--backend", "shelf")["backends.shelf.dsn"] == ("***", "SHELF_DSN")


def test_a_backend_that_is_not_there_is_a_warning_here(kitt: Kitt) -> None:
    answer = kitt("--backend", "nothing", "config", "show")
    assert answer.code == 0
    assert "warning: the backend's options cannot be shown: no backend 'nothing'" in answer.err
    assert "backend\tnothing\tflag\n" in answer.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backnd = 1", "unknown key 'backnd'"),
        ("[run\n", "not TOML"),
        ("[run]\nmodle = 'x'", "unknown key 'modle'"),
    ],
)
def test_a_file_that_cannot_be_used_is_exit_2(kitt: Kitt, text: str, message: str) -> None:
    Path("kitt.toml").write_text(text)
    answer = kitt("config", "show")
    assert answer.code == 2
    assert message in answer.err.splitlines()[0]
    assert str(Path.cwd() / "kitt.toml") in answer.err


def test_a_password_in_the_place_of_the_dsn_is_hidden(kitt: Kitt, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kitt_postgres")
    monkeypatch.setenv("KITT_DB_DSN", "hunter2")
    answer = kitt("config", "show", installed=True)
    assert answer.code == 0
    assert "hunter2" not in answer.out + answer.err
    assert "backends.postgres.dsn\t***\tKITT_DB_DSN" in answer.out
    assert (
        "hunter2" not in kitt("--backend", "postgres", "-O", "dsn=hunter2", "config", "show", installed=True).out
    )


@pytest.mark.parametrize(
    ("target", "option"),
    [
        ("./~/x.db", None),
        ("sqlite:///./~/x.db", None),
        ("json:///./~/x.db", None),
        ("sqlite", "./~/x.db"),
        ("json", "./~/x.db"),
    ],
)
def test_a_tilde_means_the_home_directory_only_at_the_beginning(
    target: str, option: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "work/~").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KITT_HOME", "./~/kitt")
    monkeypatch.chdir(tmp_path / "work")
    assert kitt_home() == Path("~/kitt")
    options: dict[str, Any] = {} if option is None else {"path": option}
    with open_store(target, **options) as store:
        store.save_result(MINIMAL)
    assert list((tmp_path / "home").iterdir()) == []
    assert [path.name for path in Path("~").iterdir()] == ["x.db"]
