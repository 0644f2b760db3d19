"""Runs as values: the document, what is derived from it, and how many of them can be queried.

::

    codec        bytes to a document and back; what is refused before any field is read
    rows         a document to the rows of a run
    checking     both at once, with id and time: the check that every run passes on its way into a store
    model        the values that packages exchange, rows and summaries among them
    query        filters, orders and cursors, as checked values
    grouping     groups and statistics of `aggregate`, likewise
    statistics   the statistics of numbers
    ids          run ids
    timestamps   times as KITT reads and writes them

Nothing here knows about stores. The modules `kitt_core.runs.codec` and `kitt_core.runs.statistics` are public too.
"""

from __future__ import annotations

from kitt_core.runs.checking import check_run
from kitt_core.runs.grouping import (
    GROUP_FIELDS,
    PERIODS,
    STATISTICS,
    Aggregation,
    Statistic,
    grouped_label,
)
from kitt_core.runs.ids import check_run_id, new_run_id
from kitt_core.runs.model import (
    Attachment,
    BenchmarkRow,
    CheckedRun,
    Finding,
    HardwareRow,
    MetricRow,
    Page,
    Progress,
    RunRow,
    RunRows,
    RunSummary,
    SchemaState,
    SchemaStatus,
    Severity,
    StoredRun,
)
from kitt_core.runs.query import (
    ORDER_FIELDS,
    Cursor,
    Filters,
    MetricCondition,
    Operator,
    Order,
    OrderKey,
    Patterns,
    RunFilter,
    check_page,
    nearest,
    sought_id,
)
from kitt_core.runs.rows import clean_text, derive_rows
from kitt_core.runs.timestamps import format_utc, parse_timestamp, to_utc

__all__ = [
    "GROUP_FIELDS",
    "ORDER_FIELDS",
    "PERIODS",
    "STATISTICS",
    "Aggregation",
    "Attachment",
    "BenchmarkRow",
    "CheckedRun",
    "Cursor",
    "Filters",
    "Finding",
    "HardwareRow",
    "MetricCondition",
    "MetricRow",
    "Operator",
    "Order",
    "OrderKey",
    "Page",
    "Patterns",
    "Progress",
    "RunFilter",
    "RunRow",
    "RunRows",
    "RunSummary",
    "SchemaState",
    "SchemaStatus",
    "Severity",
    "Statistic",
    "StoredRun",
    "check_page",
    "check_run",
    "check_run_id",
    "clean_text",
    "derive_rows",
    "format_utc",
    "grouped_label",
    "nearest",
    "new_run_id",
    "parse_timestamp",
    "sought_id",
    "to_utc",
]
