"""What the core brings itself, through the same hooks as any plugin."""
