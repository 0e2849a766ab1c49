"""Problem generators: one a file, constants true by construction."""
