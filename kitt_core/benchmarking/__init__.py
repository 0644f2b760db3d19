"""Benchmarks: what ``kitt run`` does with an engine, and what it measures.

::

    runner       run_suite(): a suite with a session, progress, interruption; build_document(), encode()
    outputs      OutputWriter: one line per request, in compressed chunks
    suites       which benchmarks run, how often, with how many requests
    throughput, latency, concurrency_sweep, memory, warmup_analysis
                 the benchmarks; streaming_latency is defined in latency
    benchmark    what a benchmark is
    samples      measuring one streamed request, summarising many
    load         sending requests, and whether the load generator was the limit
    workload     the prompts, and how the user's options change them
    catalogue    unit, direction and definition of every metric

This module imports none of them, so that help pages and the catalogue do not load asyncio.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LEAST_PROMPT_CHARACTERS"]

LEAST_PROMPT_CHARACTERS: Final = 32
"""Room for what distinguishes two prompts: a number of seven digits, the salts of run, benchmark and level, and
the first letter of the kind."""
