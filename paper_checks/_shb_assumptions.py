"""The instances of all other claims: what they declare holds, and what the paper assumes of the noise holds with equality."""

from __future__ import annotations

from typing import Any

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.certificate import certificate
from theorysim.backend import to_host
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Control, Problem
from theorysim.paper_checks._shb_paper import ANISOTROPIC, ISOTROPIC, PAPER, SPECTRA, Floats, quadratic
from theorysim.registry import claim, problem

_ROUNDING = 1e-9


@claim(
    PAPER,
    source="Assumption on the noise (source: abstract; constants recalled)",
    kind="identity",
    statement=r"\mathbb E\,nn^\top\preceq\frac{\sigma^2}{M}H;\quad x\sim\mathcal N(0,H):\ "
    r"\mathbb E\,\|x\|^2xx^\top\preceq(2L+\operatorname{tr}H)H,\quad \mathbb E\,(x^\top H^{-1}x)\,xx^\top=(d+2)H",
    assumptions="The four spectra, d = 8, kappa = 100, sigma = 1, M = 4; least squares with Gaussian inputs, rotated, at w*.",
    controls=[Control({"noise": ISOTROPIC}, "noise of one size in every direction is kappa times too large where H is flat")],
)
def assumptions_hold(lab: Lab, noise: str = ANISOTROPIC) -> Finding:
    """Every kind of instance is what it says, with gradient noise of covariance (sigma^2/M) H."""
    parts = []
    for law in SPECTRA:
        built = lab.build(quadratic(law, 100.0, 8, noise=noise, batch=4))
        parts += [certificate(built, label=f"{law} spectrum"), _noise(built, f"{law} spectrum")]
    settings: dict[str, Any] = {"data": "gaussian", "dim": 6, "spectrum": "log", "kappa": 100.0, "batch": 4}
    for label_noise in (0.5, 0.0):
        built = lab.build(problem("least_squares", label_noise=label_noise, rotation="random", **settings))
        label = f"least squares, label noise {label_noise:g}"
        parts += [certificate(built, label=label), _label_noise(built, label_noise, label), _fourth_moments(built, label)]
    return together(*parts, label="assumptions")


def _noise(built: Problem, label: str) -> Finding:
    """The declared L, sigma^2 and variance of the noise, each over what it is with equality: lam_j, lam_j and lam_j/M."""
    lam = np.asarray(built.capabilities["spectrum"])
    variance = np.asarray(built.capabilities["gradient_noise"].additive) * float(built.constants["M"])
    smooth, sigma = (np.asarray(to_host(built.vectors[name])) for name in ("L", "sigma"))
    ratios = np.stack([smooth / lam, sigma**2 / lam, variance / lam])
    return band(ratios, 1 - _ROUNDING, 1 + _ROUNDING, label=f"{label}: L / H, E nn' / (sigma^2 H/M)", predicted=1.0)


def _label_noise(built: Problem, label_noise: float, label: str) -> Finding:
    """Of the noise at w*, against (sigma^2/M) H."""
    predicted = label_noise**2 / float(built.constants["M"]) * _hessian(built)
    error = np.asarray(built.capabilities["noise_at_minimizer"]()) - predicted
    return band(np.abs(error), high=_ROUNDING, label=f"{label}: largest entry of E nn' - sigma^2 H/M at w*", predicted=0.0)


def _fourth_moments(built: Problem, label: str) -> Finding:
    """The declared constants against E|x|^2 xx' = 2H^2 + tr(H) H, and those of minibatches."""
    known = {name: float(np.max(to_host(value))) for name, value in built.constants.items() if np.ndim(value) == 0}
    values = np.linalg.eigvalsh(_hessian(built))
    top, low, d, m = values[-1], values[0], len(values), known["M"]
    one = {"L1": 2 * top + values.sum(), "kappa_tilde": d + 2.0}
    many = {"L_m": (one["L1"] + (m - 1) * top) / m, "kappa_tilde_m": (d + 1 + m) / m}
    conditions = {"kappa": one["L1"] / low, "kappa_m": many["L_m"] / low, "lambda_max": top, "lambda_min": low}
    conditions["L_1norm"] = min(np.abs(_hessian(built)).sum(), d * top)
    predicted = one | many | conditions
    error = [known[name] / value - 1 for name, value in predicted.items()]
    error += list(np.sort(built.capabilities["spectrum"]) / values - 1)
    return band(
        error, -_ROUNDING, _ROUNDING, label=f"{label}: {', '.join(predicted)}, spectrum / known values - 1", predicted=0.0
    )


def _hessian(built: Problem) -> Floats:
    return np.asarray(built.capabilities["hessian"]())
