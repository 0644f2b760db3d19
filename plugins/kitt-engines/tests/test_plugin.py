from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from kitt_core.engine import ENGINE_API_VERSION, Engine, EngineSession
from kitt_core.errors import ConfigurationError
from kitt_core.plugins import Registry
from kitt_engines.model import SIZES
from kitt_engines.plugin import ReferenceOptions, kitt_register_engine


@pytest.fixture
def reference() -> Engine:
    registry = Registry("engine", Engine, ENGINE_API_VERSION)
    kitt_register_engine(registry)
    record = registry.get("reference")
    assert record is not None
    return record


def test_the_entry_points_have_the_records_names() -> None:
    registry = Registry("engine", Engine, ENGINE_API_VERSION)
    kitt_register_engine(registry)
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["kitt.engine"] == {record.name: "kitt_engines.plugin" for record in registry}


def test_every_option_has_a_help_text(reference: Engine) -> None:
    assert {field.name for field in attrs.fields(reference.options)} == {"model", "seed", "threads"}
    assert all(field.metadata["help"] for field in attrs.fields(reference.options))


def opened(engine: Engine, options: ReferenceOptions) -> EngineSession:
    async def wait() -> EngineSession:
        return await engine.open(options)

    return asyncio.run(wait())


def test_it_opens_the_size_that_was_asked_for(reference: Engine) -> None:
    session = opened(reference, ReferenceOptions())
    assert session.model == "tiny"
    assert not session.concurrent
    assert session.describe()["seed"] == 0


def test_an_unknown_size_is_named_with_the_nearest(reference: Engine) -> None:
    with pytest.raises(ConfigurationError) as caught:
        opened(reference, ReferenceOptions(model="smal"))
    assert "'smal'" in caught.value.message
    assert all(size.name in caught.value.message for size in SIZES)
    assert caught.value.hint == "did you mean small?"


def test_heads_divide_the_width_in_all_sizes() -> None:
    assert [size.width % size.heads for size in SIZES] == [0] * len(SIZES)


def test_loading_the_plugin_and_a_wrong_size_import_no_numpy() -> None:
    code = (
        "import asyncio, sys, kitt_engines.plugin as p\n"
        "assert 'numpy' not in sys.modules\n"
        "try: asyncio.run(p._open_reference(p.ReferenceOptions(model='x')))\n"
        "except Exception as e: print(type(e).__name__)\n"
        "assert 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ConfigurationError\n"
