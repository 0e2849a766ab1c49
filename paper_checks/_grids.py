"""Grids of step sizes that several papers use."""

from __future__ import annotations


def half_octaves(unit: str, low: float, high: float) -> list[str]:
    """The grid unit * 2^k for k = low, low + 1/2, ..., high, in the constants of the problem."""
    return [f"{2.0 ** (low + i / 2)!r}*{unit}" for i in range(int(2 * (high - low)) + 1)]
