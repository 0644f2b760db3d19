"""docs/configuration.md: variables, keys, options."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from kitt_core.cli.app import main
from kitt_core.config import RUN_KEYS
from kitt_core.options import describe_options
from kitt_core.plugins import ENGINES, STORAGE, Kind, PluginManager

from .pages import ROOT, TEXTS, blocks, first_names, is_ours, sections, text_of

VARIABLE = re.compile(r"(?<![A-Z_])KITT_(?!TEST_)[A-Z]+(?:_[A-Z]+)*(?![A-Z_{])")
"""An environment variable's name; those of tests are the kit's and CONTRIBUTING.md's business."""


def test_every_environment_variable_is_documented_and_exists() -> None:
    sources = [*(ROOT / "kitt_core").rglob("*.py"), *(ROOT / "plugins").glob("kitt-*/kitt_*/**/*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(VARIABLE.findall(code)) | {f"KITT_RUN_{key.upper()}" for key in RUN_KEYS}
    assert set(first_names(sections("configuration.md")["Environment variables"])) == used | {"NO_COLOR"}
    everywhere = "\n".join(path.read_text(encoding="utf-8") for path in TEXTS)
    assert set(VARIABLE.findall(everywhere)) <= used


def test_every_key_of_a_file_is_documented() -> None:
    documented = set(first_names(sections("configuration.md")["Files"]))
    assert {f"run.{key}" for key in RUN_KEYS} | {"backend"} <= documented


@pytest.mark.parametrize("kind", [STORAGE, ENGINES], ids=lambda kind: kind.name)
def test_every_option_of_our_backends_and_engines_is_documented(kind: Kind[Any]) -> None:
    for record in PluginManager().all(kind):
        if is_ours(kind, record.name):
            body = sections("configuration.md")[record.name]
            assert first_names(body) == [option.name for option in describe_options(record.options)]


def test_the_documented_file_is_read(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks(text_of("configuration.md"), "toml")
    (fresh / "kitt.toml").write_text(example, encoding="utf-8")
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["config", "show", "--format", "json"]) == 0
    shown = json.loads(output.buffer.getvalue())
    settings = {row["key"]: row["value"] for row in shown if row["origin"].endswith("kitt.toml")}
    assert settings["backends.sqlite.busy_timeout"] == 30
    assert settings["run.results_dir"] == "results"
