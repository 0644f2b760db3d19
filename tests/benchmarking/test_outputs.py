from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kitt_core.benchmarking.outputs import OutputWriter, output_line
from kitt_core.benchmarking.samples import RequestSample
from kitt_core.errors import StoreUnavailableError

SAMPLE = RequestSample(
    "p" * 100,
    started_at=1.5,
    finished_at=1.6,
    ttft_ms=50.0,
    gaps_ms=(20.0, 30.0),
    tpot_ms=25.0,
    e2e_latency_ms=100.0,
    prompt_tokens=300,
    completion_tokens=3,
    token_count_source="engine",
    output_length=6,
    number=4,
    concurrency=8,
)


def lines(path: Path) -> list[dict[str, object]]:
    with gzip.open(path, "rt", encoding="ascii") as chunk:
        return [json.loads(line) for line in chunk]


def test_a_line_holds_the_request_and_what_was_measured() -> None:
    assert output_line("latency", 2, 7, SAMPLE) == {
        "benchmark": "latency",
        "run_number": 2,
        "iteration": 7,
        "concurrency": 8,
        "request": 4,
        "prompt": "p" * 100,
        "output_length": 6,
        "started_at_seconds": 1.5,
        "metrics": {
            "tps": 30.0,
            "ttft_ms": 50.0,
            "tpot_ms": 25.0,
            "e2e_latency_ms": 100.0,
            "prompt_tokens": 300,
            "completion_tokens": 3,
        },
        "itl_ms": [20.0, 30.0],
        "token_count_source": "engine",
        "error": None,
    }


def test_chunks_close_before_the_limit_and_lose_nothing(tmp_path: Path) -> None:
    items = [{"number": number, "text": "x" * 50} for number in range(20)] + [{"text": "y" * 500}, {"z": 1}]
    with OutputWriter(tmp_path / "outputs", chunk_bytes=200) as writer:
        for item in items:
            writer.write(item)
        attachments = writer.close()
    paths = sorted((tmp_path / "outputs").iterdir())
    assert [a.name for a in attachments] == [path.name for path in paths]
    assert paths[0].name == "results_chunk_0000.jsonl.gz"
    sizes = [len(gzip.decompress(path.read_bytes())) for path in paths]
    assert [size for size in sizes if size > 200] == [512], "only a line that is longer has its own chunk"
    assert [line for path in paths for line in lines(path)] == items


def test_attachments_open_what_was_written(tmp_path: Path) -> None:
    writer = OutputWriter(tmp_path)
    writer.write({"a": 1})
    (attachment,) = writer.close()
    with attachment.open() as content:
        data = content.read()
    assert len(data) == attachment.size
    assert gzip.decompress(data) == b'{"a":1}\n'


def test_equal_lines_give_equal_bytes(tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        writer = OutputWriter(tmp_path / name)
        writer.write(output_line("latency", 1, 1, SAMPLE))
        writer.close()
        written.append((tmp_path / name / "results_chunk_0000.jsonl.gz").read_bytes())
    assert written[0] == written[1]
    assert written[0][3:8] == bytes(5), "no file name, no time"


def test_nothing_written_is_no_file(tmp_path: Path) -> None:
    writer = OutputWriter(tmp_path / "outputs")
    assert writer.close() == []
    assert not (tmp_path / "outputs").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full is needed")
def test_a_chunk_that_the_disk_cannot_hold_goes_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "results_chunk_0001.jsonl.gz").symlink_to("/dev/full")
    writer = OutputWriter(tmp_path, chunk_bytes=20)
    writer.write({"first": "chunk"})
    writer.write({"second": "chunk"})
    with pytest.raises(StoreUnavailableError, match="No space left on device"):
        writer.close()
    assert [chunk.name for chunk in writer.close()] == ["results_chunk_0000.jsonl.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["results_chunk_0000.jsonl.gz"]


class Full(OutputWriter):
    """The disk is full, or a key is pressed, at the line ``last``."""

    error: BaseException = OSError(28, "No space left on device")

    def _begin(self) -> gzip.GzipFile:
        packed = super()._begin()
        write = packed.write

        def limited(line: Any) -> int:
            if line == b'{"last":1}\n':
                write(line[:4])
                raise self.error
            return write(line)

        packed.write = limited  # type: ignore[method-assign, assignment]
        return packed


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_complete_stays_when_a_later_line_cannot_be_written(tmp_path: Path, error: BaseException) -> None:
    writer = Full(tmp_path)
    writer.error = error
    writer.write({"a": 1})
    writer.write({"a": 2})
    writer.complete()
    writer.complete()
    writer.write({"lost": 1})
    with pytest.raises((StoreUnavailableError, KeyboardInterrupt)):
        writer.write({"last": 1})
    (attachment,) = writer.close()
    path = tmp_path / attachment.name
    assert lines(path) == [{"a": 1}, {"a": 2}]
    assert path.stat().st_size == attachment.size


def test_completed_parts_are_one_text_and_count_as_one_chunk(tmp_path: Path) -> None:
    with OutputWriter(tmp_path, chunk_bytes=30) as writer:
        for number in range(6):
            writer.write({"a": number})
            writer.complete()
        attachments = writer.close()
    assert [a.name for a in attachments] == ["results_chunk_0000.jsonl.gz", "results_chunk_0001.jsonl.gz"]
    assert [line for a in attachments for line in lines(tmp_path / a.name)] == [{"a": n} for n in range(6)]


def test_a_directory_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="samples can't be written"):
        OutputWriter(tmp_path / "file").write({"a": 1})
