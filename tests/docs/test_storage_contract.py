"""docs/storage-contract.md."""

from __future__ import annotations

import os
import subprocess
import sys
from inspect import Parameter, signature
from pathlib import Path

import attrs
import pytest

from kitt_core.plugins import STORAGE, PluginManager
from kitt_core.runs import GROUP_FIELDS, ORDER_FIELDS, STATISTICS, RunFilter, model
from kitt_core.storage import Capability, ResultStore

from .pages import error_classes, first_names, install_documented, is_ours, rows, sections, spans


def test_every_error_is_documented_with_its_exit_code() -> None:
    documented = {spans(row[0])[0]: int(row[1]) for row in rows(sections("storage-contract.md")["Errors"])}
    assert documented == {error.__name__: error.exit_code for error in error_classes()}


def test_every_capability_is_documented_and_who_declares_it() -> None:
    body = sections("storage-contract.md")["Capabilities"]
    documented = {tuple(spans(row[0])): spans(row[1]) for row in rows(body)}
    assert {name for (name,) in documented if name.isupper()} == {str(capability) for capability in Capability}
    for backend in PluginManager().all(STORAGE):
        if is_ours(STORAGE, backend.name):
            assert set(documented[(backend.name,)]) == set(backend.capabilities)


def test_every_method_of_a_store_is_documented_with_its_arguments() -> None:
    documented = first_names(sections("storage-contract.md")["Methods"])
    public = [name for name in vars(ResultStore) if not name.startswith("_") and name != "capabilities"]
    assert {span.partition("(")[0] for span in documented} == set(public)
    for span in documented:
        name, bracket, given = span.partition("(")
        if bracket:
            parameters = list(signature(getattr(ResultStore, name)).parameters.values())[1:]
            keywords = [p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
            others = [p.name for p in parameters if p.kind is not Parameter.KEYWORD_ONLY]
            assert given == ", ".join([*others, *(["*"] if keywords else []), *keywords]) + ")"


def test_every_filter_order_group_statistic_and_value_is_documented() -> None:
    page = sections("storage-contract.md")
    assert set(first_names(page["Filters"])) == {attribute.name for attribute in attrs.fields(RunFilter)}
    named = {spans(row[0])[0] if row[0] else "": row[1] for row in rows(page["Orders, groups and statistics"])}
    assert set(spans(named["order_by"])) == {*ORDER_FIELDS, "metric:<name>"}
    assert set(spans(named["group_by"] + named[""])) == {*GROUP_FIELDS, "label:<key>"}
    assert set(spans(named["statistics"])) == set(STATISTICS)
    values: dict[str, list[str]] = {}
    for first, fields in rows(page["Values"]):
        for name in spans(first):
            values[name] = []
        list(values.values())[-1].extend(spans(fields))  # a long row goes on in the next
    for name, documented in values.items():
        assert {attribute.name for attribute in attrs.fields(getattr(model, name))} <= set(documented)


SOME = "a_second_handle or a_deleted_run_is_gone or an_id_that_several_processes_want"


@pytest.mark.parametrize(
    "chosen", [SOME, pytest.param("test", marks=pytest.mark.long)], ids=["some of them", "all"]
)
def test_the_documented_store_passes_the_documented_tests(tmp_path: Path, chosen: str) -> None:
    install_documented(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n", encoding="utf-8")
    # Forcing every file to the disk would take most of the time, and shows nothing here.
    (tmp_path / "conftest.py").write_text("import os\nos.fsync = lambda file: None\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not long",
        "-k",
        chosen,
        "tests",
    ]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
