"""The bias (C3): sqrt(kappa) iterations with momentum, kappa without, and the factor in front of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log, sqrt

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._shb_paper import (
    MOMENTUM,
    PAPER,
    StepDecay,
    expectation,
    half_decades,
    last,
    method,
    quadratic,
    step_decay,
)
from theorysim.registry import claim

_EPS = 1e-6
_ROUNDS = 3
_BRACKET = (10.0, 400.0)  # of T / sqrt(kappa) of SHB and T / kappa of SGD
_HALVINGS = 10
_GRID = 30
_FITTED = 1e3  # kappa from which on the slope is fitted
_RATE = "sqrt(kappa)/2"


# ------------------------------------------------------------------------------------------ iterations to a target
def _shortest(lab: Lab, kappa: float, name: str, momentum: str) -> int:
    """The smallest number of constant steps with bias <= eps (f_0 - f^*): on a logarithmic grid, refined between two neighbours.

    0 where it is never reached.
    """
    low, high = 1, int(200 * kappa)
    instance, spec = quadratic("log", kappa), method(name, momentum=momentum)
    for _ in range(_ROUNDS):
        grid = tuple(np.unique(np.rint(np.geomspace(low, high, _GRID)).astype(int)).tolist())
        trace = lab.run(expectation(instance, spec, grid[-1], "gap_bias", record=(0, *grid)))
        bias = trace["gap_bias"][0]
        reached = np.flatnonzero(bias <= _EPS * bias[0])
        if not len(reached):
            return 0
        low, high = (int(trace.steps[max(reached[0] - back, 1)]) for back in (1, 0))
    return high


@claim(
    PAPER,
    source="Abstract (source: bias accelerated to sqrt(kappa)); C3 (derived: factor and generator)",
    kind="rate",
    statement=r"K_\varepsilon^{SHB}\sim\tfrac{\sqrt\kappa}{2}\ln\tfrac1\varepsilon,\qquad"
    r" K_\varepsilon^{SGD}\sim\tfrac\kappa2\ln\tfrac1\varepsilon",
    assumptions="sigma = 0, log spectrum, d = 16, equal loss in every direction, constant step 1/L, eps = 1e-6 of f_0 - f^*; "
    "kappa = 10 to 1e6 in half decades, slope over kappa >= 1e3 (quick: decades). Slopes in [.45, .55] and [.95, 1.05].",
    controls=[
        Control({"momentum": "0"}, "delta = 1 is SGD: its exponent is 1"),
        Control({"momentum": "0.9"}, "a momentum that does not grow with kappa has the exponent of SGD"),
    ],
)
def bias_exponents(lab: Lab, momentum: str = MOMENTUM) -> Finding:
    """The steps to reduce the bias grow like sqrt(kappa) for SHB and like kappa for SGD."""
    kappas = lab.pick(quick=[1e1, 1e2, 1e3, 1e4, 1e5, 1e6], full=half_decades(1, 6))
    parts, curves = [], []
    for name, claimed in (("SHB", 0.5), ("SGD", 1.0)):
        counts = [_shortest(lab, kappa, name, momentum) for kappa in kappas]
        fitted = [i for i, kappa in enumerate(kappas) if kappa >= _FITTED * (1 - 1e-9)]
        x, y = [kappas[i] for i in fitted], [float(counts[i]) for i in fitted]
        limits = {"low": claimed - 0.05, "high": claimed + 0.05, "predicted": claimed}
        parts.append(slope(x, y, label=f"{name}: exponent of kappa", variable="kappa", quantity="steps", **limits))
        curves.append(Series(name, tuple(kappas), tuple(map(float, counts))))
        predicted = [log(1 / _EPS) / 2 * kappa**claimed for kappa in kappas]
        curves.append(Series(f"{name}: ln(1/eps)/2 kappa^{claimed:g}", tuple(kappas), tuple(predicted), "predicted"))
    panel = Panel("Steps until the bias is 1e-6 of its beginning", "kappa", "steps", tuple(curves), window=(_FITTED, kappas[-1]))
    return together(*parts, label="bias and kappa", panels=(panel,))


# ------------------------------------------------------------------------------------------ the same with step decay
def _shortest_decay(lab: Lab, kappas: Sequence[float], name: str) -> list[tuple[int, StepDecay]]:
    """For each kappa the smallest T, to half a percent, whose step decay with C = 2 brings the bias to eps (f_0 - f^*).

    0 where it is not reached within the bracket.
    """
    exponent = 0.5 if name == "SHB" else 1.0
    low, high = ([share * kappa**exponent for kappa in kappas] for share in _BRACKET)
    reached = [False] * len(kappas)
    for _ in range(_HALVINGS):
        middle = [sqrt(a * b) for a, b in zip(low, high, strict=True)]
        decays = [step_decay(floor(t), kappa) for t, kappa in zip(middle, kappas, strict=True)]
        cells = [
            expectation(quadratic("log", kappa), method(name, decay.schedule), decay.steps, "gap_bias", record=(0, decay.steps))
            for kappa, decay in zip(kappas, decays, strict=True)
        ]
        for i, trace in enumerate(lab.run_all(cells)):
            if trace["gap_bias"][0, -1] <= _EPS * trace["gap_bias"][0, 0]:
                high[i], reached[i] = middle[i], True
            else:
                low[i] = middle[i]
    found = [(floor(t), step_decay(floor(t), kappa)) for t, kappa in zip(high, kappas, strict=True)]
    return [each if there else (0, StepDecay(2.0, 1, 0)) for each, there in zip(found, reached, strict=True)]


@claim(
    PAPER,
    source="Abstract (source); C3 (derived)",
    kind="rate",
    statement=r"K_\varepsilon=T_\varepsilon/n\sim\kappa^{1/2}\ (\text{SHB}),\quad\kappa\ (\text{SGD})",
    assumptions="As for the constant step, with step decay, C = 2, kappa >= 1e3. The slope is that of K = floor(T/n): n "
    "holds log(T sqrt(kappa)), so T itself has the slopes .57 and 1.08. Slopes in [.45, .55] and [.95, 1.05].",
    controls=[Control({"regressed": "T"}, "n grows with kappa: in T the slope is outside the band")],
)
def bias_exponents_with_step_decay(lab: Lab, regressed: str = "K") -> Finding:
    """With step decay the length of a stage grows like sqrt(kappa) for SHB and like kappa for SGD."""
    kappas = lab.pick(quick=[1e3, 1e4, 1e5, 1e6], full=half_decades(3, 6))
    parts, rows = [], []
    for name, claimed in (("SHB", 0.5), ("SGD", 1.0)):
        found = _shortest_decay(lab, kappas, name)
        y = [float(decay.length if regressed == "K" else horizon) for horizon, decay in found]
        limits = {"low": claimed - 0.05, "high": claimed + 0.05, "predicted": claimed}
        label = f"{name}: exponent of kappa in {regressed}"
        parts.append(slope(kappas, y, label=label, variable="kappa", quantity=regressed, **limits))
        rows += [
            (name, kappa, horizon, decay.stages, decay.length) for kappa, (horizon, decay) in zip(kappas, found, strict=True)
        ]
    table = Table("Shortest horizon of step decay", ("method", "kappa", "T", "n", "K"), tuple(rows))
    return together(*parts, label="bias and kappa with step decay", tables=(table,))


# ------------------------------------------------------------------------------------------ the factor
@claim(
    PAPER,
    source="C3, rate factor (derived: bias decays like (1 - 1/sqrt(kappa))^{2K})",
    kind="band",
    statement=r"R=\frac{\sqrt\kappa}{2}\cdot\frac{\ln\text{bias}(K_1)-\ln\text{bias}(K_2)}{K_2-K_1}\in[.93,1],\quad K_{1,2}"
    r"=\lfloor10\sqrt\kappa\rfloor,"
    r"\lfloor20\sqrt\kappa\rfloor",
    bound=_RATE,
    assumptions="sigma = 0, log spectrum, d = 16, constant step, kappa = 1e2 to 1e6; with step decay of 20 stages of K_1 and "
    "K_2 steps R >= 1.",
    controls=[
        Control(
            {"momentum": "1 - sqrt(lambda_min/lambda_max)"}, "beta = 1 - 1/sqrt(kappa) has the same exponent and half the rate"
        ),
        Control({"momentum": "(1 - sqrt(100*lambda_min/lambda_max))**2"}, "beta for kappa/100: overdamped"),
        Control(
            {"momentum": "(1 - sqrt(lambda_min/(100*lambda_max)))**2"}, "beta for 100 kappa: the momentum forgets too slowly"
        ),
        Control({"momentum": "0"}, "without momentum the rate is 1/kappa"),
    ],
)
def bias_rate_factor(lab: Lab, momentum: str = MOMENTUM) -> Finding:
    """The bias of SHB decays as fast as its momentum allows: sqrt(kappa) has the factor 1/2, which the exponent cannot tell."""
    kappas = [1e2, 1e3, 1e4, 1e5, 1e6]
    constant, decayed, rows = [], [], []
    for kappa in kappas:
        ends = floor(10 * sqrt(kappa)), floor(20 * sqrt(kappa))
        instance, spec = quadratic("log", kappa), method("SHB", momentum=momentum)
        one = lab.run(expectation(instance, spec, ends[1], "gap_bias", record=ends))["gap_bias"][0, -2:]
        decays = [StepDecay(2.0, 20, length) for length in ends]
        cells = [expectation(instance, method("SHB", each.schedule, momentum), each.steps, "gap_bias") for each in decays]
        twenty = [last(trace, "gap_bias") for trace in lab.run_all(cells)]
        unit = float(Bound(_RATE)({"kappa": kappa}))
        factors = [unit * (log(bias[0]) - log(bias[1])) / (ends[1] - ends[0]) for bias in (one, twenty)]
        constant.append(factors[0])
        decayed.append(factors[1])
        rows.append((kappa, *ends, *factors))
    parts = [
        band(value, 0.93, 1.0, label=f"R, kappa={kappa:g}", predicted=1.0) for kappa, value in zip(kappas, constant, strict=True)
    ]
    later = band(decayed, low=1.0, label="R of 20 stages of step decay, smallest", predicted=1.0)
    columns = ("kappa", "K_1", "K_2", "R, constant step", "R, 20 stages")
    return together(*parts, later, label="rate factor", tables=(Table("Rate factor", columns, tuple(rows)),))
