"""``kitt run``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kitt_core.benchmarking import LEAST_PROMPT_CHARACTERS
from kitt_core.cli.filters import as_pairs
from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.progress import progress_bar
from kitt_core.cli.render import output_options
from kitt_core.errors import ConfigurationError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kitt_core.benchmarking.runner import RunProgress
    from kitt_core.service.run.running import FinishedRun, RunPlan
    from kitt_core.storage.contract import ResultStore

__all__ = ["run"]

logger = logging.getLogger(__name__)

_KARR = "karr"
_USUAL_REPOSITORY = "karr"  # --backend karr without a path
_DEFAULT_REPOSITORY = ""  # --store-karr without a path
_MOST = 1_000_000
_MOST_CONCURRENT = 10_000


def _complete_engine(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from kitt_core.plugins.loading import ENGINES

    names = ctx.ensure_object(State).plugins.names(ENGINES)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _directory(ctx: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    if path is not None and "://" in path:  # it would be taken for the name of a directory
        raise click.BadParameter(
            "a URL is not a directory; name one, and `git push` its repository to the URL later", ctx, parameter
        )
    return path


def _finite(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a number of seconds", ctx, parameter)
    return value


def _complete_benchmark(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from kitt_core.benchmarking.suites import SUITES

    names = dict.fromkeys(planned.benchmark.name for suite in SUITES for planned in suite.plan)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command()
@click.option("-e", "--engine", shell_complete=_complete_engine, help="The engine to benchmark [reference].")
@click.option("-m", "--model", help="The model, as the engine calls it.")
@click.option("-s", "--suite", help="The benchmarks to run: quick, standard or performance [quick].")
@click.option("--base-url", metavar="URL", help="The server, for engines that need one.")
@click.option(
    "--engine-name",
    metavar="NAME",
    help="The inference engine that the run is stored under, where it can't be detected: vllm, sglang, …",
)
@click.option(
    "--engine-option",
    "engine_options",
    metavar="KEY=VALUE",
    multiple=True,
    callback=as_pairs,
    help="An option of the engine; `kitt plugins show` lists them.",
)
@click.option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    multiple=True,
    callback=as_pairs,
    help="Label the run; may be repeated.",
)
@click.option("--runs", type=click.IntRange(min=1), help="Run each benchmark this many times.")
@click.option("--skip-warmup", is_flag=True, help="Send no warm-up requests.")
@click.option(
    "--benchmark",
    "benchmarks",
    metavar="NAME",
    multiple=True,
    shell_complete=_complete_benchmark,
    help="Run only this benchmark of the suite; may be repeated.",
)
@click.option(
    "--requests",
    type=click.IntRange(min=1, max=_MOST),
    help="Measure this many requests per benchmark, however long it takes.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1, max=_MOST_CONCURRENT),
    help="How many requests to keep in flight; for concurrency_sweep, the highest level.",
)
@click.option("--max-tokens", type=click.IntRange(min=1, max=_MOST), help="Output tokens per request.")
@click.option(
    "--prompt-characters",
    type=click.IntRange(min=LEAST_PROMPT_CHARACTERS, max=_MOST),
    help="Length of each prompt.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    help="Stop sending requests after this many seconds, per benchmark.",
)
@click.option(
    "--results-dir",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where run directories go [kitt-results].",
)
@click.option(
    "--store-karr",
    "karr",
    metavar="[PATH]",
    is_flag=False,
    flag_value=_DEFAULT_REPOSITORY,
    callback=_directory,
    help="Also store the run in this git repository; without PATH, in this machine's own, ./karr-….",
)
@output_options
@pass_state
def run(
    state: State,
    /,
    *,
    engine: str | None,
    model: str | None,
    suite: str | None,
    base_url: str | None,
    engine_name: str | None,
    engine_options: dict[str, str],
    labels: dict[str, str],
    runs: int | None,
    skip_warmup: bool,
    benchmarks: tuple[str, ...],
    requests: int | None,
    concurrency: int | None,
    max_tokens: int | None,
    prompt_characters: int | None,
    seconds: float | None,
    results_dir: str | None,
    karr: str | None,
    output_format: str | None,
    output: Path | None,
) -> int:
    """Benchmark an engine, store the result and write its run directory.

    Without options, a small built-in model runs the suite "quick", which takes about ten seconds and needs no
    model files and no network.

    \b
    Examples:
      kitt run
      kitt run -e openai --base-url http://localhost:8000/v1 -m llama-3-8b
      kitt run -s performance --label commit=abc1234 --format json
      kitt run -s standard --benchmark throughput --requests 200 --concurrency 32
      kitt run --store-karr
    """  # noqa: D301 - \b keeps click from rewrapping the lines
    from kitt_core.benchmarking.runner import RunOptions
    from kitt_core.benchmarking.suites import suite_named
    from kitt_core.benchmarking.workload import WorkloadChanges
    from kitt_core.cli.run_report import report
    from kitt_core.config import expanded
    from kitt_core.files import check_writable
    from kitt_core.service.run.engine_choice import select_engine
    from kitt_core.service.run.running import RunPlan

    settings = state.configuration
    changes = WorkloadChanges(
        requests=requests,
        concurrency=concurrency,
        max_tokens=max_tokens,
        prompt_characters=prompt_characters,
        seconds=seconds,
    )
    chosen = suite_named(settings.run("suite", suite).value).limited_to(benchmarks).with_changes(changes)
    selected = select_engine(
        settings, state.plugins, name=engine, model=model, base_url=base_url, options=engine_options
    )
    plan = RunPlan(
        engine=selected,
        suite=chosen,
        system_info=cache(lambda: _system_info(state)),
        results_dir=expanded(settings.run("results_dir", results_dir)),
        options=RunOptions(skip_warmup=skip_warmup, runs_override=runs),
        labels=labels,
        engine_name=engine_name,
    )
    if output is not None and str(output) != "-":
        check_writable(output)
    finished = _perform(state, plan, karr, output)
    return report(finished, output_format, output)


def _system_info(state: State) -> Mapping[str, Any]:
    from kitt_core.fingerprint import collect_system_info
    from kitt_core.plugins.loading import FINGERPRINTS

    found = collect_system_info(state.plugins.all(FINGERPRINTS))
    for note in found.notes:
        logger.warning("the fingerprint is incomplete: %s", note)
    for remark in found.remarks:
        logger.info("the fingerprint: %s", remark)
    return found.sections


def _perform(state: State, plan: RunPlan, karr: str | None, output: Path | None) -> FinishedRun:
    from kitt_core.service.run.running import perform

    with ExitStack() as opened:
        _add_fingerprint(state, plan.system_info)
        store = opened.enter_context(state.open_store(output))
        second = None
        if karr is not None:
            second = opened.enter_context(_karr_repository(state, karr, plan.system_info, output))
        bar = opened.enter_context(progress_bar(state, "starting"))

        def show(progress: RunProgress) -> None:
            bar.describe(progress.benchmark)
            bar(progress.requests_done, progress.requests_total)

        return perform(plan, store, state.plugins, second=second, on_progress=show)


def _add_fingerprint(state: State, system_info: Callable[[], Mapping[str, Any]]) -> None:
    """Let a repository that ``--backend`` or the configuration names, and that is new, keep the fingerprint."""
    selected = state.selection()
    if selected.backend.name != _KARR or "fingerprint" in selected.options:
        return
    path = selected.options["path"].value if "path" in selected.options else _USUAL_REPOSITORY
    if not _is_nonempty(Path(str(path))):
        # With a fingerprint and no path the backend would take the machine's own repository.
        given = {} if "path" in selected.options else {"path": _USUAL_REPOSITORY}
        state.options |= given | {"fingerprint": str(system_info().get("fingerprint") or "")}


def _karr_repository(
    state: State, path: str, system_info: Callable[[], Mapping[str, Any]], output: Path | None
) -> ResultStore:
    """Open the repository; without a path, the backend names it after this machine's fingerprint.

    A new repository also keeps the fingerprint. An existing one that is given by its path does not need it.
    """
    from kitt_core.files import check_output
    from kitt_core.opening import select_store

    options: dict[str, str] = {}
    if path != _DEFAULT_REPOSITORY:
        options["path"] = path
    needed = path == _DEFAULT_REPOSITORY or not _is_nonempty(Path(path))
    if needed and (fingerprint := system_info().get("fingerprint")):
        options["fingerprint"] = str(fingerprint)
    store = select_store(_KARR, options, state.configuration, state.plugins).open()
    if output is not None and str(output) != "-":
        try:
            check_output(output, store.paths)
        except ConfigurationError:
            store.close()
            raise
    return store


def _is_nonempty(directory: Path) -> bool:
    try:
        return any(directory.iterdir())
    except OSError:  # the backend reports what is wrong with it
        return False
