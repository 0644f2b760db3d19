"""Git without a git binary: objects, branches and work trees of a repository on this machine."""
