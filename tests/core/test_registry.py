from __future__ import annotations

import pytest
from attrs import frozen

from kitt_core.errors import PluginError
from kitt_core.plugins import Registry


@frozen
class Thing:
    name: str
    api_version: int = 1


def make() -> Registry[Thing]:
    return Registry("thing", Thing, 1)


def test_records_are_kept_by_name_with_their_owner() -> None:
    registry = make()
    registry.add(Thing("a"))
    with registry.owned_by("kitt-x"):
        registry.add(Thing("b"))
    registry.add(Thing("c"))
    assert [record.name for record in registry] == ["a", "b", "c"]
    assert [registry.owner(name) for name in "abc"] == ["the application", "kitt-x", "the application"]
    assert registry.get("b") == Thing("b")
    assert registry.get("d") is None


def test_a_collision_names_both_and_the_first_stays() -> None:
    registry = make()
    with registry.owned_by("kitt-x"):
        registry.add(first := Thing("a"))
    with (
        pytest.raises(PluginError, match="thing a of kitt-y is already provided by kitt-x"),
        registry.owned_by("kitt-y"),
    ):
        registry.add(Thing("a"))
    assert registry.get("a") is first
    assert registry.owner("a") == "kitt-x"


def test_what_is_not_a_record_of_the_kind_is_refused() -> None:
    with pytest.raises(PluginError, match="registers an object of type str as thing, expected Thing"):
        make().add("a")  # type: ignore[arg-type]


def test_a_record_for_a_newer_core_is_refused() -> None:
    with pytest.raises(PluginError, match="needs thing API 2; this is 1") as caught:
        make().add(Thing("a", api_version=2))
    assert caught.value.hint == "upgrade kitt-core"
    make().add(Thing("a", api_version=0))


def test_an_owner_that_fails_leaves_nothing() -> None:
    registry = make()
    registry.add(Thing("kept"))

    def fail() -> None:
        with registry.owned_by("kitt-x"):
            registry.add(Thing("lost"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [record.name for record in registry] == ["kept"]
    registry.add(Thing("lost"))
    assert registry.owner("lost") == "the application"


def test_a_registry_may_grow_while_it_is_walked() -> None:
    registry = make()
    registry.add(Thing("a"))
    for record in registry:
        registry.add(Thing(record.name + "x"))
    assert len(list(registry)) == 2
