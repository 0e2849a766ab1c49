"""The variance: how it scales with T, M, d and kappa under step decay (C4), and its floor under a constant step (C5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.bounds import Bound
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.model import Control
from theorysim.paper_checks._shb_paper import (
    ANISOTROPIC,
    DIM,
    ISOTROPIC,
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
from theorysim.registry import claim

_METHODS = ("SHB", "SGD")
_EXACT = 1e-12
Point = tuple[int, float, int, int]  # T, kappa, d, M


def _variances(
    lab: Lab, name: str, points: Sequence[Point], law: str = "log", noise: str = ANISOTROPIC, schedule: str = ""
) -> Floats:
    cells = []
    for horizon, kappa, dim, batch in points:
        decay = step_decay(horizon, kappa)
        instance = quadratic(law, kappa, dim, noise=noise, batch=batch)
        cells.append(expectation(instance, method(name, schedule or decay.schedule), decay.steps, "gap_variance"))
    return np.array([last(trace, "gap_variance") for trace in lab.run_all(cells)])


# ------------------------------------------------------------------------------------------ C4
@claim(
    PAPER,
    source="Abstract (source: variance near-optimal); C4 (derived bound and constant)",
    kind="rate",
    statement=r"\text{variance}\sim\frac{d\,\sigma^2}{M}\cdot\frac nT\,\kappa^0",
    assumptions="e_0 = 0, sigma = 1, C = 2, log spectrum; T/n: T = 2^16 to 2^26 at kappa = 1e3, slope in [-1.03, -.98], "
    "which needs T/n >= 30 sqrt(kappa) throughout; M = 1 to 256, exact; d = 8 to 64 at T = 2^20, slope in [.97, 1.03]; kappa "
    "= 10 to 1e4 at T = 2^26, slope at most .05 (n grows with log kappa).",
    controls=[
        Control({"noise": ISOTROPIC, "law": "two"}, "noise of one size in every direction costs a factor kappa where H is flat"),
        Control({"schedule": "constant"}, "with a constant step the variance does not fall with T"),
        Control({"window": (1e4, (10, 12, 14, 16))}, "for T/n < 30 sqrt(kappa) the exponent of T/n is another one"),
    ],
)
def variance_exponents(
    lab: Lab, noise: str = ANISOTROPIC, law: str = "log", schedule: str = "", window: tuple[float, tuple[int, ...]] = (1e3, ())
) -> Finding:
    """The variance is d sigma^2/(MT) up to one logarithm, n, and free of the condition number, with momentum and without."""
    kappa, powers = window[0], window[1] or lab.pick(quick=(16, 18, 20, 22, 24, 26), full=tuple(range(16, 27)))
    batches, dims = (1, 4, 16, 64, 256), lab.pick(quick=(8, 16, 32, 64), full=(8, 12, 16, 24, 32, 48, 64))
    kappas = lab.pick(quick=[1e1, 1e2, 1e3, 1e4], full=half_decades(1, 4))
    parts = []
    for name in _METHODS:
        horizons = [2**power for power in powers]
        x = [horizon / step_decay(horizon, kappa).stages for horizon in horizons]
        over = _variances(lab, name, [(t, kappa, DIM, 1) for t in horizons], law, noise, schedule)
        limits = {"low": -1.03, "high": -0.98, "predicted": -1.0}
        parts.append(slope(x, over, label=f"{name}: exponent of T/n", variable="T/n", quantity="variance", **limits))
        over = _variances(lab, name, [(2**16, 1e3, DIM, batch) for batch in batches], law, noise, schedule)
        error = over * batches / over[0] - 1
        parts.append(band(error, -_EXACT, _EXACT, label=f"{name}: variance M / variance at M = 1 - 1", predicted=0.0))
        over = _variances(lab, name, [(2**20, 1e3, dim, 1) for dim in dims], law, noise, schedule)
        limits = {"low": 0.97, "high": 1.03, "predicted": 1.0}
        parts.append(slope(dims, over, label=f"{name}: exponent of d", variable="d", quantity="variance", **limits))
        over = _variances(lab, name, [(2**26, each, DIM, 1) for each in kappas], law, noise, schedule)
        limits = {"low": -0.05, "high": 0.05, "predicted": 0.0}
        parts.append(slope(kappas, over, label=f"{name}: exponent of kappa", variable="kappa", quantity="variance", **limits))
    return together(*parts, label="variance of step decay", panels=(parts[0].panels[0], parts[3].panels[0]))


@claim(
    PAPER,
    source="C4, control (derived: the effective sigma^2 is sigma^2/mu)",
    kind="rate",
    statement=r"\mathbb E\,nn^\top=\frac{\sigma^2}{M}I:\quad\text{variance}\sim\kappa",
    assumptions="Spectra with at least half of their eigenvalues at mu (two values, one large), T = 2^26, C = 2, kappa = 10 "
    "to 1e4, slope >= .9.",
    controls=[Control({"noise": ANISOTROPIC}, "noise of covariance H costs no factor kappa")],
)
def isotropic_noise_pays_kappa(lab: Lab, noise: str = ISOTROPIC) -> Finding:
    """Anisotropy of the noise is needed: with noise of one size in every direction the variance grows like kappa."""
    kappas = lab.pick(quick=[1e1, 1e2, 1e3, 1e4], full=half_decades(1, 4))
    parts = []
    for name in _METHODS:
        for law in ("two", "flatlow"):
            over = _variances(lab, name, [(2**26, kappa, DIM, 1) for kappa in kappas], law, noise)
            label = f"{name}, {law} spectrum: exponent of kappa"
            parts.append(slope(kappas, over, low=0.9, label=label, predicted=1.0, variable="kappa", quantity="variance"))
    return together(*parts, label="isotropic noise", panels=(parts[0].panels[0],))


# ------------------------------------------------------------------------------------------ C5
_FLOOR = "eta*sigma**2*lam*(1 + beta)/(2*M*gamma*(2*(1 + beta) - eta*lam))"
_LONG = 10**9
_ROUNDING = 1e-9


def _floor(law: str, kappa: float, name: str, batch: int) -> float:
    """The formula summed over the eigenvalues."""
    beta, gamma = ((1 - delta_of(kappa)) ** 2, gamma_of(kappa)) if name == "SHB" else (0.0, 1.0)
    known = {"eta": 1.0, "sigma": 1.0, "M": float(batch), "lam": SPECTRA[law](kappa, DIM), "beta": beta, "gamma": gamma}
    return float(np.sum(Bound(_FLOOR)(known)))


@claim(
    PAPER,
    source="C5 (derived, exact)",
    kind="identity",
    statement=r"\mathbb E f(w_T)-f^*\to\sum_j\frac{\eta\sigma^2\lambda_j(1+\beta)}{2M\gamma(2(1+\beta)-\eta\lambda_j)},\qquad"
    r"\frac{\text{SHB}}{\text{SGD}}\sim\frac1{1-\beta}\sim\frac{\sqrt\kappa}2",
    bound=_FLOOR,
    assumptions="eta = 1/L, d = 16, sigma = 1, M = 1 and 3; T = 1e9; kappa = 1e2 to 1e5; the exponent of the ratio of floors "
    "in [.45, .55].",
    controls=[
        Control({"momentum": "1 - sqrt(lambda_min/lambda_max)"}, "another momentum has another floor"),
        Control({"decays": True}, "with step decay there is no floor: the error goes on falling"),
    ],
)
def constant_step_floors(lab: Lab, momentum: str = MOMENTUM, decays: bool = False) -> Finding:
    """With a constant step the error stops at a floor, and momentum raises it by sqrt(kappa)/2: momentum needs the decay."""
    kappas = (1e2, 1e3, 1e4, 1e5)
    laws = lab.pick(quick=("log", "flatlow"), full=tuple(SPECTRA))
    errors, rows, ratios = [], [], []
    for law in laws:
        for batch in (1, 3):
            for kappa in kappas:
                floors = []
                for name in _METHODS:
                    schedule = step_decay(_LONG, kappa).schedule if decays else "constant"
                    spec = method(name, schedule, momentum)
                    trace = lab.run(expectation(quadratic(law, kappa, batch=batch), spec, _LONG, "gap", "floor"))
                    floors.append(_floor(law, kappa, name, batch))
                    errors += [last(trace) / floors[-1] - 1, last(trace, "floor") / floors[-1] - 1]
                    rows.append((law, kappa, batch, name, floors[-1], last(trace, "floor"), last(trace)))
                if law == "log" and batch == 1:
                    ratios.append(rows[-2][-1] / rows[-1][-1])
    columns = ("spectrum", "kappa", "M", "method", "formula", "stationary error", "E f - f* at T=1e9")
    same = band(errors, -_ROUNDING, _ROUNDING, label="floor, stationary and after 1e9 steps / formula - 1", predicted=0.0)
    limits = {"low": 0.45, "high": 0.55, "predicted": 0.5}
    pays = slope(
        kappas, ratios, label="floor of SHB / floor of SGD: exponent of kappa", variable="kappa", quantity="ratio", **limits
    )
    return together(same, pays, label="floors", tables=(Table("Floors", columns, tuple(rows)),), panels=pays.panels)
