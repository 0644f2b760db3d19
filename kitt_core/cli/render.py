"""The only place that prints data.

Formats: ``table`` (drawn on a terminal, tab-separated text anywhere else), ``json`` (one array or object),
``jsonl``, ``csv`` and ``markdown``. Text from documents is only data in all of them: its control characters are
kept from terminals, its markup from Markdown, and its formulas from spreadsheets.
"""

from __future__ import annotations

import codecs
import csv
import io
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, ParamSpec, TypeVar, cast

import click

from kitt_core.cli import cells
from kitt_core.errors import ConfigurationError

__all__ = [
    "FORMATS",
    "open_output",
    "open_verbatim",
    "output_options",
    "write_object",
    "write_rows",
    "write_tables",
    "write_text",
]

P = ParamSpec("P")
R = TypeVar("R")
Row = Mapping[str, Any]

_NARROWEST_TABLE: Final = 40

FORMATS: Final = ("table", "json", "jsonl", "csv", "markdown")
"""The values of ``--format``."""


def output_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--format`` and ``-o`` to a command, which receives ``output_format`` and ``output``."""
    command = click.option(
        "-o",
        "--output",
        "output",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Write to this file instead of standard output (-).",
    )(command)
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(FORMATS),
        help="The output format; by default a table on a terminal, tab-separated text elsewhere.",
    )(command)


def write_rows(
    columns: Sequence[str],
    rows: Iterable[Row],
    output_format: str | None = None,
    output: Path | None = None,
    *,
    table_columns: Sequence[str] | None = None,
    shorten: Mapping[str, Callable[[Any], str]] | None = None,
) -> None:
    """Write a list of rows. JSON, JSON lines and CSV are streamed.

    Args:
        columns: The keys to write, in order; a row that lacks one has None there.
        rows: The rows.
        output_format: One of `FORMATS`; None is ``table``.
        output: A file, replaced as a whole; None or ``-`` is standard output.
        table_columns: Fewer columns for ``table`` and ``markdown``.
        shorten: By column, a function that shortens its values for a table on a terminal.

    Raises:
        ConfigurationError: The file can't be written.
    """
    narrow = columns if table_columns is None else table_columns
    with open_output(output) as binary:
        rows = _prefetched(rows)
        stream = _Text(binary)
        if output_format == "json":
            _write_array(stream, columns, rows)
        elif output_format == "jsonl":
            for row in rows:
                stream.write(f"{cells.as_json(_picked(row, columns))}\n")
        elif output_format == "csv":
            _write_csv(stream, columns, rows, drawn=stream.drawn)
        else:
            _write_table(stream, narrow, rows, output_format, shorten or {})


def write_tables(
    tables: Iterable[tuple[Sequence[str], Iterable[Row]]],
    output_format: str | None = None,
    output: Path | None = None,
) -> None:
    """Write several tables for reading, one below the other.

    Args:
        tables: The columns and the rows of each.
        output_format: ``markdown``, else ``table``.
        output: A file, replaced as a whole; None or ``-`` is standard output.

    Raises:
        ConfigurationError: The file can't be written.
    """
    with open_output(output) as binary:
        stream = _Text(binary)
        for position, (columns, rows) in enumerate(tables):
            if position and (output_format == "markdown" or not _is_drawn(stream)):  # a drawn one has a margin
                stream.write("\n")
            _write_table(stream, columns, rows, output_format, {})


def write_object(values: Row, output_format: str | None = None, output: Path | None = None) -> None:
    """Write one object: as a JSON object, or with a row per key.

    Args:
        values: Its values by key.
        output_format: One of `FORMATS`; None is ``table``. CSV has one row with a column per key.
        output: A file, replaced as a whole; None or ``-`` is standard output.

    Raises:
        ConfigurationError: The file can't be written.
    """
    if output_format == "json":
        write_text(f"{cells.as_json(values, indent=2)}\n", output)
    elif output_format in {"jsonl", "csv"}:
        write_rows(list(values), [values], output_format, output)
    else:
        pairs = ({"key": key, "value": value} for key, value in values.items())
        write_rows(("key", "value"), pairs, output_format, output)


def write_text(text: str, output: Path | None = None) -> None:
    """Write text as it is.

    Raises:
        ConfigurationError: The file can't be written.
    """
    with open_output(output) as binary:
        _Text(binary).write(text)


@contextmanager
def open_output(output: Path | None = None) -> Iterator[BinaryIO]:
    """Open what ``-o`` names, for bytes: a file that is replaced as a whole, or standard output.

    Raises:
        ConfigurationError: The file can't be written.
    """
    if output is None or str(output) == "-":
        with _standard_output() as stream:
            yield stream
        return
    from kitt_core.files import replaced_file

    with replaced_file(output) as file:
        yield file


@contextmanager
def open_verbatim(output: Path | None = None) -> Iterator[BinaryIO]:
    """Open what ``-o`` names, for documents: files and pipes get the bytes, a terminal gets visible characters.

    Raises:
        ConfigurationError: The file can't be written.
    """
    with open_output(output) as stream:
        if not stream.isatty():
            yield stream
            return
        shown = _Visible(_Text(stream))
        yield cast("BinaryIO", shown)
        shown.finish()


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    stream = cast("BinaryIO", sys.stdout.buffer)
    try:
        sys.stdout.flush()
        yield stream
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigurationError(
            f"standard output cannot be written: {error.strerror or error}", hint="write to a file with -o"
        ) from error


class _Text:
    """Writes text to a binary stream; unlike `io.TextIOWrapper`, it does not close the stream when deleted."""

    def __init__(self, binary: BinaryIO) -> None:
        self.drawn = binary.isatty()
        self.encoding = (sys.stdout.encoding or "utf-8") if self.drawn else "utf-8"
        self._binary = binary

    def write(self, text: str) -> int:
        # backslashreplace: a lone surrogate becomes \udc80, which is also its escape in JSON.
        self._binary.write(text.encode(self.encoding, "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        self._binary.flush()


class _Visible(io.RawIOBase):
    """Writes a document to a terminal, with escapes for what the terminal would act on.

    Outside strings, JSON contains nothing that needs an escape; inside them, the escape means the same.
    """

    def __init__(self, text: _Text) -> None:
        self._text = text
        decoder = codecs.getincrementaldecoder("utf-8-sig")("backslashreplace")
        # A carriage return would make the terminal overwrite the line.
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        content = bytes(data)
        self._text.write(cells.visible(self._decoder.decode(content)))
        return len(content)

    def finish(self) -> None:
        """Show an incomplete last character."""
        self._text.write(cells.visible(self._decoder.decode(b"", final=True)))


def _prefetched(rows: Iterable[Row]) -> Iterator[Row]:
    """Fetch the first row, so that a source that fails does so before a heading is written."""
    iterator = iter(rows)
    first = list(islice(iterator, 1))
    return chain(first, iterator)


def _is_drawn(stream: _Text) -> bool:
    return stream.drawn and shutil.get_terminal_size().columns >= _NARROWEST_TABLE


def _write_table(
    stream: _Text,
    columns: Sequence[str],
    rows: Iterable[Row],
    output_format: str | None,
    shorten: Mapping[str, Callable[[Any], str]],
) -> None:
    if output_format == "markdown":
        _write_markdown(stream, columns, rows)
    elif _is_drawn(stream):
        _draw(stream, columns, rows, shorten)
    else:
        _write_plain(stream, columns, rows)


def _picked(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    return {name: row.get(name) for name in columns}


def _write_array(stream: _Text, columns: Sequence[str], rows: Iterable[Row]) -> None:
    separator = "["
    for row in rows:
        stream.write(f"{separator}\n  {cells.as_json(_picked(row, columns))}")
        separator = ","
    stream.write("[]\n" if separator == "[" else "\n]\n")


def _write_csv(stream: _Text, columns: Sequence[str], rows: Iterable[Row], *, drawn: bool) -> None:
    stream.write(_csv_line(columns))
    for row in rows:
        values = [cells.for_spreadsheet(row.get(name)) for name in columns]
        stream.write(_csv_line([cells.printable(value) for value in values] if drawn else values))


def _csv_line(values: Sequence[str]) -> str:
    # The writer quotes the characters of its line terminator, and a lone CR must be quoted as well.
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return f"{line.getvalue()[:-2]}\n"


def _write_plain(stream: _Text, columns: Sequence[str], rows: Iterable[Row]) -> None:
    stream.write("\t".join(columns) + "\n")
    for row in rows:
        stream.write("\t".join(cells.plain(row.get(name)) for name in columns) + "\n")


def _write_markdown(stream: _Text, columns: Sequence[str], rows: Iterable[Row]) -> None:
    listed = list(rows)
    stream.write("| " + " | ".join(map(cells.for_markdown, columns)) + " |\n")
    stream.write("|" + "|".join("---:" if _numeric(listed, name) else "---" for name in columns) + "|\n")
    for row in listed:
        shown = (cells.for_markdown(cells.readable(row.get(name))) for name in columns)
        stream.write("| " + " | ".join(shown) + " |\n")


def _draw(
    stream: _Text, columns: Sequence[str], rows: Iterable[Row], shorten: Mapping[str, Callable[[Any], str]]
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    listed = list(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(
            Text(cells.printable(name)), justify="right" if _numeric(listed, name) else "left", overflow="fold"
        )
    for row in listed:
        texts = (shorten.get(name, cells.readable)(row.get(name)) for name in columns)
        table.add_row(*(Text(cells.printable(text)) for text in texts))
    # rich can't see that the wrapped stream is a terminal. NO_COLOR still applies.
    console = Console(
        file=cast("IO[str]", stream),
        force_terminal=True,
        width=shutil.get_terminal_size().columns,  # rich would take COLUMNS=0 literally
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )
    console.print(table)


def _numeric(rows: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
