"""docs/fingerprint.md says what the sources find."""

from __future__ import annotations

import re
from pathlib import Path

from faked_machines import NAMES, FakeMachine
from kitt_core.fingerprint import FingerprintSource
from kitt_core.plugins import Registry
from kitt_hardware import plugin
from kitt_hardware.environment import ENVIRONMENT_TYPES

PAGE = Path(__file__).parents[3] / "docs" / "fingerprint.md"


def first_column(heading: str) -> list[str]:
    body = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = [part for part in body if part.startswith(f"{heading}\n")]
    return [
        name for row in re.findall(r"^\| (.*?) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    ]


def test_every_environment_is_explained_in_its_order() -> None:
    documented = [name for name in first_column("Environments") if name != "environment_type"]
    assert documented == list(ENVIRONMENT_TYPES)


def test_every_source_is_explained_in_its_order() -> None:
    registry: Registry[FingerprintSource] = Registry("fingerprint source", FingerprintSource, 1)
    plugin.kitt_register_fingerprint(registry)
    assert first_column("Sources") == [source.name for source in registry]


def test_every_key_is_explained(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    keys: set[str] = set()
    inner: set[str] = set()
    for name in NAMES:
        sections = FakeMachine(name, tmp_path / name).info().sections
        keys |= sections.keys()
        for found in (sections["gpu"], sections.get("storage"), sections.get("cloud"), sections["cpu"]):
            inner |= (found or {}).keys()
        inner |= {key for device in (sections["gpu"] or {}).get("devices", []) for key in device}
    assert keys <= set(first_column("What is recorded"))
    assert {key for key in inner if f"`{key}`" not in text and f"gpu.{key}`" not in text} == set()
