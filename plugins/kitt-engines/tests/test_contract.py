"""The engine passes the conformance kit."""

from __future__ import annotations

from kitt_core.testing.engine import EngineContract


class TestReference(EngineContract):
    plugin = "kitt_engines.plugin"
    name = "reference"
    unusable = {"model": "no such size"}  # noqa: RUF012  # a constant of the contract
