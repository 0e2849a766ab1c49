"""Bias and variance over the horizon: where momentum wins, and where it gains nothing."""

from __future__ import annotations

from math import sqrt

import numpy as np

from theorysim.analyses.band import band
from theorysim.findings import Finding, Panel, Series, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._shb_paper import MOMENTUM, PAPER, Floats, expectation, method, quadratic, step_decay
from theorysim.registry import claim

_PARTS = {"gap": "E f - f*", "gap_bias": "bias", "gap_variance": "variance"}
_KAPPA = 1e4
_GAP = 1e3


@claim(
    PAPER,
    source="Abstract (source: bias accelerated, variance near-optimal); instance derived",
    kind="separation",
    statement=r"\mathbb E f(w_T)-f^*=\text{bias}+\text{variance}:\quad\text{SHB}\ll\text{SGD while the bias decides},\quad"
    r"\text{SHB}\approx\text{SGD once the noise does}",
    assumptions="kappa = 1e4, log spectrum, d = 16, sigma = M = 1, f_0 - f^* = 1e3, step decay with C = 2 for each T = 2^7 "
    "to 2^26. The error of SHB is at most a hundredth of SGD's at some T, and within 5 per cent of it at the largest T.",
    controls=[
        Control({"momentum": "0"}, "without momentum nothing is won"),
        Control({"schedule": "constant"}, "with a constant step momentum loses by sqrt(kappa)/2 in the end"),
    ],
)
def momentum_wins_while_the_bias_decides(lab: Lab, momentum: str = MOMENTUM, schedule: str = "") -> Finding:
    """Momentum wins by orders of magnitude until the bias is gone, and neither wins nor loses afterwards."""
    powers = lab.pick(quick=range(8, 27, 2), full=range(7, 27))
    horizons, found = [2**power for power in powers], {}
    instance = quadratic("log", _KAPPA, distance=sqrt(_GAP / 8))
    for name in ("SHB", "SGD"):
        decays = [step_decay(horizon, _KAPPA) for horizon in horizons]
        specs = [method(name, schedule or decay.schedule, momentum) for decay in decays]
        cells = [expectation(instance, spec, decay.steps, *_PARTS) for spec, decay in zip(specs, decays, strict=True)]
        traces = lab.run_all(cells)
        found[name] = {part: np.array([trace[part][0, -1] for trace in traces]) for part in _PARTS}
    ratio = found["SHB"]["gap"] / found["SGD"]["gap"]
    split = [
        _series(f"{name}: {_PARTS[part]}", horizons, each[part], role)
        for name, each in found.items()
        for part, role in (("gap_bias", "measured"), ("gap_variance", "predicted"))
    ]
    whole = [_series(name, horizons, each["gap"], "measured") for name, each in found.items()]
    panels = (
        Panel("Bias (solid) and variance (dashed) of step decay, kappa=1e4", "T", "part of E f - f*", tuple(split)),
        Panel("Their sum", "T", "E f - f*", tuple(whole)),
    )
    wins = band(np.min(ratio), 0.0, 0.01, label="error of SHB / error of SGD, smallest over T")
    same = band(ratio[-1], 0.95, 1.05, label=f"error of SHB / error of SGD at T=2^{powers[-1]}", predicted=1.0)
    noise = band(
        found["SHB"]["gap_variance"][-1] / found["SGD"]["gap_variance"][-1], 0.95, 1.05, label="the same of the variance"
    )
    sums = [each["gap_bias"] + each["gap_variance"] - each["gap"] for each in found.values()]
    relative = np.concatenate([total / each["gap"] for total, each in zip(sums, found.values(), strict=True)])
    adds = band(relative, -1e-12, 1e-12, label="(bias + variance)/error - 1", predicted=0.0)
    return together(wins, same, noise, adds, label="who wins when", panels=panels)


def _series(name: str, horizons: list[int], values: Floats, role: str) -> Series:
    shown = values > 1e-9  # a bias that has gone leaves the figure
    steps = tuple(float(t) for t, kept in zip(horizons, shown, strict=True) if kept)
    return Series(name, steps, tuple(values[shown].tolist()), role)
