"""Git without the program git: objects, branches and work trees of a repository on this machine."""
