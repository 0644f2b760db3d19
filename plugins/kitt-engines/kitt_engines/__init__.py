"""Engines for ``kitt run``; what is registered stands in `kitt_engines.plugin`."""
