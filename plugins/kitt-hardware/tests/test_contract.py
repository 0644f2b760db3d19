"""The source passes the conformance kit."""

from __future__ import annotations

from kitt_core.testing.fingerprint import FingerprintContract


class TestHost(FingerprintContract):
    plugin = "kitt_hardware.plugin"
    name = "host"
