from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from .conftest import Kitt

PLUGIN = """
from attrs import field, frozen
from kitt_core.storage import StorageBackend
from kitt_core.hookspecs import hookimpl
from kitt_core.storage.memory import MemoryStore

@frozen
class Options:
    path: str = field(default="shelf.db", metadata={"help": "The file.", "env": "SHELF_PATH", "target": "path"})
    password: str = field(default="hunter2", metadata={"secret": True})

@hookimpl
def kitt_register_storage(registry):
    registry.add(StorageBackend(
        name="shelf", open=lambda options: MemoryStore(), options=Options, summary="Runs in a shelf.",
        capabilities=MemoryStore.capabilities,
    ))
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution that is installed for this test: one sound plugin, one broken, one that exits."""
    site = tmp_path / "site"
    info = site / "kitt_shelf-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kitt-shelf\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        textwrap.dedent("""
            [kitt.storage]
            shelf = kitt_shelf_sound
            broken = kitt_shelf_broken
            [kitt.export]
            leaves = kitt_shelf_leaves
            """)
    )
    (site / "kitt_shelf_sound.py").write_text(PLUGIN)
    (site / "kitt_shelf_broken.py").write_text("raise ImportError('libshelf.so is missing')\n")
    (site / "kitt_shelf_leaves.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.usefixtures("distribution")
def test_list_says_what_loads_and_why_the_rest_does_not(kitt: Kitt) -> None:
    answer = kitt("plugins", "list", "--format", "json", installed=True)
    assert (answer.code, answer.err) == (0, "")
    ours = [found for found in json.loads(answer.out) if found["distribution"] == "kitt-shelf"]
    assert {(f["kind"], f["name"], f["state"]) for f in ours} == {
        ("backend", "shelf", "loaded"),
        ("backend", "broken", "failed"),
        ("exporter", "leaves", "failed"),
    }
    by_name = {found["name"]: found for found in ours}
    assert by_name["shelf"]["summary"] == "Runs in a shelf."
    assert by_name["shelf"]["version"] == "1.2"
    assert by_name["broken"]["reason"] == "ImportError: libshelf.so is missing"
    assert by_name["leaves"]["reason"] == "SystemExit: 3"


@pytest.mark.usefixtures("distribution")
def test_list_has_one_column_for_summary_and_reason(kitt: Kitt) -> None:
    lines = kitt("plugins", "list", installed=True).out.splitlines()
    assert lines[0] == "kind\tname\tdistribution\tversion\tstate\tabout"
    assert "backend\tbroken\tkitt-shelf\t1.2\tfailed\tImportError: libshelf.so is missing" in lines
    assert "backend\tshelf\tkitt-shelf\t1.2\tloaded\tRuns in a shelf." in lines


@pytest.mark.usefixtures("distribution")
def test_disabled_plugins_are_listed_and_not_imported(kitt: Kitt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITT_DISABLED_PLUGINS", "broken")
    assert "backend\tbroken\tkitt-shelf\t1.2\tdisabled\t\n" in kitt("plugins", "list", installed=True).out


@pytest.mark.usefixtures("distribution")
def test_show_tells_the_options_and_hides_secret_defaults(kitt: Kitt) -> None:
    answer = kitt("plugins", "show", "shelf", "--format", "json", installed=True)
    (found,) = json.loads(answer.out)
    assert (found["kind"], found["distribution"], found["capabilities"]) == (
        "backend",
        "kitt-shelf",
        ["ATOMIC_BATCH", "ATTACHMENTS", "DELETE"],
    )
    assert found["options"] == [
        {
            "option": "path",
            "type": "text",
            "default": "shelf.db",
            "environment": "SHELF_PATH",
            "secret": False,
            "help": "The file.",
        },
        {
            "option": "password",
            "type": "text",
            "default": "***",
            "environment": None,
            "secret": True,
            "help": "",
        },
    ]


@pytest.mark.usefixtures("distribution")
def test_show_is_readable(kitt: Kitt) -> None:
    out = kitt("plugins", "show", "shelf", installed=True).out
    assert "capabilities\tATOMIC_BATCH, ATTACHMENTS, DELETE\n" in out
    assert "\npath\ttext\tshelf.db\tSHELF_PATH\tfalse\tThe file.\n" in out
    assert "hunter2" not in out


@pytest.mark.usefixtures("distribution")
def test_show_of_a_broken_plugin_says_why(kitt: Kitt) -> None:
    answer = kitt("plugins", "show", "broken", installed=True)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "error: backend broken of kitt-shelf failed to load: ImportError: libshelf.so is missing\n"
        "hint: reinstall or upgrade kitt-shelf\n"
    )


def test_show_of_nothing_installed_names_the_nearest(kitt: Kitt) -> None:
    answer = kitt("plugins", "show", "memroy", installed=True)
    assert (answer.code, answer.err) == (2, "error: no plugin 'memroy' is installed\nhint: did you mean memory?\n")


def test_show_takes_a_kind_where_a_name_is_used_twice(kitt: Kitt) -> None:
    answer = kitt("plugins", "show", "json", "--kind", "exporter", "--format", "jsonl", installed=True)
    assert json.loads(answer.out)["kind"] == "exporter"


@pytest.mark.usefixtures("distribution")
def test_a_broken_plugin_stops_nothing_else(kitt: Kitt) -> None:
    assert kitt("--backend", "shelf", "doctor", installed=True).code == 0
