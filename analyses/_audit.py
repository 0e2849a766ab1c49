"""How the parts of a certificate judge: what rounding and chance may do, ratios that know 0/0, upper bounds on pairs."""

from __future__ import annotations

from math import inf

import numpy as np

from theorysim.analyses._probes import Floats, Pairs
from theorysim.analyses.band import band
from theorysim.findings import Finding

RELATIVE = 1e-9
STANDARD_ERRORS = 5.0


def upper(name: str, pairs: Pairs, form: Floats) -> Finding:
    """excess <= 1/2 form on every pair, ``form`` being (pairs, rows)."""
    above = np.maximum(pairs.excess - pairs.slack, 0.0)
    label = f"{name} on pairs (largest excess / bound)"
    return band(largest(ratio(above, 0.5 * form)), -inf, 1 + RELATIVE, label=label, predicted=1.0)


def ratio(value: Floats, error: Floats) -> Floats:
    """value / error; without error infinite where the value is positive, else 0."""
    return np.divide(value, error, out=np.where(value > 0, inf, 0.0), where=error > 0)


def largest(values: Floats | list[Floats] | list[float]) -> float:
    """The largest, NaN counting as the largest of all."""
    return float(np.max(np.asarray(values, dtype=float)))
