"""The other tables: each row moves as it is, except for values that its new column can't hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from kitt_sql.adoption.kitt1_schema import DEFAULT_SETTINGS, OPERATIONS, Published, instant
from kitt_sql.adoption.old_tables import ASIDE, OldTables, Remark
from kitt_sql.adoption.recognition import Legacy

__all__ = ["carry_operations", "link_results"]

_PORTION: Final = 500
_SECRETS: Final = ("token", "token_hash", "token_prefix")
_PREFIX: Final = 8

Row = dict[str, Any]


def carry_operations(old: OldTables, legacy: Legacy, remark: Remark) -> None:
    """Move every row that the new tables can hold; call `link_results` when the runs have moved."""
    parents: dict[str, set[Any]] = {table: set() for table in ("agents", "web_campaigns", "quick_tests", "runs")}
    for table in OPERATIONS:
        if legacy.has(table.name):
            _carry(table, old, legacy, parents, remark)
    _add_settings(old)


def _carry(table: Published, old: OldTables, legacy: Legacy, parents: dict[str, set[Any]], remark: Remark) -> None:
    found = [name for name in old.new_columns(table.name) if legacy.has(table.name, name)]
    made = (*table.required, *table.created, *(_SECRETS if table.name == "agents" else ()))
    columns = [*found, *(name for name in made if name not in found)]

    def fitted() -> Iterator[list[Any]]:
        for number, values in enumerate(old.stream(table.name, found), 1):
            row = dict.fromkeys(columns) | dict(zip(found, values, strict=True))
            if _fit(row, number, table, old, parents, remark):
                if table.name in parents:
                    parents[table.name].add(row["id"])
                yield [row[name] for name in columns]

    rows = fitted()
    while portion := list(islice(rows, _PORTION)):
        old.insert(table.name, columns, portion)


def _fit(
    row: Row, number: int, table: Published, old: OldTables, parents: dict[str, set[Any]], remark: Remark
) -> bool:
    """Change the row so that the new table takes it; False if it must be left out."""
    key = "key" if table.name == "web_settings" else "id"
    if row[key] is None:  # SQLite allows NULL in a text key
        row[key] = f"adopted-{number}"
    name = f"{table.name} {row[key]}"
    if table.name == "agents":
        _without_token(row, remark)
    for column, value in table.required.items():
        if row[column] is None:
            row[column] = value
    for column in table.created:
        row[column] = old.created_value(row[column], _instant(row[column], name, remark))
    for column in table.times:
        if column in row:
            row[column] = old.time_value(_instant(row[column], name, remark))
    for column in table.json:
        row[column] = old.json_value(row[column])
    return all(_refer(row, name, reference, parents, remark) for reference in table.references)


def _instant(value: Any, name: str, remark: Remark) -> Any:
    try:
        return instant(value)
    except ValueError:
        remark("rows with a time that cannot be read", name)
        return None


def _refer(
    row: Row, name: str, reference: tuple[str, str, bool], parents: dict[str, set[Any]], remark: Remark
) -> bool:
    column, parent, needed = reference
    if row.get(column) in parents[parent]:
        return True
    if needed:
        remark(f"rows that refer to missing {parent} and were left out", name)
        return False
    if row.get(column) and parent != "runs":
        remark(f"rows that referred to missing {parent} and now refer to none", name)
    row[column] = None
    return True


def link_results(old: OldTables, legacy: Legacy) -> None:
    """Make quick tests refer to their runs again, where those exist."""
    if not legacy.has("quick_tests", "result_id"):
        return
    aside = f"{ASIDE}quick_tests"
    old.execute(
        f"UPDATE quick_tests SET result_id = (SELECT o.result_id FROM {aside} AS o WHERE o.id = quick_tests.id)"  # noqa: S608  # ours
        f" WHERE id IN (SELECT o.id FROM {aside} AS o JOIN runs ON runs.id = o.result_id)"
    )


def _without_token(row: dict[str, Any], remark: Remark) -> None:
    """Replace an agent's token by its hash and its first characters, as version 4 does.

    This and the settings ignore the recorded version: KITT 1.x wrote it before it had hashed the tokens.
    """
    token = str(row.get("token") or "")
    row["token"] = ""
    row["token_hash"] = row.get("token_hash") or ""
    row["token_prefix"] = row.get("token_prefix") or ""
    if not token:
        return
    remark("agents whose token was plain text and is now a hash", row["name"])
    # An existing hash stays: the agent authenticates with the token that it was made from.
    row["token_hash"] = row["token_hash"] or hashlib.sha256(token.encode()).hexdigest()
    row["token_prefix"] = row["token_prefix"] or token[:_PREFIX]


def _add_settings(old: OldTables) -> None:
    """Give every agent the settings that it lacks, as version 8 does."""
    there = {tuple(row) for row in old.execute("SELECT agent_id, key FROM agent_settings")}
    agents = [row[0] for row in old.execute("SELECT id FROM agents ORDER BY id")]
    wanted = [
        (agent, key, value)
        for agent in agents
        for key, value in DEFAULT_SETTINGS.items()
        if (agent, key) not in there
    ]
    old.insert("agent_settings", ("agent_id", "key", "value"), wanted)
