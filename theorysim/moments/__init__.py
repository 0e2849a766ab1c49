"""Exact expectations with no Monte Carlo, for linear methods on quadratics."""

from theorysim.moments.expectations import EXPECTATIONS, run_exact
from theorysim.moments.public import Moments, exact_moments, expected_gap
from theorysim.moments.setting import computable

__all__ = ["EXPECTATIONS", "Moments", "computable", "exact_moments", "expected_gap", "run_exact"]
