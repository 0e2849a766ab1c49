"""The experiment whose speed is compared: some runs of one method on a diagonal quadratic; and how theorysim is asked for it.

f(w) = 1/2 sum_j h_j w_j^2 with h_j = 1/j, from w = (1, ..., 1); the gradient may carry independent noise N(0, sigma^2) in every
coordinate. Wanted is the gap f(w) of every run after the last step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import theorysim as ts
from theorysim.model import Spec

SIGMA = 0.1
# Steps so short that no number becomes denormal, which is slow and would be another experiment. AdaGrad has eps = 0, because in
# optax it is inside the root and elsewhere outside; no gradient is exactly 0 here.
SETTINGS: dict[str, dict[str, float]] = {
    "adagrad": {"lr": 0.1},
    "heavy_ball": {"lr": 0.1, "momentum": 0.9},
    "adam": {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "sgd": {"lr": 0.1},
    "nesterov": {"lr": 0.1, "momentum": 0.9},
}
METHODS = tuple(SETTINGS)


@dataclass(frozen=True)
class Experiment:
    """``runs`` of ``method`` with ``steps`` steps each in ``dim`` coordinates; ``sigma`` = 0 is without noise."""

    method: str
    sigma: float
    runs: int
    dim: int
    steps: int

    @property
    def updates(self) -> int:
        """Coordinates times steps times runs."""
        return self.runs * self.dim * self.steps

    @property
    def curvature(self) -> NDArray[np.float64]:
        return 1.0 / np.arange(1, self.dim + 1)

    @property
    def initial_gap(self) -> float:
        return float(self.curvature.sum() / 2)

    def shortened(self, factor: int) -> Experiment:
        return replace(self, steps=max(1, self.steps // factor))


@dataclass(frozen=True)
class Size:
    """Steps differ so that no entry of the table takes minutes: noise costs many times the rest of a step."""

    runs: int
    dim: int
    noisy_steps: int
    free_steps: int
    rounds: int

    @property
    def name(self) -> str:
        return f"{self.runs} x {self.dim}"

    def experiment(self, method: str, sigma: float) -> Experiment:
        return Experiment(method, sigma, self.runs, self.dim, self.noisy_steps if sigma else self.free_steps)


LAUNCH, SMALL, CACHE, MEMORY = (
    Size(1, 10, 1000, 1000, 9),  # calls, not numbers, cost the time
    Size(32, 1000, 1000, 1000, 5),
    Size(32, 10_000, 300, 300, 5),
    Size(32, 500_000, 10, 100, 3),  # the state is far larger than any cache
)
SIZES = (LAUNCH, SMALL, CACHE, MEMORY)
QUICK = (Size(1, 10, 100, 100, 2), Size(3, 200, 20, 20, 2))  # to see that everything runs through


def specs(experiment: Experiment) -> tuple[Spec, Spec]:
    """Problem and algorithm, for ``theorysim.run``."""
    of = ts.problem("anisotropic_quadratic", dim=experiment.dim, noise=experiment.sigma)
    return of, ts.algorithm(experiment.method, **SETTINGS[experiment.method])


def gaps(experiment: Experiment, device: str = "cpu") -> NDArray[np.float64]:
    """The gap of every run after the last step, as theorysim computes it, ``(runs,)``."""
    return run(experiment, device)["gap"][:, -1]


def run(experiment: Experiment, device: str = "cpu", **options: Any) -> ts.Trace:
    given = {"measure": ("gap",), "record": "last", **options}
    return ts.run(*specs(experiment), experiment.steps, runs=experiment.runs, device=device, **given)


def path(experiment: Experiment) -> NDArray[np.float64]:
    """All iterates, ``(steps, runs, dim)``."""
    names = tuple(f"coordinate:{j}" for j in range(experiment.dim))
    trace = run(experiment, measure=names, record="all")
    return np.stack([trace[name].T[1:] for name in names], axis=-1)
