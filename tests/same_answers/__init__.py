"""Every backend gives the same answers to the same questions."""
