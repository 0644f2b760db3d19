"""Plugins: found by name, imported alone, and unable to hurt anybody else."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path

import pytest

from kitt_core import hookspecs, open_store
from kitt_core.errors import PluginError
from kitt_core.hookspecs import hookimpl
from kitt_core.plugins import EXPORTERS, STORAGE, PluginManager, PluginStatus, loading
from kitt_core.runs import CheckedRun, check_run
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import MINIMAL

from .conftest import Install, backend_source

STORAGE_GROUP = "kitt.storage"


HOOK = "from kitt_core.hookspecs import hookimpl\n@hookimpl\ndef kitt_register_storage"


def status_of(manager: PluginManager, name: str, distribution: str | None = None) -> PluginStatus:
    (status,) = [
        status
        for status in manager.statuses()
        if status.name == name and distribution in (None, status.distribution)
    ]
    return status


def install_backend(install: Install, name: str = "shelf", **changes: str) -> None:
    install(
        f"kitt-{name}", {f"kitt_{name}": backend_source(name, **changes)}, {STORAGE_GROUP: {name: f"kitt_{name}"}}
    )


def assert_others_work(manager: PluginManager) -> None:
    assert isinstance(manager.find(STORAGE, "memory").open(None), MemoryStore)
    assert "memory" in [record.name for record in manager.all(STORAGE)]


def test_a_plugin_is_found_by_its_entry_points_name(install: Install) -> None:
    install_backend(install, summary="Runs in a shelf.")
    manager = PluginManager()
    record = manager.find(STORAGE, "shelf")
    assert record.name == "shelf"
    assert manager.owner(STORAGE, "shelf") == "kitt-shelf"
    assert status_of(manager, "shelf") == PluginStatus(
        "backend", "shelf", "kitt-shelf", "1.0", "loaded", "Runs in a shelf."
    )


def test_only_the_plugin_asked_for_is_imported(install: Install) -> None:
    install_backend(install, "wanted")
    install("kitt-other", {"kitt_other": "raise AssertionError"}, {STORAGE_GROUP: {"other": "kitt_other"}})
    manager = PluginManager()
    assert {"memory", "other", "wanted"} <= set(manager.names(STORAGE))
    assert {s.name: s.state for s in manager.statuses(load=False) if s.name in {"wanted", "other"}} == {
        "wanted": "available",
        "other": "available",
    }
    manager.find(STORAGE, "wanted")
    assert "kitt_wanted" in sys.modules
    assert "kitt_other" not in sys.modules


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_module_that_nobody_has", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
        ("raise SystemExit", "SystemExit: no message"),
        ("1 +", "SyntaxError"),
        (
            HOOK + "(registry, more): pass",
            "PluginValidationError",
        ),
        (
            HOOK + "(registry): 1 / 0",
            "ZeroDivisionError: division by zero",
        ),
        (
            HOOK + "(registry): raise SystemExit(3)",
            "SystemExit: 3",
        ),
        (
            HOOK + "(registry): registry.add(7)",
            "kitt-broken registers an object of type int as backend, expected StorageBackend",
        ),
        ("", "kitt-broken declares broken but registers no backend of that name"),
        (
            backend_source("another"),
            "kitt-broken registers the backend another without an entry point of that name",
        ),
    ],
    ids=[
        "missing import",
        "raises",
        "exits",
        "exits silently",
        "syntax",
        "wrong signature",
        "hook raises",
        "hook exits",
        "wrong record",
        "nothing",
        "other name",
    ],
)
def test_a_broken_plugin_is_reported_and_stops_nothing_else(install: Install, source: str, reason: str) -> None:
    install("kitt-broken", {"kitt_broken": source}, {STORAGE_GROUP: {"broken": "kitt_broken"}})
    install_backend(install, "shelf")
    manager = PluginManager()
    status = status_of(manager, "broken")
    assert status.state == "failed"
    assert reason in status.reason
    with pytest.raises(PluginError) as caught:
        manager.find(STORAGE, "broken")
    assert caught.value.message.startswith("backend broken of kitt-broken failed to load: ")
    assert caught.value.hint == "reinstall or upgrade kitt-broken"
    assert manager.find(STORAGE, "shelf").name == "shelf"
    assert_others_work(manager)


def test_a_broken_plugin_is_tried_once(install: Install) -> None:
    source = "import kitt_tries; kitt_tries.count += 1; raise RuntimeError('broken')"
    install(
        "kitt-broken",
        {"kitt_broken": source, "kitt_tries": "count = 0"},
        {STORAGE_GROUP: {"broken": "kitt_broken"}},
    )
    manager = PluginManager()
    for _ in range(3):
        with pytest.raises(PluginError, match="broken"):
            manager.find(STORAGE, "broken")
        manager.statuses()
    assert sys.modules["kitt_tries"].count == 1


def test_a_failed_registration_leaves_none_of_its_records(install: Install) -> None:
    source = backend_source("half") + "    raise RuntimeError('after the first')\n"
    install("kitt-half", {"kitt_half": source}, {STORAGE_GROUP: {"half": "kitt_half"}})
    manager = PluginManager()
    with pytest.raises(PluginError, match="after the first"):
        manager.find(STORAGE, "half")
    assert "half" not in [record.name for record in manager.all(STORAGE)]


def test_of_two_distributions_with_one_name_the_first_keeps_it_and_both_are_named(install: Install) -> None:
    for distribution in ("kitt-first", "kitt-second"):
        module = distribution.replace("-", "_")
        install(
            distribution,
            {module: backend_source("shelf", summary=distribution)},
            {STORAGE_GROUP: {"shelf": module}},
        )
    manager = PluginManager()
    kept = manager.find(STORAGE, "shelf").summary
    lost = {"kitt-first": "kitt-second", "kitt-second": "kitt-first"}[kept]
    assert manager.owner(STORAGE, "shelf") == kept
    assert status_of(manager, "shelf", kept).state == "loaded"
    status = status_of(manager, "shelf", lost)
    assert (status.state, status.reason) == ("failed", f"backend shelf of {lost} is already provided by {kept}")
    assert_others_work(manager)


def test_a_plugin_cannot_take_the_name_of_a_built_in_one(install: Install) -> None:
    install_backend(install, "memory")
    manager = PluginManager()
    states = {s.distribution: s.state for s in manager.statuses() if s.name == "memory"}
    assert sorted(states.values()) == ["failed", "loaded"]


@pytest.mark.parametrize("disabled", ["shelf", "kitt-shelf"])
def test_a_disabled_plugin_is_never_imported(
    install: Install, monkeypatch: pytest.MonkeyPatch, disabled: str
) -> None:
    install("kitt-shelf", {"kitt_shelf": "raise AssertionError"}, {STORAGE_GROUP: {"shelf": "kitt_shelf"}})
    monkeypatch.setenv("KITT_DISABLED_PLUGINS", f"other, {disabled} ,")
    manager = PluginManager()
    assert "shelf" not in manager.names(STORAGE)
    assert status_of(manager, "shelf").state == "disabled"
    with pytest.raises(PluginError, match="backend shelf is disabled") as caught:
        manager.find(STORAGE, "shelf")
    assert "KITT_DISABLED_PLUGINS" in (caught.value.hint or "")
    assert_others_work(manager)
    assert "kitt_shelf" not in sys.modules


def test_names_to_disable_may_be_given_directly(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install_backend(install)
    monkeypatch.setenv("KITT_DISABLED_PLUGINS", "memory")
    manager = PluginManager(disabled={"shelf"})
    assert "memory" in manager.names(STORAGE)
    assert status_of(manager, "shelf").state == "disabled"


def test_a_plugin_for_a_newer_core_is_refused_with_the_cure(install: Install) -> None:
    install_backend(install, "future", more="api_version=2")
    manager = PluginManager()
    with pytest.raises(PluginError, match="needs backend API 2; this is 1") as caught:
        manager.find(STORAGE, "future")
    assert caught.value.hint == "upgrade kitt-core"
    assert_others_work(manager)


def test_one_module_may_stand_behind_several_entry_points(install: Install) -> None:
    exporter = """
from kitt_core.plugins import Exporter

@hookimpl
def kitt_register_exporter(registry):
    registry.add(Exporter(name="shelf", write=lambda runs, stream: None, suffix=".shelf"))
"""
    install(
        "kitt-shelf",
        {"kitt_shelf": backend_source("shelf", "drawer") + exporter},
        {STORAGE_GROUP: {"shelf": "kitt_shelf", "drawer": "kitt_shelf"}, "kitt.export": {"shelf": "kitt_shelf"}},
    )
    manager = PluginManager()
    assert manager.find(STORAGE, "drawer").name == "drawer"
    assert manager.find(STORAGE, "shelf").name == "shelf"
    assert manager.find(EXPORTERS, "shelf").suffix == ".shelf"
    assert {s.state for s in manager.statuses() if s.distribution == "kitt-shelf"} == {"loaded"}


def test_a_backend_is_found_by_its_schemes(install: Install) -> None:
    install(
        "kitt-shelf",
        {"kitt_shelf": backend_source("shelf", more="schemes=('shelf+v2',)")},
        {STORAGE_GROUP: {"shelf": "kitt_shelf", "shelf+v2": "kitt_shelf"}},
    )
    manager = PluginManager()
    assert manager.find(STORAGE, "shelf+v2") is manager.find(STORAGE, "shelf")
    assert {s.state for s in manager.statuses() if s.distribution == "kitt-shelf"} == {"loaded"}


def test_a_plugin_that_implements_unknown_hooks_is_loaded(install: Install) -> None:
    source = (
        backend_source("shelf")
        + "\n@hookimpl\ndef kitt_register_dashboards(registry):\n    raise AssertionError\n"
    )
    install("kitt-shelf", {"kitt_shelf": source}, {STORAGE_GROUP: {"shelf": "kitt_shelf"}})
    assert PluginManager().find(STORAGE, "shelf").name == "shelf"


def test_the_hint_does_not_repeat_what_the_message_lists() -> None:
    with pytest.raises(PluginError) as caught:
        PluginManager().find(STORAGE, "qqqq")
    assert "installed: " in caught.value.message
    assert caught.value.hint == "`kitt plugins list` shows what is installed and what is broken"


def test_what_is_not_installed_is_named_with_what_is(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install_backend(install)
    with pytest.raises(PluginError, match=r"no backend 'shelv'; installed: .*shelf") as caught:
        PluginManager().find(STORAGE, "shelv")
    assert caught.value.hint == "did you mean shelf?"
    monkeypatch.setitem(loading._INSTALL, "cupboard", "kitt-cupboard")  # whichever of ours are there
    with pytest.raises(PluginError) as caught:
        PluginManager().find(STORAGE, "cupboard")
    assert caught.value.hint == "pip install kitt-cupboard"


def test_without_autoload_nothing_is_looked_for(install: Install) -> None:
    install_backend(install)
    manager = PluginManager(autoload=False)
    assert manager.names(STORAGE) == []
    assert manager.all(STORAGE) == []
    assert manager.statuses() == []
    with pytest.raises(PluginError, match="installed: none"):
        manager.find(STORAGE, "memory")


def module(**functions: object) -> types.ModuleType:
    made = types.ModuleType("made")
    for name, function in functions.items():
        setattr(made, name, function)
    return made


def test_an_object_can_be_registered_without_packaging(install: Install) -> None:
    install_backend(install)
    record = PluginManager().find(STORAGE, "shelf")

    class Plugin:
        @hookimpl
        def kitt_register_storage(self, registry: object) -> None:
            registry.add(record)  # type: ignore[attr-defined]

    manager = PluginManager(autoload=False)
    manager.register(Plugin())
    assert manager.find(STORAGE, "shelf") is record
    assert manager.owner(STORAGE, "shelf") == "the application"
    with pytest.raises(PluginError, match="already provided by the application"):
        manager.register(Plugin(), "again")


def test_a_registration_that_raises_is_one_error() -> None:
    @hookimpl
    def kitt_register_storage(registry: object) -> None:
        raise RuntimeError("inside")

    with pytest.raises(PluginError, match="plugin mine failed to register: RuntimeError: inside"):
        PluginManager(autoload=False).register(module(kitt_register_storage=kitt_register_storage), "mine")


def test_managers_share_nothing(install: Install) -> None:
    install_backend(install)
    first, second = PluginManager(), PluginManager(disabled={"shelf"})
    assert first.find(STORAGE, "shelf").name == "shelf"
    with pytest.raises(PluginError, match="disabled"):
        second.find(STORAGE, "shelf")


def test_every_listener_hears_of_a_save_and_none_disturbs_it(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    loud = """
from kitt_core.hookspecs import hookimpl
heard = []

@hookimpl
def kitt_run_saved(location):
    heard.append(location)
    raise RuntimeError("too loud")
"""
    install("kitt-loud", {"kitt_loud": loud}, {"kitt.listeners": {"loud": "kitt_loud"}})
    install("kitt-broken", {"kitt_broken": "1 / 0"}, {"kitt.listeners": {"broken": "kitt_broken"}})
    heard: list[str] = []

    @hookimpl
    def kitt_run_saved(run: CheckedRun, location: str) -> None:
        heard.append(f"{run.id} in {location}")

    manager = PluginManager()
    manager.register(module(kitt_run_saved=kitt_run_saved))
    with caplog.at_level(logging.ERROR):
        manager.announce_saved(check_run(MINIMAL, run_id="x"), "memory:")
    assert heard == ["x in memory:"]
    assert sys.modules["kitt_loud"].heard == ["memory:"]
    assert "too loud" in caplog.text
    assert status_of(manager, "broken").state == "failed"


def test_every_hook_is_a_page_of_the_manual() -> None:
    for name in hookspecs.__all__:
        if name.startswith("kitt_"):
            text = getattr(hookspecs, name).__doc__
            assert "Called" in text, name
            assert "Args:" in text, name
            assert "In here:" in text, name
            assert "Since 0." in text, name
            assert "Entry-point group: ``kitt." in text, name


def test_a_plugin_cannot_bring_a_name_that_it_did_not_declare(install: Install) -> None:
    install("kitt-thief", {"thief": backend_source("mine", "theirs")}, {"kitt.storage": {"mine": "thief"}})
    install("kitt-victim", {"victim": backend_source("theirs")}, {"kitt.storage": {"theirs": "victim"}})
    manager = PluginManager(disabled=())
    manager.all(STORAGE)
    assert manager.owner(STORAGE, manager.find(STORAGE, "theirs").name) == "kitt-victim"
    with pytest.raises(PluginError, match="registers the backend theirs without an entry point"):
        manager.find(STORAGE, "mine")


def test_a_plugin_that_does_not_bring_what_it_declared_leaves_nothing_behind(install: Install) -> None:
    install("kitt-odd", {"odd": backend_source("other")}, {"kitt.storage": {"odd": "odd"}})
    manager = PluginManager(disabled=())
    with pytest.raises(PluginError, match="odd"):
        manager.find(STORAGE, "odd")
    assert "other" not in manager.names(STORAGE)


def test_a_module_that_raises_a_base_exception_costs_only_itself(install: Install) -> None:
    source = "class Odd(BaseException): pass\nraise Odd('no')"
    install("kitt-base", {"raises_base": source}, {"kitt.storage": {"base": "raises_base"}})
    with pytest.raises(PluginError, match="Odd: no"):
        PluginManager(disabled=()).find(STORAGE, "base")


def test_an_installation_without_metadata_is_listed(install: Install) -> None:
    install("kitt-bare", {"bare": backend_source("bare")}, {"kitt.storage": {"bare": "bare"}})
    (next(Path(sys.path[0]).glob("kitt_bare*")) / "METADATA").unlink()
    manager = PluginManager(disabled=())
    (status,) = [status for status in manager.statuses() if status.name == "bare"]
    assert (status.distribution, status.version) == ("an unknown distribution", "unknown")


def test_options_that_are_not_an_attrs_class_are_refused(install: Install) -> None:
    source = backend_source("plain").replace("options=Options", "options=int")
    install("kitt-plain", {"plain_options": source}, {"kitt.storage": {"plain": "plain_options"}})
    with pytest.raises(PluginError, match="expected an attrs class"):
        PluginManager(disabled=()).find(STORAGE, "plain")


def test_a_backend_that_raises_when_asked_for_a_path_is_left_out(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(
        "kitt-raises",
        {"raises": backend_source("raises", more="recognises=lambda path: 1 / 0,")},
        {"kitt.storage": {"raises": "raises"}},
    )
    manager = PluginManager(disabled=())
    assert "raises" not in [record.name for record in manager.recognising(STORAGE, tmp_path)]
    assert "backend raises failed to recognise" in caplog.text


def test_a_backend_that_raises_when_it_is_opened_is_a_plugin_error_without_secrets(install: Install) -> None:
    source = backend_source("opens").replace(
        "open=lambda _: MemoryStore()", "open=lambda _: int('postgresql://u:secret@h/db')"
    )
    install("kitt-opens", {"opens": source}, {"kitt.storage": {"opens": "opens"}})
    with pytest.raises(PluginError, match="backend opens failed: ValueError") as caught:
        open_store("opens", plugins=PluginManager(disabled=()))
    assert "secret" not in str(caught.value)
