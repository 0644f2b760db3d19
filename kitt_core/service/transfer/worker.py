"""A process that reads and checks documents for an import, and how what it found travels to the one that writes.

Requests and answers are messages on standard input and output: eight bytes of length, then a list as `marshal`
writes it, because pickling the rows would take as long as deriving them. A request holds one pickled
`ImportCandidate.read` per document. Its answers hold, in the same order, a `CheckedDocument` in a flat form, or
None for a document that the importing process is to check itself: one that is refused, so that the error is the
same whoever finds it, or one that is so large that it should not exist twice.
"""

from __future__ import annotations

import gc
import marshal
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import IO, Any, Final

from attrs import fields

from kitt_core.runs.checking import CheckedDocument, check_document
from kitt_core.runs.model import BenchmarkRow, HardwareRow, MetricRow, RunRow, RunRows

__all__ = ["MOST_BYTES", "OUT_OF_MEMORY", "packed", "receive", "send", "serve", "unpacked"]

MOST_BYTES: Final = 4 << 20
"""A message holds at most so many bytes of documents, and one document more."""
OUT_OF_MEMORY: Final = 71
"""The exit code of a worker that can't get the memory that a document needs."""

_LARGEST: Final = 16 << 20
_LENGTH: Final = 8
_RUN_FIELDS: Final = [each.name for each in fields(RunRow)]
_TIME: Final = _RUN_FIELDS.index("timestamp")
_run_values: Final = attrgetter(*_RUN_FIELDS)
_hardware_values: Final = attrgetter(*[each.name for each in fields(HardwareRow)])
# A named tuple's own __new__ is Python, and takes twice as long.
_benchmark_row: Final = partial(tuple.__new__, BenchmarkRow)
_metric_row: Final = partial(tuple.__new__, MetricRow)

Answer = tuple[Any, ...] | None
_Names = dict[tuple[str, ...], tuple[str, ...]]


def serve() -> None:
    """Answer requests until there are no more, or the importing process has ended."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an importer prints must not get between the answers
    gc.freeze()
    gc.set_threshold(50_000)
    try:
        send(answers, [])  # it has started
        while (request := receive(sys.stdin.buffer)) is not None:
            _answer(request, answers)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)


def send(stream: IO[bytes], message: list[Any]) -> None:
    """Write a message.

    Raises:
        OSError: Nobody reads it any more.
    """
    data = marshal.dumps(message)
    stream.write(len(data).to_bytes(_LENGTH))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> list[Any] | None:
    """Return the next message; None if the other process has ended, even within a message."""
    length = stream.read(_LENGTH)
    if len(length) < _LENGTH:
        return None
    data = stream.read(size := int.from_bytes(length))
    return marshal.loads(data) if len(data) == size else None  # noqa: S302  # our own process wrote it


def packed(checked: CheckedDocument, names: _Names) -> tuple[Any, ...]:
    """Return a strictly checked document as `marshal` can write it.

    Args:
        checked: The document.
        names: The names of metrics in the same message so far: those of most entries are the same, and `marshal`
            writes an object only once.
    """
    rows = checked.rows
    run = list(_run_values(rows.run))
    run[_TIME] = _text(run[_TIME])
    benchmarks = []
    for name, version, number, passed, timestamp, metrics in rows.benchmarks:
        keys, values = zip(*metrics, strict=True) if metrics else ((), ())
        benchmarks.append((name, version, number, passed, _text(timestamp), names.setdefault(keys, keys), values))
    hardware = None if rows.hardware is None else _hardware_values(rows.hardware)
    return checked.document, checked.sha256, run, benchmarks, hardware, rows.labels


def unpacked(answer: tuple[Any, ...]) -> CheckedDocument:
    """Return what `packed` was given."""
    document, sha256, run, benchmarks, hardware, labels = answer
    run[_TIME] = _moment(run[_TIME])
    rows = RunRows(
        run=RunRow(*run),
        benchmarks=tuple(
            _benchmark_row(
                (
                    name,
                    version,
                    number,
                    passed,
                    _moment(time),
                    tuple(map(_metric_row, zip(keys, values, strict=True))),
                )
            )
            for name, version, number, passed, time, keys, values in benchmarks
        ),
        hardware=None if hardware is None else HardwareRow(*hardware),
        labels=labels,
    )
    return CheckedDocument(document, sha256, rows)


def _answer(request: Sequence[bytes], answers: IO[bytes]) -> None:
    part: list[Answer] = []
    names: _Names = {}
    size = 0
    for pickled in request:
        checked = _checked(pickled)
        part.append(None if checked is None else packed(checked, names))
        size += 0 if checked is None else len(checked.document)
        if size >= MOST_BYTES:
            send(answers, part)
            part, names, size = [], {}, 0
    if part:
        send(answers, part)


def _checked(pickled: bytes) -> CheckedDocument | None:
    try:
        read: Callable[[], bytes] = pickle.loads(pickled)  # noqa: S301  # the importing process wrote it
        document = read()
        return check_document(document) if len(document) <= _LARGEST else None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the importing process will meet it again, and report it
        return None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
