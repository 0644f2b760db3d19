"""Saves standard runs with one tool, and prints the seconds that each took as JSON.

It runs in the tool's own environment, which has nothing of KITT (`benchmarks.peers`), and as KITT itself in ours.
Each tool gets what it is made for: a run with its parameters, and 24 steps of 12 metrics. Only KITT is given the
whole document, and keeps it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.workload import Document, run_document

__all__ = ["SAVES", "main"]

Save = Callable[[Document], Any]
Flat = dict[str, float]

_DEFAULT_EXPERIMENT: Final = "0"
"""MLflow's own, which the fluent functions use as well."""


def _steps(document: Document) -> list[Flat]:
    return [dict(_numbers(entry["metrics"])) for entry in document["results"]]


def _numbers(metrics: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _parameters(document: Document) -> dict[str, Any]:
    return {name: document[name] for name in ("model", "engine", "suite_name", "timestamp", "passed")}


def _kitt(directory: Path) -> Save:
    from kitt_core import open_store

    return open_store(f"sqlite:///{directory}/kitt.db").save_result


def _mlflow(directory: Path) -> Save:
    mlflow = _mlflow_in(directory)

    def save(document: Document) -> None:
        with mlflow.start_run():
            mlflow.log_params(_parameters(document))
            for step, metrics in enumerate(_steps(document)):
                mlflow.log_metrics(metrics, step=step)

    return save


def _mlflow_batch(directory: Path) -> Save:
    mlflow = _mlflow_in(directory)
    entities: Any = __import__("mlflow.entities", fromlist=["Metric", "Param"])
    client = mlflow.MlflowClient()

    def save(document: Document) -> None:
        run = client.create_run(_DEFAULT_EXPERIMENT).info.run_id
        now = int(time.time() * 1000)
        metrics = [
            entities.Metric(name, value, now, step)
            for step, numbers in enumerate(_steps(document))
            for name, value in numbers.items()
        ]
        parameters = [entities.Param(name, str(value)) for name, value in _parameters(document).items()]
        client.log_batch(run, metrics=metrics, params=parameters)
        client.set_terminated(run)

    return save


def _mlflow_in(directory: Path) -> Any:
    mlflow: Any = __import__("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
    return mlflow


def _trackio(directory: Path) -> Save:
    os.environ["TRACKIO_DIR"] = str(directory)
    trackio: Any = __import__("trackio")

    def save(document: Document) -> None:
        trackio.init(project="benchmarks", config=_parameters(document), embed=False)
        for metrics in _steps(document):
            trackio.log(metrics)
        trackio.finish()

    return save


def _sacred(directory: Path) -> Save:
    sacred: Any = __import__("sacred.observers")
    sacred.SETTINGS.CAPTURE_MODE = "no"

    def save(document: Document) -> None:
        experiment = sacred.Experiment("benchmarks", save_git_info=False)
        experiment.observers.append(sacred.observers.FileStorageObserver(str(directory)))
        experiment.add_config(_parameters(document))

        @experiment.main  # type: ignore[untyped-decorator]  # sacred isn't installed here
        def measured(_run: Any) -> None:
            for step, metrics in enumerate(_steps(document)):
                for name, value in metrics.items():
                    _run.log_scalar(name, value, step)

        experiment.run()

    return save


SAVES: Final[dict[str, Callable[[Path], Save]]] = {
    "kitt": _kitt,
    "mlflow": _mlflow,
    "mlflow-batch": _mlflow_batch,
    "trackio": _trackio,
    "sacred": _sacred,
}


def main(tool: str, directory: str, first: str, number: str) -> None:
    """Save so many runs and one before them, which is not timed.

    Args:
        tool: One of `SAVES`.
        directory: Where the tool keeps them.
        first: The first document's number.
        number: How many are timed.
    """
    seconds = []
    with contextlib.redirect_stdout(sys.stderr):  # the tools greet
        save = SAVES[tool](Path(directory))
        for count in range(int(number) + 1):
            document = run_document(int(first) + count)
            start = time.perf_counter()
            save(document)
            seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds[1:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
