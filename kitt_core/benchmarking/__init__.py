"""Benchmarks: what ``kitt run`` does with an engine, and what it measures.

::

    runner       run_suite(): a suite against a session, progress, interruption; build_document(), encode()
    outputs      OutputWriter: one line per request, in compressed chunks
    suites       which benchmarks run, how often, with how many requests
    throughput, latency, concurrency_sweep, memory, warmup_analysis
                 the benchmarks; streaming_latency stands in latency
    benchmark    what a benchmark is
    samples      one streamed request, measured; many, summarised
    load         how requests follow each other, and whether the load generator was the limit
    workload     the prompts, and what a user changes of them
    catalogue    unit, direction and definition of every metric

This page imports none of them, so that a help page or the catalogue can be had without an event loop.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LEAST_PROMPT_CHARACTERS"]

LEAST_PROMPT_CHARACTERS: Final = 32
"""Room for what tells two prompts apart: a number of seven digits, the salts of run, benchmark and level, and the
first letter of the kind."""
