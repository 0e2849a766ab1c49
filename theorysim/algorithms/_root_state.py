"""The state of a method that carries the root of a sum of gradient products."""

from __future__ import annotations

from typing import NamedTuple

from theorysim.accumulator import Root
from theorysim.model import Array


class State(NamedTuple):
    """``root``: V_t^{1/2} in factors."""

    x: Array
    root: Root
