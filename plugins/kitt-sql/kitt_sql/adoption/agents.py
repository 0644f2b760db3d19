"""Agents: their tokens become hashes, as version 4 has it, and each has its settings, as version 8 has it.

Both are done whatever the version says: KITT 1.x wrote the number before it had hashed the tokens.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from kitt_sql.adoption.old_tables import OldTables
from kitt_sql.adoption.published import DEFAULT_SETTINGS
from kitt_sql.adoption.report import Report

__all__ = ["SECRETS", "add_settings", "without_token"]

SECRETS: Final = ("token", "token_hash", "token_prefix")
_PREFIX: Final = 8


def without_token(row: dict[str, Any], report: Report) -> None:
    """Replace an agent's token by its hash and its first characters."""
    token = str(row.get("token") or "")
    row["token"] = ""
    row["token_hash"] = row.get("token_hash") or ""
    row["token_prefix"] = row.get("token_prefix") or ""
    if not token:
        return
    report.remark("agents whose token was plain text, and is a hash now", row["name"])
    # What has a hash is known by it: agents prove themselves with the token that it was made of.
    row["token_hash"] = row["token_hash"] or hashlib.sha256(token.encode()).hexdigest()
    row["token_prefix"] = row["token_prefix"] or token[:_PREFIX]


def add_settings(old: OldTables) -> None:
    """Give every agent the settings that it lacks."""
    there = {tuple(row) for row in old.execute("SELECT agent_id, key FROM agent_settings")}
    agents = [row[0] for row in old.execute("SELECT id FROM agents ORDER BY id")]
    wanted = [
        (agent, key, value)
        for agent in agents
        for key, value in DEFAULT_SETTINGS.items()
        if (agent, key) not in there
    ]
    old.insert("agent_settings", ("agent_id", "key", "value"), wanted)
