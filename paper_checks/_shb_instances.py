"""Instances inside and outside the scope of the explicit bounds: a structured grid and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, log1p, sqrt
from typing import NamedTuple

import numpy as np

from theorysim.findings import Finding, Panel, Series, Verdict
from theorysim.lab import Lab
from theorysim.model import Spec
from theorysim.paper_checks._shb_paper import (
    ANISOTROPIC,
    SPECTRA,
    Floats,
    StepDecay,
    delta_of,
    number_of_stages,
    of_eigenvalues,
    stages_of_length,
    step_decay,
)

_MOST_STAGES = 1500
Point = tuple[str, float, float, int]  # law of the spectrum, kappa, C, T


class Instance(NamedTuple):
    """``horizon``: T, of which ``decay`` runs n K steps."""

    label: str
    eigenvalues: tuple[float, ...]
    decay: StepDecay
    horizon: int

    @property
    def kappa(self) -> float:
        return max(self.eigenvalues) / min(self.eigenvalues)

    @property
    def log_beta_power(self) -> float:
        """log beta^K."""
        return 2 * self.decay.length * log1p(-delta_of(self.kappa)) if self.kappa > 1 else -np.inf

    @property
    def outside(self) -> str:
        """Empty, or why the bounds of SHB say nothing here: they would be negative or were not proved."""
        kappa, divisor = self.kappa, self.decay.divisor
        if kappa < 4 * (1 - 1e-12):
            return f"OUT_OF_SCOPE: kappa={kappa:g} is below 4"
        if self.horizon < divisor * sqrt(kappa):
            return f"OUT_OF_SCOPE: T={self.horizon} is below C sqrt(kappa)={divisor * sqrt(kappa):.4g}"
        if 2 * log(divisor) + self.log_beta_power >= 0:
            return f"OUT_OF_SCOPE: C^2 beta^K={divisor**2 * np.exp(self.log_beta_power):.4g} is not below 1"
        return ""

    def problem(self, noise: str = ANISOTROPIC) -> Spec:
        return of_eigenvalues(np.array(self.eigenvalues), noise)


def instances(lab: Lab, only: Sequence[Point] = ()) -> list[Instance]:
    """The instances of ``only``; else the grid and the random ones of the level."""
    return [_at(*point) for point in only] or [*_grid(lab), *_random(lab)]


def in_scope(found: Sequence[Instance]) -> list[Instance]:
    return [each for each in found if not each.outside]


def says_nothing(found: Sequence[Instance], label: str) -> Finding:
    """Where no instance is in the scope of the bound."""
    return Finding(label, Verdict.UNDECIDED, found[0].outside)


def values(found: Sequence[Instance]) -> dict[str, Floats]:
    """What the bounds of SHB are evaluated with, one entry for each instance; sigma = M = L = 1, every direction has loss 1/2."""
    delta = np.array([delta_of(each.kappa) for each in found])
    ones = np.ones(len(found))
    return {
        "kappa": np.array([each.kappa for each in found]),
        "delta": delta,
        "beta": (1 - delta) ** 2,
        "beta_K": np.exp([each.log_beta_power for each in found]),
        "K": np.array([each.decay.length for each in found], dtype=float),
        "C": np.array([each.decay.divisor for each in found]),
        "d": np.array([len(each.eigenvalues) for each in found], dtype=float),
        "f_0": np.array([len(each.eigenvalues) / 2 for each in found]),
        "sigma": ones,
        "M": ones,
    }


def panel(title: str, found: Sequence[Instance], ratio: Floats) -> Panel:
    """measured / bound over T/sqrt(kappa)."""
    x = np.array([each.horizon / sqrt(each.kappa) for each in found])
    order, drawn = np.argsort(x), ratio > 0
    kept = [i for i in order if drawn[i]]
    ends = (float(x.min()), float(x.max()))
    points = Series("instances", tuple(x[kept]), tuple(ratio[kept]))
    return Panel(title, "T / sqrt(kappa)", "measured / bound", (points, Series("the bound", ends, (1.0, 1.0), "bound")))


def _at(law: str, kappa: float, divisor: float, horizon: int, dim: int = 16) -> Instance:
    decay = step_decay(horizon, kappa, divisor)
    label = f"{law}, kappa={kappa:.4g}, C={divisor:.4g}, T={horizon}"
    return Instance(label, tuple(SPECTRA[law](kappa, dim).tolist()), decay, horizon)


def _grid(lab: Lab) -> list[Instance]:
    kappas = lab.pick(quick=(4.0, 1e2, 1e4), full=(4.0, 5.2, 30.0, 1e3, 1e5, 1e8))
    divisors = lab.pick(quick=(1.3, 2.0, 8.0), full=(1.03, 1.3, 1.76, 2.0, 4.0, 8.0, 60.0))
    lengths = lab.pick(quick=(1.01, 20.0), full=(1.01, 3.0, 20.0, 100.0))
    laws = lab.pick(quick=("log", "flatlow"), full=tuple(SPECTRA))
    found = [_at("log", 5.2, 1.76, stages_of_length(1, 5.2, 1.76).steps)]
    for kappa in kappas:
        for divisor in divisors:
            for factor in lengths:
                # the shortest stages with C^2 beta^K < 1, times factor
                length = ceil(factor * log(divisor) / -log1p(-delta_of(kappa)))
                horizon = stages_of_length(length, kappa, divisor).steps
                if horizon * sqrt(kappa) >= divisor:  # else there is no such schedule
                    found += [_at(law, kappa, divisor, horizon) for law in laws]
    return found


def _random(lab: Lab) -> list[Instance]:
    """Half of a batch with eigenvalues from the laws, half with log-uniform ones between 1/kappa and 1."""
    random, found = np.random.default_rng(lab.seed), []
    laws = tuple(SPECTRA)
    for i in range(lab.pick(quick=12, full=800)):
        kappa = float(np.exp(random.uniform(log(4.0), log(lab.pick(quick=1e6, full=1e8)))))
        divisor = float(np.exp(random.uniform(log(lab.pick(quick=1.2, full=1.03)), log(60.0))))
        length = np.exp(random.uniform(log(0.8), log(60.0))) * log(divisor) / -log1p(-delta_of(kappa))
        horizon = stages_of_length(length, kappa, divisor).steps + int(random.integers(5))
        dim = int(random.integers(2, 33))
        if horizon * sqrt(kappa) < divisor or number_of_stages(horizon, kappa, divisor) > _MOST_STAGES:
            continue
        if i % 2:
            found.append(_at(laws[i // 2 % len(laws)], kappa, divisor, horizon, dim))
            continue
        eigenvalues = np.sort(np.exp(-log(kappa) * np.r_[0.0, random.uniform(size=dim - 2), 1.0]))[::-1]
        label = f"random, kappa={kappa:.4g}, C={divisor:.4g}, T={horizon}"
        found.append(Instance(label, tuple(eigenvalues.tolist()), step_decay(horizon, kappa, divisor), horizon))
    return found
