"""Where AdaGrad loses and wins against SGD (section 4 of the derivation): the shape of the noise and of the error decides."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._adagrad_paper import PAPER
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]

_T, _DIMS = 400, (10, 32, 100, 316, 1000)
_ETA, _D_INF = 1 / sqrt(2), 2.0
_THETA = _ETA / _D_INF
_C = 1 / (2 * _THETA) + _THETA
_BOUND = "2*c**2*L_1norm*D_inf**2/T + 2*c*sigma_1norm*D_inf/sqrt(M*T)"
_STATEMENT = (
    r"\mathbb E f(\bar w_T)-f^*\le\frac{2c^2\|L\|_1D_\infty^2}T+\frac{2c\|\sigma\|_1D_\infty}{\sqrt{MT}},"
    r"\quad c=\tfrac1{2\theta}+\theta,\ \theta=\eta/D_\infty"
)


def _instance(kind: str, dim: int) -> Spec:
    """``sparse``: w* = e_1, sigma_j = 1. ``dense``: w* = 1 in all coordinates, sigma = (1, 1/d, .., 1/d). L = sigma/sqrt(T)."""
    if kind == "sparse":
        return problem("anisotropic_quadratic", dim=dim, decay=0.0, scale=1 / sqrt(_T), noise=1.0, start="sparse", origin="start")
    return problem(
        "anisotropic_quadratic",
        dim=dim,
        spectrum="two_value",
        head=1,
        kappa=dim,
        scale=1 / sqrt(_T),
        noise=sqrt(_T),
        noise_law="spectrum",
        start="ones",
        origin="start",
    )


def _method(name: str) -> Spec:
    if name == "adagrad":
        return algorithm("average", of=algorithm("adagrad", lr=_ETA, box=1.0))
    return algorithm("average", of=algorithm("sgd", lr=f"Min(1/(2*lambda_max), D_2_0/(sigma_2norm*sqrt({_T})))"))


def _errors(lab: Lab, kind: str, method: str) -> tuple[list[Trace], Floats]:
    """The traces over d, and f(wbar_T) - f* as ``(runs, dims)``."""
    traces = lab.run_all(Cell(_instance(kind, d), _method(method), _T, lab.runs(10), record="last") for d in _DIMS)
    return traces, np.stack([trace["gap"][:, -1] for trace in traces], axis=1)


def _below_bound(traces: list[Trace], errors: Floats, exponent: float) -> list[Finding]:
    """The bound holds, and it grows with d as it should: with another norm of sigma in it, it would not."""
    bound = [float(Bound(_BOUND)({**t.constants, "c": _C, "D_inf": _D_INF, "T": _T})) for t in traces]
    label = "the bound's own exponent of d"
    return [
        bound_in_expectation(np.array(_DIMS, float), errors, bound, label="AdaGrad / bound", variable="d"),
        slope(_DIMS, bound, low=exponent - 0.15, high=exponent + 0.15, label=label, predicted=exponent, variable="d"),
    ]


def _table(lab: Lab, kind: str) -> Table:
    """AdaGrad against SGD, with the ratios of the two bounds' smoothness and noise terms."""
    traces, adagrad = _errors(lab, kind, "adagrad")
    sgd = _errors(lab, kind, "sgd")[1]
    rows = []
    for i, (trace, dim) in enumerate(zip(traces, _DIMS, strict=True)):
        c = trace.constants
        distance = float(trace.constant("D_2_0")[0])
        smooth = c["L_1norm"] * _D_INF**2 / (c["lambda_max"] * distance**2)
        noise = c["sigma_1norm"] * _D_INF / (c["sigma_2norm"] * distance)
        a, s = float(adagrad[:, i].mean()), float(sgd[:, i].mean())
        rows.append((dim, a, s, a / s, smooth, noise))
    columns = ("d", "AdaGrad", "SGD", "measured ratio", "‖L‖_1 D_inf²/(λ D_2²)", "‖σ‖_1 D_inf/(‖σ‖_2 D_2)")
    return Table(
        "Mean error after 400 steps, and the ratios of the bounds' terms (D_2 is the initial distance)", columns, tuple(rows)
    )


@claim(
    PAPER,
    source="Section 4, loss geometry (derived and measured)",
    kind="separation",
    statement=_STATEMENT,
    bound=_BOUND,
    assumptions="T = 400, M = 1, w_1 = 0, w* = e_1, sigma_j = 1, L_j = 1/sqrt(T), box |w_j| <= 1, eta = 1/sqrt(2), D_inf = 2.",
    controls=[
        Control({"method": "sgd"}, "the error of SGD does not grow with d"),
        Control({"kind": "dense"}, "with a dense error and concentrated noise AdaGrad's error does not grow either"),
    ],
)
def sparse_error_loses(lab: Lab, method: str = "adagrad", kind: str = "sparse") -> Finding:
    """With a sparse error and dense noise AdaGrad's error grows like d, as its bound, while SGD's does not."""
    traces, errors = _errors(lab, kind, method)
    first = slope(_DIMS, errors.mean(axis=0), low=0.8, high=1.02, label="AdaGrad: exponent of d", predicted=1.0, variable="d")
    if (method, kind) != ("adagrad", "sparse"):
        return first
    others, theirs = _errors(lab, kind, "sgd")
    sgd = slope(_DIMS, theirs.mean(axis=0), low=-inf, high=0.15, label="SGD: exponent of d", variable="d")
    # With eta = 1/sqrt(d T) the average's noise is 1/3 of the initial error and nothing of that error is gone, for large d.
    left = (others[-1]["gap"][:, -1] / others[-1]["gap"][:, 0]).mean()
    noise = band(left, 1.2, 1.4, label=f"SGD, d={_DIMS[-1]}: error over initial error", predicted=4 / 3)
    parts = (first, sgd, noise, *_below_bound(traces, errors, 1.0))
    return together(*parts, label="loss", panels=first.panels + sgd.panels, tables=(_table(lab, kind),))


@claim(
    PAPER,
    source="Section 4, win geometry (derived and measured)",
    kind="rate",
    statement=_STATEMENT,
    bound=_BOUND,
    assumptions="As for the loss, with w* = 1 in all coordinates and sigma = (1, 1/d, .., 1/d), L = sigma/sqrt(T).",
    controls=[Control({"kind": "sparse"}, "with a sparse error and dense noise the exponent is 1")],
)
def dense_error_wins(lab: Lab, kind: str = "dense") -> Finding:
    """With a dense error and concentrated noise AdaGrad's error does not grow with d."""
    traces, errors = _errors(lab, kind, "adagrad")
    first = slope(_DIMS, errors.mean(axis=0), low=-0.1, high=0.1, label="AdaGrad: exponent of d", predicted=0.0, variable="d")
    left = [(trace["gap"][:, -1] / trace["gap"][:, 0]).mean() for trace in traces]
    moves = band(left, high=0.99, label="share of the initial error that is left, worst d")
    parts = (first, *_below_bound(traces, errors, 0.0), moves)
    return together(*parts, label="win", panels=first.panels, tables=(_table(lab, kind),))
