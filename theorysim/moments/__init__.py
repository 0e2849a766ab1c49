"""Exact expected gaps with no Monte Carlo, for linear methods on quadratics with additive noise."""

from theorysim.moments.risk import Risk, expected_gap, risk

__all__ = ["Risk", "expected_gap", "risk"]
