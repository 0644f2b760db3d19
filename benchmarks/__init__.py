"""How fast KITT's stores are, as ratios to the minimum cost of the same work.

``python -m benchmarks`` from the repository's root runs every case, ``python -m benchmarks --list`` lists the
cases, and ``python -m benchmarks all`` measures everything that docs/performance.md quotes; that page says how to
read the figures.

::

    workload      the documents: deterministic, the same on every machine
    floor         the same work with nothing but `sqlite3`: the baseline of the ratios
    timing        alternating calls of both sides, medians, ratios
    cases         what is compared in this process
    startup       what is compared in a separate process
    kept          large stores, files and a server that are generated once
    scale         the same questions in stores of 10,000 to 1,000,000 runs
    imports       10,000 files, with and without workers
    writers       many processes that save in one store
    peers         other tools, each in its own environment (`peer_saving` runs there)
    upgrade       a large database of KITT 1.x
    load          the capacity of ``kitt run``'s load generator
    report        what was measured as tables, and as a document that KITT stores
    everything    all of these, written into docs/performance.md (`page`)
"""
