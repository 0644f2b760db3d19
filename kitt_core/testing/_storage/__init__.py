"""The storage contract, one module per topic."""
