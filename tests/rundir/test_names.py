from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitt_core.rundir import alternative_name, is_regular, run_path, safe_name
from kitt_core.rundir.names import id_suffixes, timestamp_name

ID = "0198c1a2-7000-7abc-8def-0123456789ab"
WHEN = datetime(2025, 6, 1, 12, 0, 5, tzinfo=UTC)
MARKED = re.compile(r".*~[0-9a-f]{8}", re.DOTALL)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("vllm", "vllm"),
        ("meta-llama/Llama-3.1-8B", "meta-llama_Llama-3.1-8B"),
        ("/models/x.gguf", "_models_x.gguf"),
        ("模型 Ünïcødé", "模型 Ünïcødé"),
        ("a~b", "a~b"),
        ("console", "console"),
        ("x" * 100, "x" * 100),
    ],
)
def test_ordinary_texts_stay_readable(text: str, name: str) -> None:
    assert safe_name(text) == name


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "../../x", ".hidden", " x", "x ", "x.", "a\\b", "C:x", "a\0b", "a\nb", "\ud800", "\u202ea",
     "CON", "con", "nul.txt", "COM1", "LPT¹", "aux.", "x" * 101, "模" * 34, "e\u0301", "a~0123abcd", 'a"b', "*"],
)  # fmt: skip
def test_whatever_else_changes_gets_a_mark(text: str) -> None:
    assert MARKED.fullmatch(safe_name(text))


def test_marked_names_are_fixed_for_ever() -> None:
    # Directories that exist are found by these names.
    assert safe_name("") == "_~e3b0c442"
    assert safe_name("..") == "_~5ec1f7e7"
    assert safe_name("../../x") == "_.._x~9cdf6a50"
    assert safe_name("CON") == "_CON~a3dbc4b6"


def test_different_texts_keep_different_names() -> None:
    texts = ["x" * 200, "x" * 201, "CON", "con", "_CON", "", ".", "..", "a\\b", "a:b", safe_name("CON")]
    assert len({safe_name(text) for text in texts}) == len(texts)


@given(st.text() | st.text(alphabet="./\\~ con0123456789abcdef\0:\ud800é", max_size=120))
def test_a_name_is_one_component_that_every_system_keeps(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name.encode("utf-8")) <= 100
    assert not re.search(r'[\x00-\x1f\x7f/\\:<>"|?*]', name)
    assert name[0] not in ". "
    assert name[-1] not in ". "
    assert name.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}
    assert PurePosixPath(name).parts == (name,)
    assert MARKED.fullmatch(name) or name == text.replace("/", "_")


def test_run_path_is_model_engine_and_time_with_the_ids_end() -> None:
    path = run_path("org/name", "vllm", WHEN, ID)
    assert path == PurePosixPath("org_name/vllm/2025-06-01_120005_456789ab")
    assert is_regular(path.name)


def test_run_path_of_hostile_values_has_three_levels() -> None:
    path = run_path("../../x", "/abs", datetime(7, 1, 2, tzinfo=UTC), "..........")
    assert len(path.parts) == 3
    assert ".." not in path.parts
    assert path.name.startswith("0007-01-02_000000_")
    assert not path.is_absolute()


def test_a_legacy_name_is_not_regular() -> None:
    assert not is_regular("2025-06-01_120000")
    assert not is_regular("2025-06-01T12-00-00_deadbeef")


@pytest.mark.parametrize("run_id", [ID, "a", "..", "-", "x" * 128, "CON", "run-00000001."])
def test_a_runs_name_ends_as_its_id_says(run_id: str) -> None:
    name = run_path("m", "e", WHEN, run_id).name
    usual, alternative = id_suffixes(run_id)
    assert name.endswith(usual)
    assert alternative_name(name, run_id).endswith(alternative)
    assert timestamp_name(WHEN) + usual == name
