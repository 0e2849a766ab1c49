"""Large batches (C7) and small ones (C8): how far a batch may grow, and from which one on momentum converges at all."""

from __future__ import annotations

from math import ceil, exp, floor, inf, log, sqrt
from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, TheorysimError
from theorysim.paper_checks._shb_paper import (
    MOMENTUM,
    PAPER,
    SPECTRA,
    Floats,
    delta_of,
    expectation,
    gamma_of,
    half_decades,
    last,
    method,
    quadratic,
    step_decay,
)
from theorysim.registry import claim, problem

_BUDGET, _SMALL_BUDGET = 2**34, 2**30
_GAP = 1e3  # f_0 - f^*
_DIM = 12  # of least squares


# ------------------------------------------------------------------------------------------ C7
def _errors(lab: Lab, kappa: float, name: str, momentum: str, batches: list[int], budget: int) -> dict[int, float]:
    """E f - f* with N = M T gradients, by M, where there is a schedule."""
    cells: dict[int, Cell] = {}
    for batch in batches:
        try:
            decay = step_decay(budget // batch, kappa)
        except TheorysimError:  # too few steps for a stage
            continue
        instance = quadratic("log", kappa, batch=batch, distance=sqrt(_GAP / 8))
        cells[batch] = expectation(instance, method(name, decay.schedule, momentum), decay.steps, "gap")
    return dict(zip(cells, map(last, lab.run_all(cells.values())), strict=True))


def _largest_batch(lab: Lab, kappa: float, name: str, momentum: str) -> tuple[int, dict[int, float]]:
    """The largest M, on a grid of factor sqrt(2), with an error within twice that of the best one, and the errors by M.

    First on a grid of factor 4, then between two of its points; 0 where no error is positive.
    """

    def size(octave: int) -> int:
        return round(2 ** (octave / 2))

    coarse = list(range(lab.pick(quick=16, full=0), 61, 4))
    found = _errors(lab, kappa, name, momentum, [size(i) for i in coarse], _BUDGET)
    near = max((i for i in coarse if found.get(size(i), inf) <= 2 * min(found.values())), default=coarse[0])
    found |= _errors(lab, kappa, name, momentum, [size(near + more) for more in (-2, -1, 1, 2, 3)], _BUDGET)
    best = min(found.values())
    return max(m for m, error in found.items() if error <= 2 * best) if best > 0 else 0, dict(sorted(found.items()))


@claim(
    PAPER,
    source="Abstract (source: useful for large batches); C7 (derived)",
    kind="rate",
    statement=r"N=MT:\quad M_{\max}^{SHB}/M_{\max}^{SGD}\sim\kappa^{1/2},\qquad M=1:\ \text{no advantage}",
    assumptions="N = 2^34, f_0 - f^* = 1e3, log spectrum, d = 16, sigma = 1, C = 2, T = floor(N/M), kappa = 1e2 to 1e5; "
    "M_max is the largest M, on a grid of factor sqrt(2), with at most twice the smallest error over M; slope of the ratio "
    "in [.4, .6]. M = 1: N = 2^30, ratio of errors in [.98, 1.03].",
    controls=[Control({"momentum": "0"}, "without momentum there is no advantage")],
)
def large_batches(lab: Lab, momentum: str = MOMENTUM) -> Finding:
    """At a fixed number of samples momentum takes batches sqrt(kappa) times as large, and at M = 1 it gains nothing."""
    kappas = [1e2, 1e3, 1e4, 1e5]
    largest: dict[str, list[int]] = {"SHB": [], "SGD": []}
    curves = []
    for kappa in kappas:
        for name, sizes in largest.items():
            size, errors = _largest_batch(lab, kappa, name, momentum)
            sizes.append(size)
            if kappa == 1e3:
                curves.append(Series(name, tuple(map(float, errors)), tuple(errors.values())))
    ratio = np.array(largest["SHB"]) / np.array(largest["SGD"])
    limits = {"low": 0.4, "high": 0.6, "predicted": 0.5}
    pays = slope(
        kappas, ratio, label="M_max of SHB / M_max of SGD: exponent of kappa", variable="kappa", quantity="ratio", **limits
    )
    single = []
    for kappa in kappas[:3]:
        one, other = (_errors(lab, kappa, name, momentum, [1], _SMALL_BUDGET)[1] for name in largest)
        single.append(one / other)
    none = band(single, 0.98, 1.03, label="M = 1: error of SHB / error of SGD", predicted=1.0)
    fitted = [float(np.polyfit(np.log(kappas), np.log(np.maximum(sizes, 1)), 1)[0]) for sizes in largest.values()]
    rows = [(kappa, *(sizes[i] for sizes in largest.values()), ratio[i]) for i, kappa in enumerate(kappas)]
    rows.append(("exponent of kappa", *fitted, pays.measured or 0.0))
    table = Table("Largest batch", ("kappa", "SHB", "SGD", "ratio"), tuple(rows))
    panel = Panel("kappa=1000, N=2^34 samples", "M", "E f - f*", tuple(curves))
    return together(pays, none, label="large batches", panels=(panel, *pays.panels), tables=(table,))


# ------------------------------------------------------------------------------------------ C8
_RESPONSE = "(1 + beta)/(gamma*q*(2*(1 + beta) - q))*q**2/M"


def _growth(q: Floats, beta: float, gamma: float, batch: float) -> float:
    """G = sum_j (R_j q_j^2/M)/(1 - R_j q_j^2/M), inf where a direction alone diverges: stable if and only if G < 1."""
    x = np.asarray(Bound(_RESPONSE)({"q": q, "beta": beta, "gamma": gamma, "M": batch}))
    return float((x / (1 - x)).sum()) if (x < 1).all() else inf


def critical_batch(q: Floats, beta: float, gamma: float) -> float:
    """M_crit, the root of G = 1 in M, by bisection of log M."""
    low, high = 0.0, log(1e12)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _growth(q, beta, gamma, exp(middle)) > 1 else (low, middle)
    return exp(high)


def _weights(name: str, kappa: float) -> tuple[float, float]:
    return ((1 - delta_of(kappa)) ** 2, gamma_of(kappa)) if name == "SHB" else (0.0, 1.0)


@claim(
    PAPER,
    source="C8 (derived: stability of the map of second moments; consistent with Kidambi and others 2018)",
    kind="threshold",
    statement=r"\text{stable}\iff G(M)=\sum_j\frac{R_jq_j^2/M}{1-R_jq_j^2/M}<1,\quad R_j=\frac{1+\beta}{\gamma q_j(2(1+\beta)"
    r"-q_j)};\quad "
    r"M_{crit}^{SHB}\sim\frac{\operatorname{tr}H}{L}\sqrt\kappa",
    bound=_RESPONSE,
    assumptions="Least squares with Gaussian inputs, d = 12, log spectrum, eta = 1/L, kappa = 10 to 1e5 (full: 1e6); the "
    "sign of 1 - spectral radius at the two integers around M_crit. Exponent of M_crit L/tr(H) over kappa >= 1e3 in [.45, "
    ".6]; SGD: M_crit L/tr(H) in [.5, 3].",
    controls=[
        Control({"momentum": "1 - sqrt(lambda_min/lambda_max)"}, "another momentum has another critical batch"),
        Control({"data": "decoupled"}, "inputs along one eigenvector at a time have other fourth moments"),
    ],
)
def critical_batch_of_least_squares(lab: Lab, momentum: str = MOMENTUM, data: str = "gaussian") -> Finding:
    """On least squares SHB with eta = 1/L diverges below a batch that grows like sqrt(kappa); SGD needs a few samples only."""
    kappas = lab.pick(quick=[1e1, 1e2, 1e3, 1e4, 1e5], full=half_decades(1, 6))
    relative: dict[str, list[float]] = {"SHB": [], "SGD": []}
    parts, rows = [], []
    for name, shares in relative.items():
        below, above = [], []
        for kappa in kappas:
            eigenvalues = SPECTRA["log"](kappa, _DIM)
            root = critical_batch(eigenvalues, *_weights(name, kappa))
            settings: dict[str, Any] = {"data": data, "dim": _DIM, "spectrum": eigenvalues, "label_noise": 1.0}
            around = floor(root), ceil(root)
            cells = [
                expectation(problem("least_squares", batch=m, **settings), method(name, momentum=momentum), 1, "decay", "floor")
                for m in around
            ]
            low, high = lab.run_all(cells)
            below.append(last(low, "decay"))
            above.append(last(high, "decay"))
            trace = float(low.constant("trace_H")[0]) / float(low.constant("lambda_max")[0])
            shares.append(root / trace)
            rows.append((name, kappa, root, root / trace, below[-1], above[-1], last(high, "floor")))
        parts.append(band(below, high=0.0, label=f"{name}: 1 - spectral radius at floor(M_crit), largest"))
        parts.append(band(above, low=0.0, label=f"{name}: 1 - spectral radius at ceil(M_crit), smallest"))
    far = [i for i, kappa in enumerate(kappas) if 1e3 * (1 - 1e-9) <= kappa <= 1e5 * (1 + 1e-9)]
    limits = {"low": 0.45, "high": 0.6, "predicted": 0.5}
    x, y = [kappas[i] for i in far], [relative["SHB"][i] for i in far]
    grows = slope(x, y, label="SHB: exponent of M_crit L/tr(H) in kappa", variable="kappa", quantity="M_crit L/tr(H)", **limits)
    few = band(relative["SGD"], 0.5, 3.0, label="SGD: M_crit L/tr(H)", predicted=1.0)
    columns = ("method", "kappa", "M_crit", "M_crit L/tr(H)", "1 - radius below", "1 - radius above", "stationary error above")
    table = Table("Critical batch", columns, tuple(rows))
    return together(*parts, grows, few, _diverges(lab, momentum), label="critical batch", panels=grows.panels, tables=(table,))


def _diverges(lab: Lab, momentum: str) -> Finding:
    """At M = 8, kappa = 1e4, where SGD converges: E f - f* of SHB after 1000 steps, in units of SGD's."""
    settings: dict[str, Any] = {
        "data": "gaussian",
        "dim": _DIM,
        "spectrum": SPECTRA["log"](1e4, _DIM),
        "label_noise": 1.0,
        "batch": 8,
    }
    instance = problem("least_squares", **settings)
    one, other = lab.run_all(expectation(instance, method(name, momentum=momentum), 1000) for name in ("SHB", "SGD"))
    return band(last(one) / last(other), low=1e6, label="M = 8, kappa = 1e4: error of SHB / error of SGD after 1000 steps")
