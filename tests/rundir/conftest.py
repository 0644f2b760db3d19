from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitt_core.runs import Attachment, CheckedRun, check_run

WHEN = datetime(2025, 6, 1, 12, 0, 5, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "kitt-results"


@pytest.fixture
def make_run() -> Callable[..., CheckedRun]:
    def make(
        model: str = "m", *, run_id: str | None = None, files: dict[str, bytes] | None = None, **more: Any
    ) -> Any:
        document = {"model": model, "engine": "e", "timestamp": "2025-06-01T12:00:05", **more}
        attachments = [
            Attachment(name, len(content), partial(io.BytesIO, content)) for name, content in (files or {}).items()
        ]
        return check_run(document, run_id=run_id, created_at=WHEN, attachments=attachments)

    return make
