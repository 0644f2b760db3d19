"""Fingerprint sources for KITT: the machine that a benchmark ran on."""
