"""A number, or the worst of several, inside limits."""

from __future__ import annotations

import math
from itertools import permutations

import pytest

from theorysim.analyses.band import band
from theorysim.findings import Verdict

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "low", "high", "decides", "verdict"),
    [
        ([0.2], 0.0, 1.0, 0.2, "CONSISTENT"),
        ([0.0], 0.0, 1.0, 0.0, "CONSISTENT"),
        ([0.2, 0.9, 0.5], 0.0, 1.0, 0.9, "CONSISTENT"),
        ([0.2, 0.95, 0.01], 0.0, 1.0, 0.01, "CONSISTENT"),
        ([0.2, 1.5, -3.0], 0.0, 1.0, -3.0, "VIOLATED"),
        ([0.2, NAN, 0.5], -INF, 1.0, NAN, "VIOLATED"),
        ([5.0, NAN], -INF, 1.0, NAN, "VIOLATED"),
        ([0.2, INF], -INF, 1.0, INF, "VIOLATED"),
        ([0.2, -INF], -INF, 1.0, 0.2, "CONSISTENT"),
        ([0.8, 3.0], 0.5, INF, 0.8, "CONSISTENT"),
        ([0.8, INF], 0.5, INF, 0.8, "CONSISTENT"),
    ],
)
def test_the_worst_value_decides_in_any_order(values: list[float], low: float, high: float, decides: float, verdict: str) -> None:
    for order in permutations(values):
        found = band(order, low, high, label="x")
        assert found.measured == decides or (math.isnan(decides) and math.isnan(found.measured or 0.0))
        assert found.verdict is Verdict(verdict)


def test_a_table_is_judged_like_its_entries() -> None:
    assert band([[0.1, 0.2], [0.3, NAN]], high=1.0, label="x").verdict is Verdict.VIOLATED
    assert band(0.3, 0.0, 1.0, label="x") == band([[0.3]], 0.0, 1.0, label="x")
