"""Storage backend ``json`` for KITT: runs as plain files."""
