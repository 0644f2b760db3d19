"""The version of this distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["own_version"]


def own_version() -> str | None:
    """Return the installed version; None in a checkout that is not installed."""
    try:
        return version("kitt-engines")
    except PackageNotFoundError:
        return None
