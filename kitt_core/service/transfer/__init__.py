"""Runs into a store, out of it, and from one to another: import, export, copy, backup, restore."""
