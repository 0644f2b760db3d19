"""Fingerprint sources for KITT: what machine a benchmark ran on."""
