"""The run document: what a suite's run becomes, and the bytes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kitt_core.benchmarking.runner import SuiteRun
from kitt_core.benchmarking.samples import PERCENTILE_METHOD

__all__ = ["build_document", "encode"]


def build_document(
    run: SuiteRun,
    *,
    kitt_version: str,
    engine: str,
    model: str,
    engine_info: Mapping[str, Any],
    system_info: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the document of a run, its keys in KITT's order.

    Args:
        run: What was measured.
        kitt_version: The version of the core.
        engine: The engine's name.
        model: The model's name, as the session gives it.
        engine_info: What the session says of itself.
        system_info: The machine's fingerprint; the last key.
        labels: The user's labels; without any there is no such key.
        config: Further settings of the run, beside those of the suite's options.
    """
    document: dict[str, Any] = {
        "kitt_version": kitt_version,
        "suite_name": run.suite.name,
        "timestamp": run.started_at.isoformat(timespec="microseconds"),
        "engine": engine,
        "model": model,
        "passed": run.passed,
        "total_benchmarks": len(run.entries),
        "passed_count": run.passed_count,
        "failed_count": len(run.entries) - run.passed_count,
        "total_time_seconds": run.total_time_seconds,
        "results": list(run.entries),
    }
    if labels:
        document["labels"] = dict(labels)
    if run.stopped is not None:
        document["stopped"] = run.stopped
    if run.outputs_incomplete is not None:
        document["outputs_incomplete"] = run.outputs_incomplete
    document["percentile_method"] = PERCENTILE_METHOD
    document["engine_info"] = dict(engine_info)
    document["config"] = {
        "skip_warmup": run.options.skip_warmup,
        "runs_override": run.options.runs_override,
        **({"overrides": dict(run.suite.changed)} if run.suite.changed else {}),
        **({"prompt_salt": run.salt} if run.salt else {}),
        **(config or {}),
    }
    document["system_info"] = dict(system_info)
    return document


def encode(document: Mapping[str, Any]) -> bytes:
    """Return the document's bytes as KITT writes them: indented by two, ASCII, a final newline.

    Raises:
        TypeError: Something in it is no JSON value.
    """
    return json.dumps(document, indent=2).encode("ascii") + b"\n"
