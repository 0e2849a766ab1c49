"""Analyses: one statistic a file."""
