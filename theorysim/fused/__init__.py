"""Fused trajectories: many steps of a method that treats each coordinate alone, in one kernel, with its state in the cache.

A step of the algorithm is run once on symbols, which leaves a tape of what it does to one coordinate; the tape becomes a
kernel for Numba or CUDA. Nothing is declared: what can be traced is fused, everything else takes the plain path.
"""

from theorysim.fused.program import Program
from theorysim.fused.stepper import Stepper

__all__ = ["Program", "Stepper"]
