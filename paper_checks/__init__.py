"""Paper checks: one paper a file, one short function per claim."""
