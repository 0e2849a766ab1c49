"""The bounds of MaSS and SGD at every step, in exact expectation, on many random instances (M1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.bound_ratio import bound_ratio
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._mass_paper import METHODS, PAPER, SLACK, S, decays, says_nothing, scales
from theorysim.registry import claim, problem
from theorysim.trace import Trace

_FACTOR = f"(1 - 1/{S})**T"
_DISTANCE = f"2*{_FACTOR}*D_2_0**2"
_LOSS = f"lambda_max*{_FACTOR}*D_2_0**2"
_SGD = "(1 - 1/kappa_m)**T*D_2_0**2"
_MEASURES = ("decay", "gap", "square_distance", "ww:-1", "wz:-1", "zz:-1", "ww:0")
_LENGTH = 20  # of a run, in units of S or kappa


class Instance(NamedTuple):
    """Least squares with m samples a step; ``time``: S, and ``slow``: kappa, both from the law of the data."""

    spec: Spec
    time: float
    slow: float


def random_instance(random: np.random.Generator, data: str) -> Instance:
    """Eigenvalues from 1 down to 1/kappa_inf, kappa_inf up to 1e6, batches up to 1e4, a normal start."""
    kappa_inf, batch = float(np.exp(random.uniform(np.log(2), np.log(1e6)))), int(np.exp(random.uniform(0, np.log(1e4))))
    inner = np.exp(-np.log(kappa_inf) * random.uniform(size=random.integers(0, 3)))
    kinds = np.array([1.0, *inner, 1 / kappa_inf])
    settings: dict[str, Any] = {"data": data, "batch": batch}
    if data == "decoupled":
        eigenvalues, kurtosis = kinds, float(np.exp(random.uniform(0, np.log(20))))
        settings["kurtosis"] = kurtosis
        top, kappa_tilde = kurtosis * len(kinds), kurtosis * len(kinds)
    else:
        eigenvalues = np.repeat(kinds, np.exp(random.uniform(0, np.log(60), size=len(kinds))).astype(int))
        top, kappa_tilde = 2 + float(eigenvalues.sum()), len(eigenvalues) + 2.0
    settings |= {"dim": len(eigenvalues), "spectrum": eigenvalues.tolist()}
    settings["start"] = (3 * random.standard_normal(len(eigenvalues))).tolist()
    slow, spread = (top + batch - 1) / batch * kappa_inf, (kappa_tilde + batch - 1) / batch
    return Instance(problem("least_squares", **settings), float(np.sqrt(slow * spread)), slow)


def record(length: float) -> tuple[int, ...]:
    """The first steps, where the bounds are tight, and then about 16 up to ``length``."""
    later = np.rint(np.geomspace(10, max(length, 20), 16)).astype(int)
    return tuple(sorted({*range(10), *later.tolist()}))


def with_potential(trace: Trace) -> Trace:
    """Its relative potential beside the measures: Phi_t/Phi_0, Phi = E |v - w*|^2_{H^-1} + E |w - w*|^2/mu.

    v = w + (1 + alpha)/alpha z with z = u - w, the second sequence of the proof.
    """
    alpha = trace.hyper("alpha")[:, None]
    r = (1 + alpha) / alpha
    with np.errstate(all="ignore"):  # a diverging method overflows
        auxiliary = trace["ww:-1"] + 2 * r * trace["wz:-1"] + r * r * trace["zz:-1"]
        potential = auxiliary + trace["ww:0"] / trace.constant("lambda_min")[:, None]
    return replace(trace, values={**trace.values, "potential": potential / potential[:, :1]})


def _traces(lab: Lab, instances: list[Instance], method: Spec) -> list[Trace]:
    cells = []
    for each in instances:
        steps = record(_LENGTH * each.time)
        cells.append(Cell(each.spec, method, steps[-1], 1, _MEASURES, steps, exact=True))
    return lab.run_all(cells)


def instances(lab: Lab, data: str, count: int) -> list[Instance]:
    """``count`` random ones, and two on which the bounds are nearly attained in the first steps."""
    random = np.random.default_rng([lab.seed, len(data)])
    return [*(random_instance(random, data) for _ in range(count)), *_sharp(data)]


def _sharp(data: str) -> list[Instance]:
    """Small steps, L1/L = kappa~ = 42 or nearly so; the start along the largest or the smallest eigenvalue."""
    size = 2 if data == "decoupled" else 41
    settings: dict[str, Any] = {"dim": size, "spectrum": [1.0] * (size - 1) + [1e-4]}
    settings |= {"kurtosis": 21.0} if data == "decoupled" else {}
    slow, spread = (42e4, 42.0) if data == "decoupled" else (42.0001e4, 43.0)
    starts = [[3.0] * (size - 1) + [0.03], [0.03] * (size - 1) + [3.0]]
    return [
        Instance(problem("least_squares", data=data, start=start, **settings), float(np.sqrt(slow * spread)), slow)
        for start in starts
    ]


@claim(
    PAPER,
    source="convergence of MaSS in the quadratic case (recalled theorem; proof and constants derived)",
    kind="upper",
    statement=r"\Phi_t\le(1-\tfrac1S)^t\,\Phi_0,\qquad\mathbb E\|w_t-w^*\|^2\le 2(1-\tfrac1S)^t\|w_0-w^*\|^2,\qquad"
    r"\mathbb E f(w_t)\le L(1-\tfrac1S)^t\|w_0-w^*\|^2",
    bound=_DISTANCE,
    assumptions="Interpolation, and w_0 - w* in range(H). Random instances and two on which the bounds are sharp, "
    "component-decoupled with c up to 80 and Gaussian with up to 236 dimensions, kappa_inf to 1e6, m to 1e4; Phi = E|v - "
    "w*|^2_{H^-1} + E|w - w*|^2/mu; up to 20 S steps.",
    controls=[
        Control({"method": "without eta_2"}, "without the compensation noise outgrows the bound"),
        Control({"method": "L1 halved"}, "a step size beyond 1/L1"),
        Control({"method": "kappa~ halved", "data": ("decoupled",)}, "too much momentum for the noise"),
        Control({"method": "SGD"}, "SGD does not decay like 1 - 1/S"),
    ],
)
def potential_decreases(lab: Lab, method: str = "MaSS", data: tuple[str, ...] = ("decoupled", "gaussian")) -> Finding:
    """The potential of the proof, the distance and the loss stay below their bounds at every step, and come close to them."""
    count, parts = lab.pick(quick=30, full=600) if method == "MaSS" else 12, []
    for law in data:
        found = _traces(lab, instances(lab, law, count), METHODS[method])
        products = decays(found) * scales(found)
        if method != "MaSS" and not products.any():
            return says_nothing("bounds of MaSS")
        parts.append(band(products, *SLACK, label=f"{law}: (1 - rho) S of {len(found)} instances"))
        if method != "SGD":
            found = [with_potential(trace) for trace in found]
            parts.append(bound_ratio(found, of="potential", bound=_FACTOR, label=f"{law}: Phi / bound"))
        names = {"square_distance": ("|w - w*|^2", _DISTANCE), "gap": ("f", _LOSS)}
        parts += [bound_ratio(found, of=of, bound=bound, label=f"{law}: {name} / bound") for of, (name, bound) in names.items()]
        if method == "MaSS":
            parts += _attained(parts[-3:], found, law)
    return together(*parts, label="bounds of MaSS", panels=tuple(part.panels[0] for part in parts if part.panels)[:3])


def _attained(judged: list[Finding], found: list[Trace], law: str) -> list[Finding]:
    """Bounds that are far from what is measured would hold of nearly anything."""
    share = {"square_distance": "square_distance"}
    half = bound_ratio(found, of="gap", bound="lambda_max/2*square_distance", where=share, label=f"{law}: f / (L/2 |w - w*|^2)")
    lowest = {"Phi": 0.95, "|w - w*|^2": 0.4, "f": 0.3}
    reached = zip(lowest.items(), judged, strict=True)
    return [
        half,
        band(half.measured or 0.0, low=0.9, label=f"{law}: f / (L/2 |w - w*|^2) is attained"),
        *(band(part.measured or 0.0, low=low, label=f"{law}: {name} / bound is attained") for (name, low), part in reached),
    ]


@claim(
    PAPER,
    source="SGD baseline (derived in one line)",
    kind="upper",
    statement=r"\mathbb E\|w_t-w^*\|^2\le(1-1/\kappa_m)^t\,\|w_0-w^*\|^2\qquad\text{for SGD with }\eta=1/L_m",
    bound=_SGD,
    assumptions="The random instances of the claim on MaSS, up to 20 kappa_m steps.",
    controls=[
        Control({"lr": "1/lambda_max"}, "with the inverse largest eigenvalue as step size the noise makes SGD diverge"),
        Control({"lr": "0.2/L_m"}, "a fifth of the step size decays too slowly"),
    ],
)
def sgd_contracts(lab: Lab, lr: str = "1/L_m") -> Finding:
    """SGD contracts by 1 - 1/kappa_m a step: a bound that the early steps nearly attain."""
    count, parts = lab.pick(quick=20, full=300), []
    for law in ("decoupled", "gaussian"):
        cells = []
        for each in instances(lab, law, count):
            steps = record(_LENGTH * each.slow)
            cells.append(
                Cell(each.spec, METHODS["SGD"] if lr == "1/L_m" else _sgd(lr), steps[-1], 1, ("square_distance",), steps)
            )
        found = lab.run_all(replace(cell, exact=True) for cell in cells)
        judged = bound_ratio(found, of="square_distance", bound=_SGD, label=f"{law}: |w - w*|^2 / bound")
        parts += [judged, band(judged.measured or 0.0, low=0.9, label=f"{law}: the bound is attained")]
    return together(*parts, label="bound of SGD", panels=tuple(part.panels[0] for part in parts if part.panels))


def _sgd(lr: str) -> Spec:
    return replace(METHODS["SGD"], params=(("lr", lr),))
