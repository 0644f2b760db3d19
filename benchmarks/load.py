"""``python -m benchmarks.load``: how many requests and streamed tokens per second `kitt run` itself can handle.

A server sends tokens at a known pace. As concurrency rises, there is a point from which the load generator and not
the server determines how many of them arrive, and when: it then measures its own speed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from attrs import frozen

from benchmarks.report import Measurement, Section, text_table
from kitt_core import KittError, PluginManager
from kitt_core.benchmarking.load import ClosedLoop, LoadResult
from kitt_core.benchmarking.streaming import streaming_metrics
from kitt_core.benchmarking.throughput import load_rates
from kitt_core.benchmarking.workload import Workload
from kitt_core.engine import Chunk, EngineSession, GenerationRequest, Usage
from kitt_core.options import build_options
from kitt_core.plugins import ENGINES

__all__ = ["InstantSession", "Pace", "load_section", "main", "measure"]

_TIMES: Final = ("ttft ms", "itl ms", "itl p99")
_HEADINGS: Final = (
    *("in flight", "req/s", "token/s", "of paced", "busy", "CPU", *_TIMES),
    *("req/CPU s", "token/CPU s", "failed"),
)


@frozen
class Pace:
    """What the server does with each request.

    Attributes:
        ttft: Seconds to the first token.
        gap: Seconds between two tokens; 0 sends them as fast as it can.
        tokens: Length of an answer.
    """

    ttft: float
    gap: float
    tokens: int

    def tokens_per_second(self, concurrency: int) -> float | None:
        """Return the rate at which tokens would arrive if everything kept pace; None if there is no pace."""
        seconds = self.ttft + self.gap * (self.tokens - 1)
        return concurrency * self.tokens / seconds if seconds else None


class InstantSession(EngineSession):
    """Answers without waiting and without a network, so that only the load generator itself is measured.

    Every answer passes through the event loop once, which is the least that happens with a network.
    """

    model = "instant"
    concurrent = True
    remote = True

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        """Yield all tokens at once."""
        await asyncio.sleep(0)
        for _ in range(request.max_tokens):
            yield Chunk(text="word ")
        yield Chunk(text="", usage=Usage(1, request.max_tokens, "server_usage"))


async def measure(
    session: EngineSession, pace: Pace, concurrency: int, seconds: float
) -> tuple[LoadResult, float]:
    """Keep requests in flight for some seconds; return the result and the CPU seconds that it took."""
    load = ClosedLoop(session)
    workload = Workload(iterations=10**7, max_tokens=pace.tokens)
    await load.run(workload.warmup_requests(), concurrency=concurrency)
    before = time.thread_time()
    result = await load.run(workload.measured_requests(), concurrency=concurrency, seconds=seconds)
    return result, time.thread_time() - before


def load_section(seconds: float = 5.0) -> Section:
    """Measure the load generator near its limits, with kitt-engines' test server and alone."""
    paced, instant, single = Pace(0.05, 0.02, 100), Pace(0, 0, 100), Pace(0, 0, 1)
    lines = [
        *_served(None, None, paced, (1, 64, 128, 256, 384), seconds, "20 ms between tokens"),
        *_served(None, None, instant, (64,), seconds, "tokens as fast as they can be sent"),
        *_served(None, None, single, (8, 128), seconds, "requests for one token"),
        *asyncio.run(_measure_levels(InstantSession(), instant, (64,), seconds, "no server: tokens")),
        *asyncio.run(_measure_levels(InstantSession(), single, (64,), seconds, "no server: one token")),
    ]
    return Section("load", ("load", *_HEADINGS), tuple(lines))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure at each level of concurrency and print one line for each."""
    arguments = _parser().parse_args(argv)
    pace = Pace(arguments.ttft / 1000, arguments.gap / 1000, arguments.tokens)
    levels, seconds = arguments.levels, arguments.seconds
    if arguments.in_process:
        lines = asyncio.run(_measure_levels(InstantSession(), Pace(0, 0, pace.tokens), levels, seconds))
    else:
        lines = _served(arguments.url, arguments.model, pace, levels, seconds)
    print(text_table(Section("load", _HEADINGS, tuple(lines))))
    return 0


def _served(
    url: str | None, model: str | None, pace: Pace, levels: Sequence[int], seconds: float, title: str = ""
) -> list[Measurement]:
    with _server(url, pace) as reached:
        return asyncio.run(_measure_server(reached, model, pace, levels, seconds, title))


async def _measure_server(
    url: str, model: str | None, pace: Pace, levels: Sequence[int], seconds: float, title: str
) -> list[Measurement]:
    engine = PluginManager().find(ENGINES, "openai")
    given = {"base_url": url} | ({"model": model} if model else {})
    session = await engine.open(build_options(engine.options, given, "engine openai"))
    try:
        return await _measure_levels(session, pace, levels, seconds, title)
    finally:
        await session.aclose()


async def _measure_levels(
    session: EngineSession, pace: Pace, levels: Sequence[int], seconds: float, title: str = ""
) -> list[Measurement]:
    lines = []
    for concurrency in levels:
        print(f"{title or 'load'}: {concurrency} in flight", file=sys.stderr)
        result, cpu_seconds = await measure(session, pace, concurrency, seconds)
        lines.append(_line(result, cpu_seconds, pace, concurrency, title))
    return lines


def _line(result: LoadResult, cpu_seconds: float, pace: Pace, concurrency: int, title: str) -> Measurement:
    failed = len(result.samples) - len(result.successful)
    if not result.successful:
        sys.exit(f"error: {concurrency} in flight: every request failed: {result.samples[0].error}")
    rates, _ = load_rates(result)
    latencies, _ = streaming_metrics(result.successful)
    paced, rate = pace.tokens_per_second(concurrency), rates["output_token_throughput"]
    tokens = sum(sample.completion_tokens for sample in result.successful)
    cells = (
        str(concurrency),
        f"{rates['request_throughput']:.0f}",
        f"{rate:.0f}",
        "-" if paced is None or not isinstance(rate, float) else f"{rate / paced:.0%}",
        "-" if result.client_busy_share is None else f"{result.client_busy_share:.0%}",
        f"{cpu_seconds / result.duration_seconds:.0%}",
        _statistic(latencies, "ttft_ms", "p50"),
        _statistic(latencies, "itl_ms", "p50"),
        _statistic(latencies, "itl_ms", "p99"),
        f"{len(result.successful) / cpu_seconds:.0f}",
        f"{tokens / cpu_seconds:.0f}",
        str(failed),
    )
    metrics = {"requests_per_second": rates["request_throughput"], "tokens_per_second": rate}
    return Measurement(
        name=f"load: {title}, {concurrency} in flight",
        cells=(title, *cells) if title else cells,
        metrics={
            **{name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))},
            "tokens_per_cpu_second": tokens / cpu_seconds,
            "failed": failed,
        },
    )


def _statistic(latencies: Any, name: str, statistic: str) -> str:
    return f"{latencies[name][statistic]:.2f}" if name in latencies else "-"


@contextmanager
def _server(url: str | None, pace: Pace) -> Iterator[str]:
    """Provide the URL of a server: the given one, or that of kitt-engines' test server in another process."""
    if url is not None:
        yield url
        return
    try:
        testing: Any = importlib.import_module("kitt_engines.testing")
    except ImportError:
        sys.exit("error: kitt-engines is not installed with its test server; give a server with --url")
    behaviour = testing.Behaviour(ttft=pace.ttft, gap=pace.gap, tokens=pace.tokens, record=False)
    with testing.RunningServer(behaviour) as server:
        yield server.url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="base URL of a server with this pace (default: kitt-engines' test server)")
    parser.add_argument("--model", help="its model, if it has several")
    parser.add_argument(
        "--in-process", action="store_true", help="without a server: only the load generator itself"
    )
    parser.add_argument("--ttft", type=float, default=50, help="ms to the first token (default: %(default)s)")
    parser.add_argument("--gap", type=float, default=20, help="ms between two tokens (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=100, help="tokens per answer (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="duration of each level (default: %(default)s)")
    parser.add_argument(
        "--levels", type=_levels, default=[1, 8, 32, 64, 128, 256, 512], help="requests in flight, e.g. 1,8,64"
    )
    return parser


def _levels(text: str) -> list[int]:
    levels = [int(level) for level in text.split(",")]
    if min(levels) < 1:
        raise argparse.ArgumentTypeError(f"{text} has a level below 1")
    return levels


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KittError as error:
        sys.exit(f"error: {error}")
