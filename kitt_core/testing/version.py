"""The version of the contracts."""

from __future__ import annotations

from typing import Final

__all__ = ["CONTRACT_VERSION"]

CONTRACT_VERSION: Final = 1
"""Counts up when a test that was provisional binds, so that a store which passed before may fail."""
