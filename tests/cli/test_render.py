from __future__ import annotations

import csv
import io
import json
import math
import re
import stat
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from kitt_core.cli import cells
from kitt_core.cli.render import FORMATS, open_output, open_verbatim, write_object, write_rows, write_text
from kitt_core.errors import ConfigurationError

from .conftest import Terminal

WHEN = datetime(2025, 6, 1, 14, 30, 5, 250000, tzinfo=timezone(timedelta(hours=2)))
ROW: dict[str, Any] = {"id": "01a1fce5-dd26", "tps": 48.123456, "passed": True, "at": WHEN, "gpu": None}
COLUMNS = tuple(ROW)
HOSTILE = "[bold]a[/] :smile:\x1b[31m\tb\n\x9b2J\u202e|*c*<b>"


def written(capsysbinary: pytest.CaptureFixture[bytes], *arguments: Any, **named: Any) -> str:
    write_rows(*arguments, **named)
    return capsysbinary.readouterr().out.decode()


def test_json_is_one_array_with_full_precision_and_utc(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    text = written(capsysbinary, COLUMNS, [ROW, {"id": "b"}], "json")
    assert json.loads(text) == [
        {
            "id": "01a1fce5-dd26",
            "tps": 48.123456,
            "passed": True,
            "at": "2025-06-01T12:30:05.250000Z",
            "gpu": None,
        },
        {"id": "b", "tps": None, "passed": None, "at": None, "gpu": None},
    ]


def test_json_of_no_rows_is_an_empty_array(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert written(capsysbinary, COLUMNS, [], "json") == "[]\n"


def test_json_has_no_nan_and_no_infinity(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    values = [{"x": value} for value in (math.nan, math.inf, -math.inf, {"deep": [math.nan]})]
    text = written(capsysbinary, ("x",), values, "jsonl")
    assert [json.loads(line)["x"] for line in text.splitlines()] == [None, None, None, {"deep": [None]}]


def test_json_keeps_text_but_sends_no_control_characters(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    value = HOSTILE + "é\ud800"
    text = written(capsysbinary, ("x",), [{"x": value}], "json")
    assert json.loads(text) == [{"x": value}]
    assert "é" in text
    assert not any(c in text for c in "\x1b\x9b\u202e")


def test_rows_are_streamed(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    seen: list[int] = []

    def rows() -> Any:
        for _ in range(3):
            seen.append(len(capsysbinary.readouterr().out))
            yield {"x": "y" * 100_000}

    for output_format in ("json", "jsonl", "csv"):
        seen.clear()
        write_rows(("x",), rows(), output_format)
        assert seen[1] > 50_000, output_format


def test_csv_has_full_precision_and_quotes(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    text = written(capsysbinary, COLUMNS, [{**ROW, "id": 'a,"b"\nc'}], "csv")
    header, row = csv.reader(io.StringIO(text))
    assert header == list(COLUMNS)
    assert row == ['a,"b"\nc', "48.123456", "true", "2025-06-01T12:30:05.250000Z", ""]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_gives_a_spreadsheet_no_formulas(capsysbinary: pytest.CaptureFixture[bytes], text: str) -> None:
    out = written(capsysbinary, ("x",), [{"x": text}], "csv")
    assert list(csv.reader(io.StringIO(out, newline="")))[1] == [f"'{text}"]


def test_negative_numbers_stay_numbers_in_csv(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    rows = [{"x": -1.5}, {"x": math.nan}, {"x": -math.inf}]
    assert written(capsysbinary, ("x",), rows, "csv") == 'x\n-1.5\n""\n-inf\n'


def test_piped_text_is_tab_separated_in_full(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    text = written(capsysbinary, COLUMNS, [{**ROW, "id": "x" * 300}])
    assert text == (
        "id\ttps\tpassed\tat\tgpu\n" + "x" * 300 + "\t48.123456\ttrue\t2025-06-01T12:30:05.250000Z\t\n"
    )
    assert written(capsysbinary, COLUMNS, [{**ROW, "id": "x" * 300}], "table") == text


def test_piped_text_keeps_one_row_a_line(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    text = written(capsysbinary, ("a", "b"), [{"a": HOSTILE, "b": 1}])
    assert text.splitlines()[1] == "[bold]a[/] :smile:\\x1b[31m\\tb\\n\\x9b2J\\u202e|*c*<b>\t1"


def test_markdown_shows_text_as_it_is(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    text = written(
        capsysbinary, ("name", "tps"), [{"name": "a|b *c* <i> _d_ avg_tps\n[x](y)", "tps": 1.23456}], "markdown"
    )
    assert text == (
        "| name | tps |\n|---|---:|\n| a\\|b \\*c\\* \\<i\\> \\_d\\_ avg_tps\\\\n\\[x\\](y) | 1.235 |\n"
    )


def test_a_terminal_gets_a_table_with_four_significant_digits(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        write_rows(COLUMNS, [ROW])
    text = terminal.text()
    assert "\x1b[1m" in text
    for shown in ("01a1fce5-dd26", "48.12", "yes", "2025-06-01 12:30:05", "-"):
        assert shown in text
    assert "48.123" not in text


def test_a_terminal_gets_no_control_characters_and_no_markup(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(terminal):
        write_rows(("x",), [{"x": HOSTILE}])
    text = terminal.text()
    assert "[bold]a[/] :smile:\\x1b[31m\\tb\\n\\x9b2J\\u202e|*c*<b>" in text
    assert "\x1b[31m" not in text
    assert "\x9b" not in text


@pytest.mark.parametrize("output_format", FORMATS)
def test_no_format_sends_a_terminal_control_characters(terminal: Terminal, output_format: str) -> None:
    with redirect_stdout(terminal):
        write_rows(("x",), [{"x": "a\x1b]0;title\x07b\x9bc"}], output_format)
    assert "title" in terminal.text()
    assert not any(c in terminal.text() for c in "\x07\x9b")
    assert "\x1b]" not in terminal.text()


def test_no_color_takes_the_colours_out(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(terminal):
        write_rows(COLUMNS, [ROW])
    codes = set(re.findall(r"\x1b\[([0-9;]*)m", terminal.text()))
    assert codes == {"0", "1"}  # bold is not a colour


def test_a_dumb_terminal_gets_no_escapes(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with redirect_stdout(terminal):
        write_rows(COLUMNS, [ROW])
    assert "48.12" in terminal.text()
    assert "\x1b" not in terminal.text()


def test_a_table_may_have_fewer_columns_and_shorter_values(terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        write_rows(COLUMNS, [ROW], table_columns=("id", "tps"), shorten={"id": lambda value: str(value)[-4:]})
    text = terminal.text()
    assert "dd26" in text
    assert "01a1" not in text
    assert "passed" not in text


def test_piped_text_is_not_shortened(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    text = written(capsysbinary, COLUMNS, [ROW], table_columns=("id",), shorten={"id": lambda _: "short"})
    assert text == "id\n01a1fce5-dd26\n"


def test_an_object_is_a_json_object_or_a_row_per_key(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write_object({"a": 1, "b": {"c": WHEN}}, "json")
    assert json.loads(capsysbinary.readouterr().out) == {"a": 1, "b": {"c": "2025-06-01T12:30:05.250000Z"}}
    write_object({"a": 1, "b": [1]})
    assert capsysbinary.readouterr().out == b"key\tvalue\na\t1\nb\t[1]\n"
    write_object({"a": 1, "b": "x"}, "csv")
    assert capsysbinary.readouterr().out == b"a,b\n1,x\n"


def test_a_value_without_a_form_is_a_defect_not_a_guess() -> None:
    with pytest.raises(TypeError):
        cells.as_json(object())


def test_years_of_three_digits_are_shown() -> None:
    assert cells.readable(datetime(800, 1, 1, tzinfo=UTC)) == "0800-01-01T00:00:00Z"


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("old")
    path.chmod(0o640)

    def failing() -> Any:
        yield {"x": 1}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(("x",), failing(), "json", path)
    assert path.read_text() == "old"
    write_rows(("x",), [{"x": 1}], "json", path)
    assert json.loads(path.read_text()) == [{"x": 1}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [found.name for found in tmp_path.iterdir() if found.is_file()] == ["rows.json"]


def test_a_file_is_plain_text_even_from_a_terminal(tmp_path: Path, terminal: Terminal) -> None:
    with redirect_stdout(terminal):
        write_rows(("x", "y"), [{"x": 1, "y": 2}], None, tmp_path / "rows")
    assert (tmp_path / "rows").read_text() == "x\ty\n1\t2\n"
    assert terminal.text() == ""


def test_a_hyphen_is_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write_text("text\n", Path("-"))
    assert capsysbinary.readouterr().out == b"text\n"
    assert not Path("-").exists()


def test_a_file_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: No such file or directory"):
        write_text("x", tmp_path / "missing" / "file")


def test_what_was_printed_before_comes_before(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_text("first\n")
    with open_output() as stream:
        stream.write(b"second\n")
    write_text("third\n")
    assert capfdbinary.readouterr().out == b"first\nsecond\nthird\n"


ACTIVE = "a\x1b[2J\x7f\x9b31m\u202eb\u2028é\U000e0041模"


def shown_on(terminal: Terminal, *pieces: bytes) -> str:
    with redirect_stdout(terminal), open_verbatim() as stream:
        for piece in pieces:
            stream.write(piece)
    return terminal.text()


def test_a_document_on_a_terminal_is_the_same_json_without_control_characters(terminal: Terminal) -> None:
    document = json.dumps({"model": ACTIVE}, ensure_ascii=False, indent=1)
    text = shown_on(terminal, b"\xef\xbb\xbf" + document.encode().replace(b"\n", b"\r\n"), b"\r\t")
    assert json.loads(text) == {"model": ACTIVE}
    assert set("".join(re.findall("[^ -~]", text))) <= set("\n\té模")
    assert r"a\u001b[2J\u007f\u009b31m\u202eb\u2028é\udb40\udc41模" in text


def test_characters_that_come_in_pieces_are_whole_on_a_terminal(terminal: Terminal) -> None:
    data = "é\x9b\r\n".encode()
    assert shown_on(terminal, *(data[i : i + 1] for i in range(len(data))), b"\x9b\xc3") == "é\\u009b\n\\x9b\\xc3"


def test_files_and_pipes_get_documents_byte_for_byte(
    capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    data = b"\xef\xbb\xbf" + ACTIVE.encode() + b"\r\r\n\x9b"
    with open_verbatim() as stream:
        stream.write(data)
    assert capsysbinary.readouterr().out == data
    with open_verbatim(tmp_path / "x") as stream:
        stream.write(data)
    assert (tmp_path / "x").read_bytes() == data


@pytest.mark.parametrize(
    ("columns", "drawn"), [("0", True), ("1", False), ("5", False), ("39", False), ("40", True)]
)
def test_a_table_never_vanishes(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: str, drawn: bool
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with redirect_stdout(terminal):
        write_rows(("id", "passed"), [{"id": "a-run", "passed": True}])
    text = terminal.text()
    assert "a-run" in text
    assert ("─" in text) is drawn
    assert ("id\tpassed\na-run\ttrue\n" in text) is not drawn
