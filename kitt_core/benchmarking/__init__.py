"""Benchmarks: what ``kitt run`` does with an engine, and what it measures.

Import from the modules; this page imports nothing, so that the catalogue can be had without an event loop.

::

    runner       run_suite(): a suite against a session, progress, interruption
    document     build_document(), encode(): the run document of what was measured
    outputs      OutputWriter: one line per request, in compressed chunks
    suites       which benchmarks run, how often, with how many requests
    throughput, latency, streaming_latency, concurrency_sweep, memory, warmup_analysis
                 the benchmarks
    benchmark    what a benchmark is
    rates        throughput of a whole load
    streaming    TTFT, TPOT, ITL and E2E of many requests
    client       whether the load generator was the limit
    samples      one streamed request, measured
    load         how requests follow each other
    workload     the prompts, and what a user changes of them
    limits       what a user may ask of them
    distribution percentiles
    catalogue    unit, direction and definition of every metric
"""
