"""The plugin: registers the source ``host``; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitt_core.fingerprint import FingerprintSource
from kitt_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from kitt_core.registry import Registry

__all__ = ["kitt_register_fingerprint"]


@hookimpl
def kitt_register_fingerprint(registry: Registry[FingerprintSource]) -> None:
    """Add the source ``host``."""
    registry.add(
        FingerprintSource(
            name="host",
            collect=_collect,
            summary="CPU, memory, disk, operating system and environment of this machine",
        )
    )


def _collect() -> Mapping[str, Any]:
    from kitt_hardware.host import describe, this_machine

    return describe(this_machine())
