"""Exporter for KITT: runs as an HTML table."""
