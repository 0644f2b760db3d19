"""JSON lines: a chain of export and import gives the same bytes, so nothing is stored twice."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitt_core._builtin.lines import from_line, to_line
from kitt_core.plugins import PluginManager
from kitt_core.service.transfer.exporting import choose_exporter, export_to_stream
from kitt_core.service.transfer.importing import find_candidates, import_runs
from kitt_core.storage.memory import MemoryStore
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD

_BODY = b'"model": "m", "engine": "e"'
DOCUMENTS = {
    "standard": STANDARD,
    "minimal": MINIMAL,
    "compact": b"{%s}" % _BODY,
    "indented": b"{\n\t%s\r\n}\r\n\n" % _BODY,
    "surrounded": b" \t\r {%s} \t " % _BODY,
    "with a mark": codecs.BOM_UTF8 + b"\n{%s}\n" % _BODY,
    **HOSTILE,
}


@pytest.fixture
def plugins() -> PluginManager:
    return PluginManager()


def exported(store: MemoryStore, plugins: PluginManager) -> bytes:
    stream = io.BytesIO()
    export_to_stream(choose_exporter(plugins, "jsonl", None), store.scan(), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("names", "way"),
    [
        *(pytest.param([name], "one.json", id=name) for name in DOCUMENTS),
        pytest.param(list(DOCUMENTS), "lines.jsonl", id="all"),
        pytest.param(list(DOCUMENTS), "-", id="all from standard input"),
    ],
)
def test_an_import_of_an_export_adds_nothing(
    plugins: PluginManager, tmp_path: Path, names: Sequence[str], way: str
) -> None:
    with MemoryStore() as store, MemoryStore() as other:
        for name in names:
            store.save_result(DOCUMENTS[name], strict=False)
        wanted = {DOCUMENTS[name] for name in names}
        content = exported(store, plugins)
        assert len(content.splitlines()) == len(names)
        for line, name in zip(content.splitlines(), names, strict=True):
            if name in {"standard", "minimal"}:
                assert json.loads(line) == json.loads(DOCUMENTS[name])
        source = "-" if way == "-" else str(tmp_path / way)
        for target, expected in ((store, 0), (other, len(wanted)), (other, 0)):
            if way != "-":
                Path(source).write_bytes(content)
            found = find_candidates(plugins, [source], standard_input=io.BytesIO(content))
            report = import_runs(target, found)
            assert (len(report.stored), report.refused) == (expected, [])
        assert {run.document for run in other.scan()} == wanted


@given(
    st.lists(st.sampled_from([b"\t", b" ", b"\n", b"\r", b"{", b'"a"', b":1", b"}"])).map(b"".join), st.booleans()
)
def test_a_line_gives_back_any_bytes(document: bytes, marked: bool) -> None:
    line = to_line(document, marked=marked)
    assert not {*b"\r\n"} & {*line}
    assert line.split() == document.removeprefix(codecs.BOM_UTF8).split()
    assert from_line(line) == document
    assert line == document or from_line(line + b"\n") == document


@pytest.mark.parametrize("line", [b'\t{"a": 1}', b'\t \t\t {\t"a": 1}', b'{"a":\t1}', b"", b"\t \t\t"])
def test_lines_of_others_stay_as_they_are(line: bytes) -> None:
    assert from_line(line) == line
