"""Exponents of the horizon that are tight (B5)."""

from __future__ import annotations

from math import e, inf

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.analyses.exponent import exponent
from theorysim.analyses.slope import slope
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Search
from theorysim.paper_checks._adagrad_paper import CONVEX, CONVEX_TERMS, PAPER
from theorysim.registry import algorithm, claim, problem


@claim(
    PAPER,
    source="B5 (derived: Gamma integral of the spectral sum)",
    kind="tight",
    statement=r"f(w_{T+1})-f^*=\tfrac12\sum_jL_j(1-L_j)^{2T}\sim\frac1{2a}\Gamma\Big(\frac{a-1}a\Big)(2T)^{-(a-1)/a},"
    r"\quad 1\ll T\ll d^{\,a}",
    bound="gamma*(2*T)**(-(a-1)/a)/(2*a)",
    assumptions="L_j = j^-a with a in {2, 3}, start at distance 1 in every coordinate, eta = 1, d = 20000.",
    controls=[
        Control(
            {"dim": 100, "exponents": (2.0,), "horizons": (1000, 30_000, 100_000)},
            "for T > d^a convergence is linear",
        ),
        Control({"shift": 1}, "counting one step too many misses the exact sum"),
    ],
)
def gradient_descent_in_time(
    lab: Lab,
    dim: int = 20_000,
    exponents: tuple[float, ...] = (2.0, 3.0),
    horizons: tuple[int, ...] = (30, 100, 300, 1000, 3000),
    shift: int = 0,
) -> Finding:
    """Gradient descent on a power-law spectrum is slower than 1/T, with an exponent and a constant known in closed form."""
    parts = []
    many = sorted({*horizons, *np.rint(np.geomspace(min(horizons), max(horizons), 9)).astype(int).tolist()})
    for a in exponents:
        instance = problem("anisotropic_quadratic", dim=dim, decay=a, start="ones")
        trace = lab.run(Cell(instance, algorithm("gradient_descent", lr=1.0), max(horizons), record=tuple(many)))
        gaps, picked = trace["gap"][0], np.isin(trace.steps, horizons)
        curvature = np.arange(1, dim + 1.0) ** -a
        exact = np.array([0.5 * np.sum(curvature * (1 - curvature) ** (2 * (T + shift))) for T in trace.steps])
        formula = _gamma_law(a, trace.steps)
        parts += [
            band((gaps / formula)[picked], 0.98, 1.02, label=f"a={a:g}: f_T / formula, worst T", predicted=1.0),
            band(np.abs(gaps / exact - 1)[picked], high=1e-12, label=f"a={a:g}: distance from the finite sum", predicted=0.0),
            exponent(trace.steps, gaps, claim=-(a - 1) / a, exact=True, label=f"a={a:g}: exponent of T"),
        ]
    return together(*parts, label="gradient descent in T", panels=tuple(panel for part in parts for panel in part.panels))


def _gamma_law(a: float, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    from scipy.special import gamma

    return np.asarray(gamma((a - 1) / a) / (2 * a) * (2.0 * steps) ** (-(a - 1) / a))


@claim(
    PAPER,
    source="B5 (measured law of AdaGrad on a maximally rotated spectrum; the bound is derived)",
    kind="rate",
    statement=r"H=Q\,\mathrm{diag}(j^{-\beta})Q^\top,\ Q=\mathrm{Hadamard}/\sqrt d:\ f(\bar w_T)-f^*\sim T^{-1-\delta/\beta}",
    bound=CONVEX,
    assumptions="Error y_j = +-j^{-(1+delta)/2} in the eigenbasis, norm 1; eta = |w_1|_inf/sqrt(2), 30 <= T <= .1 d^beta.",
    controls=[Control({"rotation": None}, "on a separable quadratic the average falls like T^-2")],
)
def adagrad_in_time(lab: Lab, rotation: str | None = "hadamard") -> Finding:
    """On a spectrum turned away from the axes AdaGrad's rate is close to 1/T, set by the decay of spectrum and error."""
    horizons = (30, 60, 120, 300, 600, 1200, 3000)
    method = algorithm("average", of=algorithm("adagrad", lr="D_inf_0/sqrt(2)"))
    parts = []
    for beta, delta in ((2.0, 0.2), (2.0, 0.6)):
        for dim in (256, 512):
            instance = problem(
                "anisotropic_quadratic",
                dim=dim,
                decay=beta,
                rotation=rotation,
                start="power",
                start_decay=(1 + delta) / 2,
                normalize="2",
            )
            cell = Cell(instance, method, 3000, lab.runs(lab.pick(quick=2, full=8)), ("gap", "max_distance:inf"), horizons)
            trace, claimed, label = lab.run(cell), -(1 + delta / beta), f"beta={beta:g}, delta={delta:g}, d={dim}"
            mean = trace["gap"].mean(axis=0)
            parts += [
                slope(
                    horizons,
                    mean,
                    low=claimed - 0.15,
                    high=claimed + 0.15,
                    label=label,
                    predicted=claimed,
                    quantity="f(wbar) - f*",
                ),
                bound_ratio(
                    [trace], of="gap", bound=CONVEX, where={**CONVEX_TERMS, "eps": 0.0}, label=f"{label}: f(wbar) / bound"
                ),
            ]
    return together(*parts, label="AdaGrad in T", panels=(parts[0].panels[0], parts[1].panels[0]))


@claim(
    PAPER,
    source="B5 (derived): the bound of gradient descent is tight up to 1/(2e) of its diameter form",
    kind="tight",
    statement=r"\frac{f(w_{T+1})-f^*}{\lambda_{\max}D_{2,0}^2/(2T)}\to\frac1{2e}\quad\text{for }L_j=\frac1{2T}",
    bound="lambda_max*D_2_0**2/(2*T)",
    assumptions="Two coordinates with L = (1, 1/(2T)), error in the second, eta = 1/lambda_max.",
    controls=[Control({"kappa_factor": 0.2}, "a curvature ten times larger than 1/(2T) is solved long before T")],
    search=Search(
        problem("huber", dim=1),
        algorithm("gradient_descent", lr="1/lambda_max"),
        over={"threshold": (1e-3, 1.0), "dim": (1, 8), "decay": (0.0, 2.0), "start": ["ones", "signs", "uniform", "power"]},
        steps=20,
        of="gap",
        bound="lambda_max*D_2_0**2/(2*T)",
    ),
)
def gradient_descent_bound_is_tight(lab: Lab, kappa_factor: float = 2.0) -> Finding:
    """A coordinate of curvature 1/(2T) reaches 1/(2e) = .18 of the bound of gradient descent."""
    parts = []
    for horizon in (100, 1000):
        instance = problem("anisotropic_quadratic", dim=2, spectrum=[1.0, 1 / (kappa_factor * horizon)], start=[0.0, 1.0])
        trace = lab.run(Cell(instance, algorithm("gradient_descent", lr="1/lambda_max"), horizon, record="last"))
        ratio = bound_ratio([trace], of="gap", bound="lambda_max*D_2_0**2/(2*T)", label="ratio")
        parts.append(band(ratio.measured or inf, 0.18, 0.19, label=f"measured / bound at T={horizon}", predicted=1 / (2 * e)))
    return together(*parts, label="tightness of gradient descent")
