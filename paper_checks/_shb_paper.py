"""SHB under anisotropic gradient noise: the paper, and what several of its claims share.

Letters: f(w) = (w - w*)'H(w - w*)/2 with eigenvalues mu = lam_d <= ... <= lam_1 = L, kappa = L/mu, dimension d; e = w - w*.
Gradients have noise n with E nn' = (sigma^2/M) H, M the batch. SHB is the heavy ball of the paper, beta = (1 - delta)^2, delta
= 1/sqrt(kappa), gamma = 1 - beta; SGD is delta = 1. Step decay: C > 1, n stages of K steps, eta = C^-(l-1)/L in stage l. e_0
and f_0 are of the start. Bias: what the start has left of E f - f*; variance: what the noise has added; their sum is E f - f*.
Of the paper only the abstract could be read: statements are *source* (read there), *recalled* from memory or *derived* (proved
for this check).
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.model import Cell, Paper, Spec, TheorysimError
from theorysim.registry import algorithm, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]

PAPER = Paper(
    name="shb_anisotropic",
    title="Accelerated Convergence of Stochastic Heavy Ball Method under Anisotropic Gradient Noise",
    authors="Rui Pan, Yuxing Liu, Xiaoyu Wang, Tong Zhang",
    year=2024,
    venue="ICLR 2024",
    arxiv="2312.14567",
    summary="Heavy-ball momentum with step decay accelerates the bias from kappa to sqrt(kappa) and keeps the variance near d "
    "sigma^2/(MT), "
    "so large batches pay.",
    bibtex="""@inproceedings{pan2024accelerated,
  title     = {Accelerated Convergence of Stochastic Heavy Ball Method under Anisotropic Gradient Noise},
  author    = {Pan, Rui and Liu, Yuxing and Wang, Xiaoyu and Zhang, Tong},
  booktitle = {International Conference on Learning Representations},
  year      = {2024},
  note      = {arXiv:2312.14567}
}""",
)

DIM = 16
LR = "1/lambda_max"
MOMENTUM = "(1 - sqrt(lambda_min/lambda_max))**2"

SPECTRA: dict[str, Callable[[float, int], Floats]] = {
    "log": lambda kappa, dim: np.geomspace(1.0, 1 / kappa, dim),
    "two": lambda kappa, dim: np.where(np.arange(dim) < dim // 2, 1.0, 1 / kappa),
    "power": lambda kappa, dim: np.arange(1.0, dim + 1) ** (-log(kappa) / log(dim)),
    "flatlow": lambda kappa, dim: np.where(np.arange(dim) < 1, 1.0, 1 / kappa),
}
ANISOTROPIC, ISOTROPIC, NOISELESS = "anisotropic", "isotropic", "none"
_DEVIATIONS: dict[str, Callable[[Floats], Floats]] = {ANISOTROPIC: np.sqrt, ISOTROPIC: np.ones_like, NOISELESS: np.zeros_like}


class StepDecay(NamedTuple):
    """``stages`` n and their ``length`` K; the step size is divided by ``divisor`` C after each. Steps beyond n K are not run."""

    divisor: float
    stages: int
    length: int

    @property
    def steps(self) -> int:
        return self.stages * self.length

    @property
    def schedule(self) -> str:
        return f"step_decay:{self.divisor!r},{self.length}"


def number_of_stages(horizon: float, kappa: float, divisor: float) -> int:
    """n = ceil(log_C(T sqrt(kappa))); the 1e-12 keeps exact powers of C from rounding up."""
    return ceil(log(horizon * sqrt(kappa)) / log(divisor) - 1e-12)


def step_decay(horizon: int, kappa: float, divisor: float = 2.0) -> StepDecay:
    """The paper's schedule for T = ``horizon``. Raises TheorysimError where T sqrt(kappa) < C or a stage has no step."""
    if horizon * sqrt(kappa) < divisor or horizon < number_of_stages(horizon, kappa, divisor):
        raise TheorysimError(
            f"step decay with C={divisor:g} has no stage of one step for T={horizon}, kappa={kappa:g}; it needs "
            "T sqrt(kappa) >= C and T >= n = ceil(log_C(T sqrt(kappa))): take a longer horizon"
        )
    stages = number_of_stages(horizon, kappa, divisor)
    return StepDecay(divisor, stages, horizon // stages)


def stages_of_length(length: float, kappa: float, divisor: float) -> StepDecay:
    """The schedule whose stages have at least ``length`` steps: the smallest n that is consistent with T = n K."""
    size, stages = ceil(length), 1
    while stages < (needed := number_of_stages(stages * size, kappa, divisor)):
        stages = needed
    return StepDecay(divisor, stages, size)


def quadratic(
    law: str,
    kappa: float,
    dim: int = DIM,
    *,
    noise: str = ANISOTROPIC,
    batch: int = 1,
    distance: float = 1.0,
    turned: bool = False,
) -> Spec:
    """The quadratic of a law of SPECTRA, L = 1, sigma = 1, with e_0j^2 = distance^2/lam_j: every direction has the same loss.

    ``turned``: H rotated at random; its noise is then anisotropic in the coordinates and no longer in the eigenvectors.
    """
    return of_eigenvalues(SPECTRA[law](kappa, dim), noise, batch, distance, "random" if turned else None)


def of_eigenvalues(
    eigenvalues: Floats, noise: str = ANISOTROPIC, batch: int = 1, distance: float = 1.0, rotation: str | None = None
) -> Spec:
    """The same for any eigenvalues."""
    return problem(
        "anisotropic_quadratic",
        dim=len(eigenvalues),
        spectrum=eigenvalues,
        start=distance / np.sqrt(eigenvalues),
        noise=_DEVIATIONS[noise](eigenvalues),
        batch=batch,
        rotation=rotation,
    )


def method(name: str, schedule: str = "constant", momentum: str = MOMENTUM, **settings: object) -> Spec:
    """``"SHB"`` or ``"SGD"``, with eta_1 = 1/L."""
    if name == "SGD":
        return algorithm("sgd", lr=LR, schedule=schedule)
    return algorithm("heavy_ball", lr=LR, momentum=momentum, schedule=schedule, **settings)


def expectation(instance: Spec, of: Spec, steps: int, *measures: str, record: str | tuple[int, ...] = "last") -> Cell:
    """The cell of exact expectations."""
    return Cell(instance, of, steps, measure=measures or ("gap",), record=record, exact=True)


def last(trace: Trace, measure: str = "gap", variant: int = 0) -> float:
    """What an expectation ends with."""
    return float(trace[measure][variant, -1])


def delta_of(kappa: float) -> float:
    """1 - sqrt(beta)."""
    return 1 / sqrt(kappa)


def gamma_of(kappa: float) -> float:
    """1 - beta."""
    return delta_of(kappa) * (2 - delta_of(kappa))


def half_decades(low: float, high: float) -> list[float]:
    """10^low, 10^(low + 1/2), ..., 10^high."""
    return [10.0 ** (low + i / 2) for i in range(floor(2 * (high - low)) + 1)]
