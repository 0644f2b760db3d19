"""Engines for ``kitt run``; `kitt_engines.plugin` registers them."""
