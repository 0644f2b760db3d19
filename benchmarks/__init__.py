"""How fast KITT's SQLite store is, as ratios to the minimum cost of the same work.

``python -m benchmarks`` from the repository's root runs every case, ``python -m benchmarks --list`` lists the
cases. docs/performance.md says how to read the figures.

::

    workload      the documents: deterministic, the same on every machine
    floor         the same work with nothing but `sqlite3`: the baseline of the ratios
    timing        alternating calls of both sides, medians, ratios
    cases         what is measured in this process
    startup       what is measured in a separate process
    report        the figures as a table, and as a document that KITT stores

Some benchmarks are separate programs: ``benchmarks.writers`` (many processes on one server),
``benchmarks.upgrade`` (a large database of KITT 1.x) and ``benchmarks.load`` (the capacity of ``kitt run``'s load
generator).
"""
