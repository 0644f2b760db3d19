"""`open_store`: every form of a target."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from kitt_core import open_store
from kitt_core.config import Configuration
from kitt_core.errors import ConfigurationError, PluginError
from kitt_core.hookspecs import hookimpl
from kitt_core.opening import select_store
from kitt_core.plugins import PluginManager, Registry
from kitt_core.storage import ResultStore, StorageBackend
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import MINIMAL


@attrs.frozen
class ShelfOptions:
    path: str = attrs.field(default="default", metadata={"target": "path", "env": "SHELF_PATH"})
    wait: float = attrs.field(default=1.0, metadata={"env": "SHELF_WAIT"})


@attrs.frozen
class UriOptions:
    dsn: str | None = attrs.field(default=None, metadata={"target": "uri", "env": "KITT_DB_DSN"})


class OpenedStore(MemoryStore):
    def __init__(self, name: str, options: object) -> None:
        super().__init__()
        self.opened = (name, options)


def _opener(name: str) -> Callable[[object], ResultStore]:
    return lambda options: OpenedStore(name, options)


class Plugin:
    @hookimpl
    def kitt_register_storage(self, registry: Registry[StorageBackend]) -> None:
        for name, options, schemes in (
            ("shelf", ShelfOptions, ()),
            ("sqlite", ShelfOptions, ()),
            ("postgres", UriOptions, ("postgresql",)),
            ("plain", attrs.make_class("Plain", []), ()),
        ):
            registry.add(
                StorageBackend(
                    name=name,
                    open=_opener(name),
                    options=options,
                    schemes=schemes,
                    recognises=lambda path, name=name: path.suffix == f".{name}",  # type: ignore[misc]
                )
            )


@pytest.fixture
def plugins() -> PluginManager:
    manager = PluginManager(autoload=False)
    manager.register(Plugin())
    return manager


@pytest.fixture(autouse=True)
def _empty_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KITT_BACKEND", "KITT_DB_DSN", "SHELF_PATH", "SHELF_WAIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KITT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def opened(target: object, plugins: PluginManager, **options: object) -> tuple[str, object]:
    with open_store(target, plugins=plugins, **options) as store:  # type: ignore[arg-type]
        assert isinstance(store, OpenedStore)
        return store.opened


@pytest.mark.parametrize(
    ("target", "name", "options"),
    [
        ("shelf", "shelf", ShelfOptions()),
        ("shelf:", "shelf", ShelfOptions()),
        ("shelf:///relative", "shelf", ShelfOptions("relative")),
        ("shelf:///a/b c/d%20e", "shelf", ShelfOptions("a/b c/d%20e")),
        ("shelf:////absolute/x", "shelf", ShelfOptions("/absolute/x")),
        ("postgres", "postgres", UriOptions()),
        ("postgresql://u:p@h:5/db?x=y", "postgres", UriOptions("postgresql://u:p@h:5/db?x=y")),
        ("postgres:///db", "postgres", UriOptions("postgres:///db")),
        ("runs.shelf", "shelf", ShelfOptions("runs.shelf")),
        (Path("deep/runs.sqlite"), "sqlite", ShelfOptions("deep/runs.sqlite")),
    ],
    ids=str,
)
def test_a_target_is_a_name_a_uri_or_a_path(
    plugins: PluginManager, target: object, name: str, options: object
) -> None:
    assert opened(target, plugins) == (name, options)


def test_memory_is_there_without_any_plugin() -> None:
    for target in ("memory:", "memory"):
        with open_store(target) as store:
            assert store.get_document(store.save_result(MINIMAL)) == MINIMAL


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("shelf://relative/x", "has two slashes before its path", "write shelf:///relative/x"),
        ("shelf:///", "has no path", "write shelf:///path or shelf:////path"),
        ("shelf:///x?password=hunter2", "the shelf URI ends in ?key=value", "give options with -O"),
        ("plain:///x", "backend plain takes no path", "write plain:"),
        ("no/such/path", "does not exist", "a new store needs a URI such as sqlite:///runs.db"),
        ("./shelf", "does not exist", "installed: plain, postgres, shelf, sqlite"),
    ],
)
def test_a_target_that_cannot_be_used_has_its_cure(
    plugins: PluginManager, target: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(target, plugins=plugins)
    assert message in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_path_that_nobody_recognises_is_named(plugins: PluginManager, tmp_path: Path) -> None:
    (tmp_path / "runs.txt").write_text("x")
    with pytest.raises(ConfigurationError, match="is not a store that an installed backend recognises"):
        open_store("runs.txt", plugins=plugins)


@pytest.mark.parametrize("target", ["shelv", "shelv:", "shelv:///x"])
def test_an_unknown_backend_is_a_plugin_error(plugins: PluginManager, target: str) -> None:
    with pytest.raises(PluginError, match="no backend 'shelv'") as caught:
        open_store(target, plugins=plugins)
    assert caught.value.hint == "did you mean shelf?"


def test_options_are_those_of_the_backend(plugins: PluginManager) -> None:
    assert opened("shelf", plugins, wait="2.5") == ("shelf", ShelfOptions(wait=2.5))
    assert opened("shelf:///x", plugins, wait=3) == ("shelf", ShelfOptions("x", 3.0))
    with pytest.raises(ConfigurationError, match="backend shelf has no option 'wiat'"):
        open_store("shelf", plugins=plugins, wiat=1)


def test_without_a_target_the_environment_says_which(
    plugins: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened(None, plugins) == ("sqlite", ShelfOptions())
    monkeypatch.setenv("KITT_BACKEND", "shelf")
    monkeypatch.setenv("SHELF_PATH", "from the environment")
    monkeypatch.setenv("SHELF_WAIT", "7")
    assert opened(None, plugins) == ("shelf", ShelfOptions("from the environment", 7.0))
    assert opened(None, plugins, wait=8) == ("shelf", ShelfOptions("from the environment", 8.0))
    monkeypatch.setenv("KITT_BACKEND", "shelf:///named")
    assert opened(None, plugins) == ("shelf", ShelfOptions("named", 7.0))


def test_a_dsn_selects_postgres_by_itself(plugins: PluginManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITT_DB_DSN", "postgresql://h/db")
    assert opened(None, plugins) == ("postgres", UriOptions("postgresql://h/db"))
    monkeypatch.setenv("KITT_DB_DSN", "host=h dbname=db")
    assert opened(None, plugins) == ("postgres", UriOptions("host=h dbname=db"))


def test_without_a_target_the_files_are_read(plugins: PluginManager, tmp_path: Path) -> None:
    (tmp_path / "kitt.toml").write_text('backend = "shelf"\n[backends.shelf]\nwait = 9\npath = "p"\n')
    assert opened(None, plugins) == ("shelf", ShelfOptions("p", 9.0))
    (tmp_path / "kitt.toml").write_text('backend = "shelf"\n[backends.shelf]\nwiat = 9\n')
    with pytest.raises(ConfigurationError, match=r"kitt.toml: shelf has no option 'wiat'"):
        open_store(plugins=plugins)


def test_with_a_target_neither_environment_nor_files_are_read(
    plugins: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kitt.toml").write_text("this is not TOML")
    monkeypatch.setenv("KITT_BACKEND", "postgres")
    monkeypatch.setenv("KITT_DB_DSN", "postgresql://h/db")
    monkeypatch.setenv("SHELF_PATH", "elsewhere")
    monkeypatch.setenv("SHELF_WAIT", "99")
    assert opened("shelf", plugins) == ("shelf", ShelfOptions())
    assert opened("postgres", plugins) == ("postgres", UriOptions())


def test_a_selection_knows_where_each_value_came_from(plugins: PluginManager) -> None:
    configuration = Configuration(environment={"SHELF_WAIT": "4", "SHELF_PATH": "lost"})
    selection = select_store("shelf:///x", {}, configuration, plugins)
    assert selection.target.origin == "flag"
    assert {name: (s.value, s.origin) for name, s in selection.options.items()} == {
        "path": ("x", "flag"),
        "wait": ("4", "SHELF_WAIT"),
    }


def test_a_store_can_be_opened_in_a_thread_and_in_a_running_event_loop(plugins: PluginManager) -> None:
    import asyncio

    names: list[str] = []

    async def inside() -> None:
        names.append(opened("shelf", plugins)[0])

    asyncio.run(inside())
    thread = threading.Thread(target=lambda: names.append(opened("sqlite", plugins)[0]))
    thread.start()
    thread.join()
    assert names == ["shelf", "sqlite"]


@pytest.mark.parametrize("target", ["shelf:runs", "shelf:/runs"])
def test_a_uri_without_its_slashes_is_not_a_new_path(plugins: PluginManager, target: str) -> None:
    with pytest.raises(ConfigurationError, match="too few slashes after shelf:") as caught:
        open_store(target, plugins=plugins)
    assert "shelf:///runs" in (caught.value.hint or "")


def test_a_store_that_is_named_twice_is_refused(plugins: PluginManager) -> None:
    with pytest.raises(ConfigurationError, match="named twice"):
        open_store("shelf:///runs", plugins=plugins, path="others")
