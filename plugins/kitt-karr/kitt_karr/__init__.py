"""Storage backend ``karr`` for KITT: runs as commits in a git repository."""
