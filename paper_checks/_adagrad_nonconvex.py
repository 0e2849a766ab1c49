"""Nonconvex problems (B6, B7), and generalized smoothness (B8)."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.bound_in_expectation import bound_in_expectation
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.laws import STARTS
from theorysim.model import Cell, Control, Search, Spec
from theorysim.paper_checks._adagrad_paper import PAPER
from theorysim.registry import algorithm, claim, problem
from theorysim.trace import Trace

_NONCONVEX = "(Delta_0/eta + eta/2*(A + G))/sqrt(T)"
_LOG_TERMS = {"A": "active_sum:L", "G": "log_growth:L", "eta": "lr"}


@claim(
    PAPER,
    source="B6 (nonconvex theorem without noise, derived)",
    kind="upper",
    statement=r"\frac1T\sum_{t\le T}\|\nabla f(w_t)\|_1\le\frac1{\sqrt T}\Big[\frac{\Delta_0}\eta+\frac\eta2\sum_jL_j"
    r"\Big(1+\ln\frac{v_{T,j}}{v_{1,j}}\Big)\Big]",
    bound=_NONCONVEX,
    assumptions="f = 1/2 sum L_j x_j^2/(1+x_j^2), L_j = 1/j, x_1 ~ U(-3,3), eps = 0; v_1 is the first nonzero accumulator, a "
    "coordinate that never moves counts 0. A + G is the sum of L_j (1 + ln).",
    controls=[Control({"factor": 0.5}, "one step from a point near the minimum attains the bound")],
    search=Search(
        problem("separable_nonconvex", dim=50),
        algorithm("adagrad", lr="sqrt(2*Delta_0/L_1norm)"),
        over={"dim": (1, 100), "decay": (0.0, 3.0), "start": list(STARTS), "distance": (0.01, 10.0), "lr": (1e-3, 10.0)},
        steps=200,
        of="mean_gradient_norm:1",
        bound=_NONCONVEX,
        where=_LOG_TERMS,
    ),
)
def nonconvex_theorem(lab: Lab, factor: float = 1.0) -> Finding:
    """The mean l1 norm of the gradient stays below the nonconvex bound, which one small step attains."""
    bound = f"{factor}*{_NONCONVEX}"
    method = algorithm("adagrad", lr="sqrt(2*Delta_0/L_1norm)")
    measures, horizons = ("mean_gradient_norm:1", "active_sum:L", "log_growth:L"), (1, 100, 300, 400, 1200, 1600)
    start = {"start": "uniform", "low": 0.0, "high": 3.0}
    instances = [problem("separable_nonconvex", dim=50, **start), problem("separable_nonconvex", dim=80, zero_every=10, **start)]
    traces = lab.run_all(Cell(p, method, 1600, lab.runs(lab.pick(quick=4, full=50)), measures, horizons) for p in instances)
    labels = ("d=50", "d=80, every 10th coordinate at the minimum")
    parts = [
        bound_ratio([trace], of=measures[0], bound=bound, where=_LOG_TERMS, label=label)
        for trace, label in zip(traces, labels, strict=True)
    ]
    near = problem("separable_nonconvex", dim=10, decay=0.0, start="signs", distance=0.01)
    tight = lab.run(Cell(near, algorithm("adagrad", lr=0.01), 1, 1, measures, "last"))
    ratio = bound_ratio([tight], of=measures[0], bound=bound, where=_LOG_TERMS, label="attained").measured or 0.0
    parts.append(band(ratio, 0.99, 1 + 1e-9, label="one step from |x_j| = .01 with eta = .01", predicted=1.0))
    return together(*parts, label="nonconvex theorem", panels=parts[0].panels)


_SIGMA, _DELTA = 0.1, 1e-2
_NOISY = "sqrt(2)*K/sqrt(T) + sqrt(K*(dim*delta + s_1norm*sqrt(2*T + 1))/T)"


@claim(
    PAPER,
    source="B7 (nonconvex theorem with noise, derived; metric and form as in the paper, recalled)",
    kind="rate",
    statement=r"\frac1T\sum_t\mathbb E\|\nabla f(w_t)\|_1\le\frac{\sqrt2K}{\sqrt T}+\sqrt{\frac{K(d\delta+\|s\|_1\sqrt{2T+1})}T},"
    r"\quad K=\frac{2\Delta_0}\eta+\sum_j(4s_j+\eta L_j)\,\mathbb E\ln\frac{v_{T,j}}{\delta^2}",
    bound=_NOISY,
    assumptions="d = 50, L_j = 1/j, sigma_j = .1/j, s = sigma/sqrt(M), x_1 ~ U(-3,3), v_0 = delta^2 = 1e-4, step g/sqrt(v), "
    "eta = sqrt(2 Delta_0/‖L‖_1); T = 200..3200 at M = 1, M = 1..16 at T = 800.",
    controls=[
        Control({"shrink": False}, "noise that does not shrink with M: slope 0 in M"),
        Control(
            {"fault": "moving_average"}, "a moving average of g^2 with a constant step does not converge: slope above 0 in T"
        ),
        Control({"noise": 0.0}, "without noise the mean gradient falls like 1/T"),
    ],
)
def nonconvex_noise(lab: Lab, shrink: bool = True, fault: str | None = None, noise: float = _SIGMA) -> Finding:
    """With noise the mean gradient falls like T^-1/4 and M^-1/4, below the bound in expectation."""
    batches, horizons = (1, 2, 4, 8, 16), (200, 400, 800, 1600, 3200)
    measures = ("mean_gradient_norm:1", "log_growth:L", "log_growth:sigma")
    settings = {"lr": "sqrt(2*Delta_0/L_1norm)", "v0": _DELTA**2}
    method = algorithm("adagrad", **settings) if fault is None else algorithm("faulty_adagrad", fault=fault, **settings)
    traces = lab.run_all(
        Cell(_noisy(m if shrink else 1, noise), method, max(recorded), lab.runs(10), measures, recorded)
        for m in batches
        for recorded in [horizons if m == 1 else horizons[: horizons.index(800) + 1]]
    )
    in_time, law = _mean_and_bound(traces[0], 1, noise)
    curves = [_mean_and_bound(trace, m, noise) for trace, m in zip(traces, batches, strict=True)]
    in_batch, batch_law = (np.array([curve[kind][horizons.index(800)] for curve in curves]) for kind in (0, 1))
    parts = [
        slope(horizons, in_time, low=-0.29, high=-0.21, label="exponent of T", predicted=-0.25, quantity="mean gradient"),
        slope(
            batches,
            in_batch,
            low=-0.29,
            high=-0.21,
            label="exponent of M",
            predicted=-0.25,
            variable="M",
            quantity="mean gradient",
        ),
        band(np.concatenate([in_time / law, in_batch / batch_law]), high=1.0, label="largest mean / bound over T and M"),
    ]
    if noise > 0:
        errors = traces[0]["mean_gradient_norm:1"]
        parts.append(bound_in_expectation(np.array(horizons, float), errors, law, label="bound in expectation over T"))
    return together(*parts, label="nonconvex with noise", panels=parts[0].panels + parts[1].panels)


def _mean_and_bound(trace: Trace, batch: int, noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(records,)`` means over runs of the mean gradient norm and of the bound, whose logarithms are measured."""
    eta, s_1norm = trace.hyper("lr")[:, None], trace.constants["sigma_1norm"] / sqrt(batch)
    k = 2 * trace.constant("Delta_0")[:, None] / eta + 4 / sqrt(batch) * trace["log_growth:sigma"] + eta * trace["log_growth:L"]
    values = {"K": k, "T": trace.steps[None, :].astype(float), "dim": 50, "delta": _DELTA, "s_1norm": s_1norm}
    return trace["mean_gradient_norm:1"].mean(axis=0), Bound(_NOISY)(values).mean(axis=0)


def _noisy(batch: int, noise: float) -> Spec:
    return problem(
        "separable_nonconvex", dim=50, noise=noise, noise_law="spectrum", batch=batch, start="uniform", low=0.0, high=3.0
    )


_GENERALIZED = "2/sqrt(T)*(Delta_0/eta + eta/2*(A + G))"


@claim(
    PAPER,
    source="B8 (generalized smoothness without noise, derived; form of the assumption recalled)",
    kind="upper",
    statement=r"\frac1T\sum_{t\le T}\|\nabla f(w_t)\|_1\le\frac2{\sqrt T}\Big[\frac{\Delta_0}\eta+\frac\eta2\sum_jL_{0,j}"
    r"\Big(1+\ln\frac{v_{T,j}}{v_{1,j}}\Big)\Big],\quad \eta\le1/\|L_1\|_\infty",
    bound=_GENERALIZED,
    assumptions="f = sum c_j (cosh(a_j x_j) - 1), a = .5..3, c = a^-2, x_1 = 3 in every coordinate, "
    "eta = min(1/‖L_1‖_inf, sqrt(2 Delta_0/‖L_0‖_1)). A + G is the sum of L_0 (1 + ln).",
    controls=[
        Control({"method": "gradient_descent"}, "gradient descent with 1/‖L_0‖_inf diverges when a_max x_1 is large"),
        Control({"method": "gradient_descent", "start": 0.8}, "with a_max x_1 = 2.4 it does not", fires=False),
    ],
)
def generalized_smoothness(lab: Lab, method: str = "adagrad", start: float = 3.0) -> Finding:
    """AdaGrad's steps never exceed eta, so it converges where the curvature grows with the gradient."""
    instance = problem("cosh_sum", dim=50, start="ones", distance=start)
    if method == "gradient_descent":
        trace = lab.run(Cell(instance, algorithm("gradient_descent", lr="1/L_0_infnorm"), 50, record="all"))
        return _stays_bounded(trace)
    step = algorithm("adagrad", lr="Min(1/L_1_infnorm, sqrt(2*Delta_0/L_0_1norm))")
    measures = ("gap", "mean_gradient_norm:1", "active_sum:L_0", "log_growth:L_0")
    trace = lab.run(Cell(instance, step, 10_000, 1, measures))
    where = {"A": "active_sum:L_0", "G": "log_growth:L_0", "eta": "lr"}
    ratio = bound_ratio(
        [trace], of="mean_gradient_norm:1", bound=_GENERALIZED, where=where, label="mean gradient / bound, T = 1..10000"
    )
    return together(ratio, _stays_bounded(trace), label="generalized smoothness", panels=ratio.panels)


def _stays_bounded(trace: Trace) -> Finding:
    return band(trace["gap"] / trace["gap"][:, :1], high=1e3, label="largest f(w_t)/f(w_1)")
