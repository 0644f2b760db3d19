"""A run of `kitt run`, from an engine and a suite to what is stored; signals, and what could not be stored."""
