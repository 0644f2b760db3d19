"""``kitt storage verify``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from kitt_core.cli.invocation import State, pass_state
from kitt_core.cli.messages import counted
from kitt_core.cli.render import output_options, write_rows
from kitt_core.runs.model import Finding, Severity

__all__ = ["verify"]

_DAMAGED: Final = 1


@click.command()
@click.option("--rebuild-index", is_flag=True, help="Rebuild what is derived from the documents.")
@output_options
@pass_state
def verify(state: State, rebuild_index: bool, output_format: str | None, output: Path | None) -> int:
    """Check for damage: documents that have changed, and data that does not agree with them.

    Exits with 1 if there is any. Notices (the same document twice, counts that contradict the results) are
    about runs that deserve a look; they are not damage.
    """
    counts = dict.fromkeys(Severity, 0)
    with state.open_store(output) as store:
        findings = _tallied(store.verify(rebuild=rebuild_index), counts)
        write_rows(("run_id", "severity", "what"), findings, output_format, output)
        damage, notices = counts[Severity.DAMAGE], counts[Severity.NOTICE]
        verdict = f"{damage} damaged" if damage else "no damage"
        state.note(f"{store.location}: {verdict}, {counted(notices, 'notice')}")
    return _DAMAGED if damage else 0


def _tallied(findings: Iterable[Finding], counts: dict[Severity, int]) -> Iterator[dict[str, Any]]:
    for finding in findings:
        counts[finding.severity] += 1
        yield {"run_id": finding.run_id, "severity": str(finding.severity), "what": finding.what}
