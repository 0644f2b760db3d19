from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from kitt_core.rundir import render_files
from kitt_core.rundir.summary import render_summary
from kitt_core.runs import check_run, derive_rows

WHEN = datetime(2025, 6, 1, 12, 0, 5, 999, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {
    "kitt_version": "0.1.0",
    "suite_name": "quick",
    "timestamp": "2025-06-01T12:00:00.5",
    "engine": "llama_cpp",
    "model": "meta-llama/Llama-3.1-8B",
    "passed": False,
    "total_benchmarks": 2,
    "passed_count": 1,
    "failed_count": 1,
    "total_time_seconds": 12.345,
    "config": {"max_tokens": 128, "model": "not this"},
    "results": [
        {
            "test_name": "throughput",
            "run_number": 1,
            "passed": True,
            "metrics": {"avg_tps": 98.47, "total_iterations": 32, "ttft_ms": {"p50": 0.123456}},
            "errors": [],
            "warmup_times": [0.25, 0.5],
        },
        {
            "test_name": "quality|pipe",
            "run_number": 2,
            "passed": False,
            "metrics": {"accuracy": 0.875},
            "errors": [f"# error {n}\n<script>" for n in range(7)],
        },
    ],
    "system_info": {
        "gpu": {"model": "NVIDIA A100", "vram_gb": 80, "count": 4},
        "cpu": {"model": "AMD EPYC 7763", "cores": 64, "threads": 128},
        "ram_gb": 503,
        "cuda_version": "12.4",
        "os": "Linux-6.8",
        "environment_type": "docker",
    },
}

EXPECTED = """\
# KITT Benchmark Results - quick

**Generated:** 2025-06-01 12:00:05 UTC  
**Engine:** llama_cpp  
**Model:** meta-llama/Llama-3.1-8B  
**Status:** FAILED (1/2)  
**Total Time:** 12.3s

## System Information

- **Environment:** docker
- **OS:** Linux-6.8
- **GPU:** NVIDIA A100 (80GB) x4
- **CPU:** AMD EPYC 7763 (64c/128t)
- **RAM:** 503GB
- **CUDA:** 12.4

## Results

| Benchmark | Run | Status | Key Metric |
|---|---|---|---|
| throughput | 1 | PASS | 98.5 tok/s |
| quality\\|pipe | 2 | FAIL | 87.5% |

## Detailed Metrics

### throughput (Run 1)

- Warm-up: 2 iterations, first 0.2500s, last 0.5000s
- avg_tps: 98.4700
- total_iterations: 32
- ttft_ms.p50: 0.1235

### quality\\|pipe (Run 2)

- accuracy: 0.8750
- Errors: 7
  - \\# error 0 \\<script\\>
  - \\# error 1 \\<script\\>
  - \\# error 2 \\<script\\>
  - \\# error 3 \\<script\\>
  - \\# error 4 \\<script\\>
"""  # noqa: W291 - two spaces end a line in Markdown


def test_the_summary_has_kitts_form() -> None:
    assert render_summary(DOCUMENT, derive_rows(DOCUMENT), WHEN) == EXPECTED


def test_the_files_beside_the_document() -> None:
    run = check_run(DOCUMENT, run_id="an-id-of-the-run", created_at=WHEN)
    files = render_files(run)
    assert sorted(files) == ["config.json", "hardware.json", "metrics.json", "run.json", "summary.md"]
    assert files["metrics.json"] == run.document
    assert json.loads(files["hardware.json"]) == DOCUMENT["system_info"]
    assert files["hardware.json"].startswith(b'{\n  "gpu": {\n')
    assert json.loads(files["config.json"]) == {
        "max_tokens": 128,
        "model": "meta-llama/Llama-3.1-8B",
        "engine": "llama_cpp",
        "suite": "quick",
        "timestamp": "2025-06-01_120000",
        "kitt_version": "0.1.0",
    }
    assert json.loads(files["run.json"]) == {
        "id": "an-id-of-the-run",
        "created_at": "2025-06-01T12:00:05.000999+00:00",
        "sha256": run.sha256,
    }


def test_no_hardware_file_without_hardware() -> None:
    assert "hardware.json" not in render_files(check_run({"model": "m", "engine": "e", "system_info": {}}))


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b'{"model": 5, "engine": [], "results": {}, "system_info": 7, "config": 3}',
        b'{"results": [1, {"metrics": 3, "errors": 5, "warmup_times": {}}, {"warmup_times": ["x", true, 1e400]}]}',
        b'{"model": "\\ud800\\u0000", "results": [{"metrics": {"a": NaN, "b": 1e400}, "errors": [null, {}]}]}',
        b'{"total_time_seconds": 1e400, "system_info": {"cpu": {"model": "x", "cores": 1}, "n": '
        + b"9" * 5000
        + b"}}",
        b'{"system_info": {"gpu": {"model": "' + b"y" * 100_000 + b'", "vram_gb": "24"}, "os": {"a": 1}}}',
    ],
)
def test_any_object_gives_files(document: bytes) -> None:
    files = render_files(check_run(document, strict=False))
    assert files["metrics.json"] == document
    assert len(files["summary.md"]) < 3000
    for name in ("config.json", "run.json"):
        assert isinstance(json.loads(files[name]), dict)
