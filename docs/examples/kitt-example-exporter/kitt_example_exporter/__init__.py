"""Exporter for KITT: runs as a table of HTML."""
