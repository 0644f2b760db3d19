"""The only place that prints data.

Formats: ``table`` (drawn for a person on a terminal, tab-separated text without a frame anywhere else), ``json``
(one array or object), ``jsonl``, ``csv`` and ``markdown``. Text from documents is data in each of them: a
terminal never gets its control characters, Markdown none of its marks, a spreadsheet none of its formulas.
"""

from __future__ import annotations

import csv
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, ParamSpec, TypeVar, cast

import click

from kitt_core.cli import cells
from kitt_core.errors import ConfigurationError

__all__ = ["FORMATS", "open_output", "output_options", "write_object", "write_rows", "write_text"]

P = ParamSpec("P")
R = TypeVar("R")
Row = Mapping[str, Any]

FORMATS: Final = ("table", "json", "jsonl", "csv", "markdown")
"""What ``--format`` takes."""


def output_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--format`` and ``-o`` to a command; it is given ``output_format`` and ``output``."""
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
        help="How to write it; without it a table on a terminal, tab-separated text elsewhere.",
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
        shorten: By column, how a terminal's table shows a value that is too long for it.

    Raises:
        ConfigurationError: The file can't be written.
    """
    narrow = columns if table_columns is None else table_columns
    with open_output(output) as binary, _text(binary) as stream:
        if output_format == "json":
            _write_array(stream, columns, rows)
        elif output_format == "jsonl":
            for row in rows:
                stream.write(f"{cells.as_json(_picked(row, columns))}\n")
        elif output_format == "csv":
            _write_csv(stream, columns, rows, drawn=binary.isatty())
        elif output_format == "markdown":
            _write_markdown(stream, narrow, rows)
        elif binary.isatty():
            _draw(stream, narrow, rows, shorten or {})
        else:
            _write_plain(stream, narrow, rows)


def write_object(values: Row, output_format: str | None = None, output: Path | None = None) -> None:
    """Write one thing: a JSON object, or a row per key.

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
    """Write text that is complete as it is.

    Raises:
        ConfigurationError: The file can't be written.
    """
    with open_output(output) as binary, _text(binary) as stream:
        stream.write(text)


@contextmanager
def open_output(output: Path | None = None) -> Iterator[BinaryIO]:
    """Open what ``-o`` names for bytes: a file that appears whole or not at all, or standard output.

    Raises:
        ConfigurationError: The file can't be written.
    """
    if output is None or str(output) == "-":
        sys.stdout.flush()
        stream = cast("BinaryIO", sys.stdout.buffer)
        yield stream
        stream.flush()
        return
    try:
        with _replacing(output) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigurationError(
            f"{output} cannot be written: {error.strerror or error}", hint="name another file after -o"
        ) from error


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    if path.exists() and not path.is_file():  # a device or a named pipe cannot be renamed over
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(name).chmod(_mode(target))
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _mode(target: Path) -> int:
    """Return the mode of the file that is replaced, or what a new file would get."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


@contextmanager
def _text(binary: BinaryIO) -> Iterator[IO[str]]:
    encoding = (sys.stdout.encoding or "utf-8") if binary.isatty() else "utf-8"
    # backslashreplace: a lone surrogate becomes \udc80, which is what JSON calls it.
    stream = io.TextIOWrapper(binary, encoding=encoding, errors="backslashreplace", newline="")
    try:
        yield stream
        stream.flush()
    finally:
        stream.detach()


def _picked(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    return {name: row.get(name) for name in columns}


def _write_array(stream: IO[str], columns: Sequence[str], rows: Iterable[Row]) -> None:
    separator = "["
    for row in rows:
        stream.write(f"{separator}\n  {cells.as_json(_picked(row, columns))}")
        separator = ","
    stream.write("[]\n" if separator == "[" else "\n]\n")


def _write_csv(stream: IO[str], columns: Sequence[str], rows: Iterable[Row], *, drawn: bool) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([cells.for_spreadsheet(name) for name in columns])
    for row in rows:
        values = [cells.for_spreadsheet(row.get(name)) for name in columns]
        writer.writerow([cells.printable(value) for value in values] if drawn else values)


def _write_plain(stream: IO[str], columns: Sequence[str], rows: Iterable[Row]) -> None:
    stream.write("\t".join(columns) + "\n")
    for row in rows:
        stream.write("\t".join(cells.plain(row.get(name)) for name in columns) + "\n")


def _write_markdown(stream: IO[str], columns: Sequence[str], rows: Iterable[Row]) -> None:
    listed = list(rows)
    stream.write("| " + " | ".join(map(cells.for_markdown, columns)) + " |\n")
    stream.write("|" + "|".join("---:" if _numeric(listed, name) else "---" for name in columns) + "|\n")
    for row in listed:
        shown = (cells.for_markdown(cells.readable(row.get(name))) for name in columns)
        stream.write("| " + " | ".join(shown) + " |\n")


def _draw(
    stream: IO[str], columns: Sequence[str], rows: Iterable[Row], shorten: Mapping[str, Callable[[Any], str]]
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
    # The stream is a wrapper of its own, so rich is told that it stands for a terminal; NO_COLOR still counts.
    console = Console(
        file=stream, force_terminal=True, highlight=False, markup=False, emoji=False, soft_wrap=False
    )
    console.print(table)


def _numeric(rows: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
