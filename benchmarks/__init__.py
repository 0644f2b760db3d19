"""How fast KITT's SQLite store is, as ratios to the least that the same work costs.

``python -m benchmarks`` from the repository's root runs every case, ``python -m benchmarks --list`` says what
there is. docs/performance.md says how to read the figures.

::

    workload      the documents: deterministic, the same on every machine
    floor         the same work with nothing but `sqlite3`: what a ratio is taken against
    timing        calls of both sides in turn, medians, ratios
    cases         what is measured in this process
    startup       what is measured as a process of its own
    report        the figures as a table, and as a document that KITT stores

Beside them are programs of their own: ``benchmarks.writers`` (many processes on one server),
``benchmarks.upgrade`` (a large database of KITT 1.x) and ``benchmarks.load`` (how much the load generator of
``kitt run`` can take).
"""
