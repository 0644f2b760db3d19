"""Per-request samples as files: ``results_chunk_0000.jsonl.gz`` and so on.

One JSON object per line. The same lines give the same bytes: the gzip header contains neither a time nor a file
name.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Final, Self, cast

from kitt_core.benchmarking.samples import RequestSample, rounded
from kitt_core.errors import StoreUnavailableError
from kitt_core.runs.model import Attachment

__all__ = ["OutputWriter", "output_line"]

_CHUNK_BYTES: Final = 50 * 1024 * 1024


def output_line(benchmark: str, run_number: int, iteration: int, sample: RequestSample) -> dict[str, Any]:
    """Return what is kept of one measured request.

    ``concurrency`` and ``request`` say which load it belongs to and its number there, as error lines name it; a
    sweep has one load per level.

    Args:
        benchmark: The benchmark's name.
        run_number: The number of the benchmark's run, from 1.
        iteration: The number of the request in that run, from 1, in the order of sending.
        sample: The request.
    """
    metrics = {
        "tps": sample.tokens_per_second,
        "ttft_ms": sample.ttft_ms,
        "ttfo_ms": sample.ttfo_ms if sample.reasoning_chunks or sample.reasoning_tokens else None,
        "tpot_ms": sample.tpot_ms,
        "e2e_latency_ms": sample.e2e_latency_ms,
    }
    numbers = {name: rounded(value) for name, value in metrics.items() if value is not None}
    if sample.reasoning_tokens is not None:
        numbers["reasoning_tokens"] = sample.reasoning_tokens
    return {
        "benchmark": benchmark,
        "run_number": run_number,
        "iteration": iteration,
        "concurrency": sample.concurrency,
        "request": sample.number,
        "prompt": sample.prompt,
        "output_length": sample.output_length,
        "started_at_seconds": rounded(sample.started_at),
        "metrics": numbers
        | {"prompt_tokens": sample.prompt_tokens, "completion_tokens": sample.completion_tokens},
        "itl_ms": [rounded(gap) for gap in sample.gaps_ms],
        "token_count_source": sample.token_count_source,
        **({"retries": sample.retries} if sample.retries else {}),
        "error": sample.error,
    }


class OutputWriter:
    """Writes lines to numbered chunks in a directory; holds one line in memory, never a whole chunk.

    A context manager; leaving it closes the last chunk. If a chunk cannot be written completely, only the lines up
    to the last `complete` are kept: the rest would be a truncated gzip stream, and on a full disk the run's own
    files need the space.

    Args:
        directory: Where the chunks go; created if missing.
        chunk_bytes: A chunk ends before the line that would take its uncompressed size beyond this; a single
            longer line gets its own chunk.
    """

    def __init__(self, directory: Path, *, chunk_bytes: int = _CHUNK_BYTES) -> None:
        self._directory = directory
        self._chunk_bytes = chunk_bytes
        self._chunks: list[Attachment] = []
        self._path: Path | None = None
        self._raw: IO[bytes] | None = None
        self._packed: gzip.GzipFile | None = None
        self._filled = 0
        self._kept = 0

    def write(self, item: Mapping[str, Any]) -> None:
        """Write one line.

        Raises:
            StoreUnavailableError: The directory can't be created or the file can't be written.
        """
        line = json.dumps(item, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            if self._raw is not None and self._filled + len(line) > self._chunk_bytes:
                self._finish()
            packed = self._packed or self._begin()
            packed.write(line)
        except OSError as error:
            self._drop()
            raise self._failure(error) from error
        except BaseException:  # interrupted, with half a line in the chunk
            self._drop()
            raise
        self._filled += len(line)

    def complete(self) -> None:
        """Complete the lines written so far, so that they are kept whatever happens to later ones.

        Raises:
            StoreUnavailableError: They can't be written.
        """
        try:
            self._end_member()
        except OSError as error:
            self._drop()
            raise self._failure(error) from error
        except BaseException:
            self._drop()
            raise

    def close(self) -> list[Attachment]:
        """Close the last chunk and return all chunks, none if nothing was written; may be called twice.

        Raises:
            StoreUnavailableError: The remaining data can't be written; a second call returns the other chunks.
        """
        try:
            self._finish()
        except OSError as error:
            self._drop()
            raise self._failure(error) from error
        return list(self._chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> gzip.GzipFile:
        if self._raw is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._path = self._directory / f"results_chunk_{len(self._chunks):04d}.jsonl.gz"
            self._raw = self._path.open("wb")
            self._filled = self._kept = 0
        # A file may contain several consecutive gzip streams; readers see them as one.
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)
        return self._packed

    def _end_member(self) -> None:
        packed, self._packed = self._packed, None
        if packed is not None and self._raw is not None:
            packed.close()
            self._raw.flush()
            self._kept = self._raw.tell()

    def _finish(self) -> None:
        try:
            self._end_member()
        finally:
            raw, self._raw = self._raw, None
            if raw is not None:
                raw.close()
        self._list()

    def _list(self) -> None:
        path, self._path = self._path, None
        if path is not None:
            opener = cast("Callable[[], BinaryIO]", partial(path.open, "rb"))
            self._chunks.append(Attachment(path.name, path.stat().st_size, opener))

    def _drop(self) -> None:
        """Close the open chunk and truncate it to what is complete, or remove it if nothing is."""
        packed, raw = self._packed, self._raw
        self._packed = self._raw = None
        for file in (packed, raw):
            with suppress(OSError):
                if file is not None:
                    file.close()
        with suppress(OSError):
            if self._path is not None and self._kept:
                os.truncate(self._path, self._kept)
                self._list()
            elif self._path is not None:
                self._path.unlink()
        self._path = None

    def _failure(self, error: OSError) -> StoreUnavailableError:
        reason = error.strerror or type(error).__name__
        return StoreUnavailableError(
            f"the requests' samples can't be written to {self._directory}: {reason}",
            hint="free some space or choose another directory",
        )
