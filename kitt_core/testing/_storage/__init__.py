"""The storage contract, a module per topic."""
