"""Algorithms: one, or one tight family, a file."""
