"""Parametrized accelerated methods free of condition number: the paper, the closed forms, and what several claims share.

Letters: f(x) = 1/2 (x - x*)' H (x - x*) with eigenvalues in [mu, L], mu = 0 allowed, kappa = L/mu; gradients are exact. The
assumed condition number kappa_a is a free parameter of a method, s = 1/kappa_a, q = lam/L. NAG: y_{t+1} = x_t - grad f(x_t)/L,
x_{t+1} = (1 + th) y_{t+1} - th y_t, th = (1 - sqrt s)/(1 + sqrt s), y_0 = x_0. HB, heavy ball: x_{t+1} = x_t - eta grad f(x_t)
+ b (x_t - x_{t-1}), sqrt b = (sqrt(kappa_a) - 1)/(sqrt(kappa_a) + 1), eta L = (1 + sqrt b)^2. GD, gradient descent: steps of
1/L. In an eigendirection an error is multiplied by phi_T(q) in T steps, by rho(q) a step in the long run.

Only the abstract of the paper was read: its claims are checked in explicit versions, derived on quadratics for this check.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theorysim.findings import Finding, Verdict
from theorysim.model import Cell, Paper, Spec
from theorysim.registry import algorithm, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]

PAPER = Paper(
    name="pamfcn",
    title="Parametrized Accelerated Methods Free of Condition Number",
    authors="Chaoyue Liu, Mikhail Belkin",
    year=2018,
    venue="arXiv preprint",
    arxiv="1802.10235",
    summary="The condition number as a free parameter of accelerated methods: exact rates in every eigendirection, exponential "
    "convergence with a wrong condition number, and an accelerated rate with none at all.",
    bibtex="""@misc{liu2018parametrized,
  title         = {Parametrized Accelerated Methods Free of Condition Number},
  author        = {Liu, Chaoyue and Belkin, Mikhail},
  year          = {2018},
  eprint        = {1802.10235},
  archivePrefix = {arXiv}
}""",
)
EXPLICIT = "our explicit version of the claim"
NAG, HEAVY_BALL = "parametrized_nesterov", "parametrized_heavy_ball"
TRUE = "lambda_max/lambda_min"  # the condition number as a hyper-parameter


# ------------------------------------------------------------------------------------------------ closed forms
def nag_rate(q: ArrayLike, kappa_a: ArrayLike) -> Floats:
    """-ln rho(q) of NAG for 0 < q <= 1, broadcast together; infinite at q = 1. [derived]"""
    q, s = np.broadcast_arrays(np.asarray(q, dtype=float), 1 / np.asarray(kappa_a, dtype=float))
    with np.errstate(divide="ignore", invalid="ignore"):
        oscillating = np.arctanh(np.sqrt(s)) - 0.5 * np.log1p(-q)
        return np.asarray(np.where(q >= s, oscillating, -np.log1p(-nag_lost(q, 1 / s))))


def nag_lost(q: ArrayLike, kappa_a: ArrayLike) -> Floats:
    """1 - rho(q) of NAG for q <= s, where the roots are real: without a subtraction."""
    q, s = np.asarray(q, dtype=float), 1 / np.asarray(kappa_a, dtype=float)
    return np.asarray(q * (1 + np.sqrt(s)) / (np.sqrt(s) + q + np.sqrt((1 - q) * np.maximum(s - q, 0.0))))


def heavy_ball_rate(q: ArrayLike, kappa_a: ArrayLike) -> Floats:
    """-ln rho(q) of HB for 0 < q <= 1, broadcast together. [derived]"""
    q, s = np.broadcast_arrays(np.asarray(q, dtype=float), 1 / np.asarray(kappa_a, dtype=float))
    friction = 2 * np.sqrt(s) / (1 + np.sqrt(s))  # 1 - sqrt b
    step = (2 - friction) ** 2 * q
    root = (2 - friction) * np.sqrt(np.maximum(s - q, 0.0) * ((2 - friction) ** 2 - step))
    lost = 2 * step / (friction * (2 - friction) + step + root)
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log1p(-np.where(q >= s, friction, lost)))


def descent_rate(q: ArrayLike) -> Floats:
    """-ln rho(q) of gradient descent."""
    return np.asarray(-np.log1p(-np.asarray(q, dtype=float)))


def multiplier(q: ArrayLike, kappa_a: float, steps: ArrayLike) -> tuple[Floats, Floats]:
    """phi_T(q) of NAG at every T of ``steps``, at a cost that does not grow with T, and the amplitude of its mode; broadcast
    together, for 0 <= q <= 1, kappa_a > 1 and T >= 0. [derived]"""
    q, t = np.broadcast_arrays(np.asarray(q, dtype=float), np.asarray(steps, dtype=float))
    s, root = 1 / kappa_a, kappa_a**-0.5
    with np.errstate(all="ignore"):
        half = (1 - q) / (1 + root)
        w = np.sqrt(np.abs((1 - q) * (q - s))) / (1 + root)
        log_r = -np.arctanh(root) + 0.5 * np.log1p(-q)
        angle = np.arctan2(w, half)
        wave = np.cos(t * angle), np.sin(t * angle) / np.sin(angle)
        log_z = np.log1p(-nag_lost(np.minimum(q, s), kappa_a))
        x = np.arcsinh(w * np.exp(-log_r))
        fall = (1 + np.exp(-2 * t * x)) / 2, np.expm1(-2 * t * x) / np.expm1(-2 * x)
        log_size = np.where(q < s, log_z, log_r)
        c = np.where(q > s, wave[0], np.where(q < s, fall[0], 1.0))
        d = np.where(q > s, wave[1], np.where(q < s, fall[1], t))
        size, weight = np.exp(t * log_size), (1 - q) * root / (1 + root) * np.exp(-log_size)
        bound = size * (1 + weight * np.where(q > s, np.minimum(t, 1 / np.sin(angle)), np.abs(d)))
    still = np.where(t == 0, 1.0, 0.0)
    return np.where(q == 1, still, size * (c + weight * d)), np.where(q == 1, still, bound)


# ------------------------------------------------------------------------------------------------ cells and what they say
def single(q: float) -> Spec:
    """One direction of curvature q, for methods with lr = 1, so L = 1."""
    return problem("anisotropic_quadratic", dim=1, spectrum=[q])


def geometric(kappa: float, dim: int) -> Spec:
    """A geometric spectrum from L = 1 down to mu = 1/kappa, an error of 1 in every direction."""
    return problem("anisotropic_quadratic", dim=dim, spectrum="log", kappa=kappa)


def method(name: str, kappa_a: Sequence[float] | float | str, **params: object) -> Spec:
    values = list(kappa_a) if isinstance(kappa_a, Sequence) and not isinstance(kappa_a, str) else kappa_a
    return algorithm(name, kappa_a=values, **params)


def decay_cell(instance: Spec, spec: Spec) -> Cell:
    """1 - rho^2 of the slowest direction, exactly."""
    return Cell(instance, spec, 1, 1, ("decay",), "last", exact=True)


def rates(trace: Trace) -> Floats:
    """-ln rho of the slowest direction by variant; negative where the method diverges."""
    with np.errstate(divide="ignore"):
        return np.asarray(-0.5 * np.log1p(-trace["decay"][:, -1]))


def half_octaves_of(first: float, last: float) -> list[int]:
    """Whole numbers a factor sqrt 2 apart, from ``first`` to at most ``last``."""
    count = int(2 * np.log2(last / first) + 1e-9)
    return [round(first * 2 ** (i / 2)) for i in range(count + 1)]


def says_nothing(label: str) -> Finding:
    """What a control says whose method does not do what makes it one: it must fail for its own reason."""
    return Finding(
        label, Verdict.UNDECIDED, "what stands in the place of the paper's is not what it should be, so it says nothing"
    )
