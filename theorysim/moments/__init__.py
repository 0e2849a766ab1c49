"""Exact expectations with no Monte Carlo, for linear methods on quadratics."""

from theorysim.moments.expectations import run_exact
from theorysim.moments.public import Moments, exact_moments, expected_gap
from theorysim.moments.setting import computable

__all__ = ["Moments", "computable", "exact_moments", "expected_gap", "run_exact"]
