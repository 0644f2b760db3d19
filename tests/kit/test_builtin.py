"""What the core brings itself passes the conformance kit, like any plugin."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kitt_core.rundir import write_run
from kitt_core.runs import Attachment, check_run
from kitt_core.testing.documents import HOSTILE, MINIMAL, STANDARD
from kitt_core.testing.exporter import ExporterContract
from kitt_core.testing.importer import ImporterContract


class Exporters(ExporterContract):
    plugin = "kitt_core._builtin.exporters"


class TestJsonExporter(Exporters):
    name = "json"


class TestJsonLinesExporter(Exporters):
    name = "jsonl"


class TestCsvExporter(Exporters):
    name = "csv"


class TestMarkdownExporter(Exporters):
    name = "markdown"


class TestKittImporter(ImporterContract):
    plugin = "kitt_core._builtin.importers"
    name = "kitt"
    stream = MINIMAL + b"\n" + MINIMAL + b" \r\n"
    stream_documents = (MINIMAL, MINIMAL + b" ")

    @pytest.fixture
    def samples(self, tmp_path: Path) -> dict[Path, list[bytes]]:
        one = tmp_path / "one.json"
        one.write_bytes(HOSTILE["CRLF"])
        lines = tmp_path / "lines.jsonl"
        lines.write_bytes(MINIMAL + b"\n\n" + HOSTILE["number spelling"])
        tree = tmp_path / "tree"
        moment = datetime(2025, 3, 4, tzinfo=UTC)
        attachment = Attachment("chunk.gz", one.stat().st_size, lambda: one.open("rb"))
        write_run(tree, check_run(STANDARD, run_id="mine", created_at=moment, attachments=[attachment]))
        return {one: [HOSTILE["CRLF"]], lines: [MINIMAL, HOSTILE["number spelling"]], tree: [STANDARD]}

    @pytest.fixture
    def unrecognised(self, tmp_path: Path) -> list[Path]:
        notes = tmp_path / "notes.txt"
        notes.write_bytes(MINIMAL)
        return [notes, tmp_path / "absent.csv"]
