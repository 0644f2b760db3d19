"""The sources pass the conformance kit, on whatever machine the tests run."""

from __future__ import annotations

from kitt_core.testing.fingerprint import FingerprintContract


class TestHost(FingerprintContract):
    plugin = "kitt_hardware.plugin"
    name = "host"


class TestNvidia(FingerprintContract):
    plugin = "kitt_hardware.plugin"
    name = "nvidia"


class TestAmd(FingerprintContract):
    plugin = "kitt_hardware.plugin"
    name = "amd"


class TestApple(FingerprintContract):
    plugin = "kitt_hardware.plugin"
    name = "apple"
