"""Storage backend ``karr`` for KITT: runs as commits in a git repository."""

from kitt_core.storage import Capability

CAPABILITIES = frozenset(map(Capability, ("DELETE", "ATOMIC_BATCH", "CONCURRENT", "ATTACHMENTS", "HISTORY")))
