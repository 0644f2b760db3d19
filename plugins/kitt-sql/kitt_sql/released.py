"""The migrations by name, in order: the n-th makes version n.

A list beside the files, so that a store can tell a migration that it does not know without importing yoyo.
`kitt_sql.migrate` refuses to work where folder and list differ.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MIGRATIONS"]

MIGRATIONS: Final = (
    "kitt-0001-results",
    "kitt-0002-operations",
    "kitt-0003-web-settings",
    "kitt-0004-agent-token-hash",
    "kitt-0005-agent-hardware",
    "kitt-0006-quick-test-command",
    "kitt-0007-quick-test-logs",
    "kitt-0008-agent-settings",
    "kitt-0009-agent-architecture",
    "kitt-0010-campaign-logs",
    "kitt-0011-engine-profiles",
    "kitt-0012-documents-and-labels",
)
