"""Real-world machines, faked: what the fingerprint of each is, to the letter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .fakes import NAMES, FakeMachine

EXPECTED: dict[str, str] = {}

Faked = Callable[[str], FakeMachine]


@pytest.fixture
def faked(tmp_path: Path) -> Faked:
    return lambda name: FakeMachine(name, tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_print(name, faked):
    i = faked(name).info()
    print(); print(name, i.fingerprint, i.sections.get("machine")); print(json.dumps({k: v for k, v in i.sections.items() if k not in ("fingerprint", "machine")})); print(i.remarks, i.notes)
