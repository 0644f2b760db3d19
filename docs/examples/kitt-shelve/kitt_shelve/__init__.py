"""Storage backend for KITT: runs in a shelf of the standard library."""
