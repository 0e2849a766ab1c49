"""Exact expectations with no Monte Carlo, for linear methods on quadratics and variance-reduced ones on finite sums."""

from theorysim.moments.expectations import EXPECTATIONS, run_exact
from theorysim.moments.pooled import POOLED_EXPECTATIONS
from theorysim.moments.public import Moments, exact_moments, expected_gap
from theorysim.moments.setting import computable

__all__ = ["EXPECTATIONS", "POOLED_EXPECTATIONS", "Moments", "computable", "exact_moments", "expected_gap", "run_exact"]
