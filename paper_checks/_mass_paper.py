"""MaSS: the paper, and what several of its claims share.

Letters: f(w) = E (x'w - y)^2 / 2 with y = x'w*, H = E xx', L and mu its largest and smallest non-zero eigenvalue. L1 and kappa~
are the smallest numbers with E |x|^2 xx' <= L1 H and E (x'H^-1 x) xx' <= kappa~ H; for minibatches of m, L_m, kappa~_m and
kappa_m = L_m/mu. S = sqrt(kappa_m kappa~_m). kappa_inf = L/mu is what sweeps vary. rho is the spectral radius of the map of
second moments, so expectations shrink like rho^t; the measure ``decay`` is 1 - rho. MaSS with the theory's constants: eta_1 =
1/L_m, alpha = 1/S, gamma = (1 - alpha)/(1 + alpha), eta_2 = eta_1 (1 - 1/kappa~_m)/(1 + alpha). Evidence marks: *source* (read),
*recalled*, *derived* (proved for this check).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.bounds import Bound
from theorysim.findings import Finding, Verdict
from theorysim.lab import Lab
from theorysim.model import Cell, Paper, Spec
from theorysim.registry import algorithm, problem
from theorysim.trace import Trace

Floats = NDArray[np.float64]

PAPER = Paper(
    name="mass",
    title="Accelerating SGD with Momentum for Over-parameterized Learning",
    authors="Chaoyue Liu, Mikhail Belkin",
    year=2020,
    venue="ICLR 2020",
    arxiv="1810.13395",
    summary="Nesterov's momentum does not accelerate SGD and may diverge; with a compensation term for the noise it does, by the "
    "root of kappa/kappa~, as long as the model interpolates the data.",
    bibtex="""@inproceedings{liu2020accelerating,
  title     = {Accelerating {SGD} with Momentum for Over-parameterized Learning},
  author    = {Liu, Chaoyue and Belkin, Mikhail},
  booktitle = {International Conference on Learning Representations},
  year      = {2020},
  note      = {arXiv:1810.13395}
}""",
)

S = "sqrt(kappa_m*kappa_tilde_m)"
SLACK = (1.0, 2.05)  # where (1 - rho) S must lie: above 1 is the theorem, 2 is its limit for large kappa
SGD = algorithm("sgd", lr="1/L_m")


# ------------------------------------------------------------------------------------------------ instances
def decoupled(c: float, kappa_inf: float, **settings: Any) -> Spec:
    """x along one eigenvector at a time, L1/L = kappa~ = ``c`` >= 2; eigenvalues 1 and 1/kappa_inf, and c = 6: z normal."""
    return problem("least_squares", data="decoupled", dim=2, spectrum="two_value", kappa=kappa_inf, kurtosis=c / 2, **settings)


def gaussian(dim: int, kappa_inf: float, head: int = 1, **settings: Any) -> Spec:
    """x ~ N(0, H): eigenvalue 1 ``head`` times and 1/kappa_inf else; L1 = 2 L + tr H, kappa~ = dim + 2."""
    return problem("least_squares", data="gaussian", dim=dim, spectrum="two_value", kappa=kappa_inf, head=head, **settings)


# ------------------------------------------------------------------------------------------------ methods
def mass(L1: float = 1.0, kappa_tilde: float = 1.0) -> Spec:
    """MaSS of the theory with L_m and kappa~_m multiplied by these factors wherever they occur."""
    wrong = f"{L1 * kappa_tilde!r}*kappa_m*kappa_tilde_m"
    return algorithm("mass", lr=f"1/({L1!r}*L_m)", alpha=f"1/sqrt({wrong})", kappa_tilde=f"{kappa_tilde!r}*kappa_tilde_m")


def uncompensated() -> Spec:
    """The same eta_1 and gamma with eta_2 = 0: Nesterov's method."""
    return algorithm("mass", lr="1/L_m", alpha=f"1/{S}", kappa_tilde=1.0)


def negated() -> Spec:
    """The same with -eta_2: kappa~/(2 kappa~ - 1) turns the sign of 1 - 1/kappa~."""
    return algorithm("mass", lr="1/L_m", alpha=f"1/{S}", kappa_tilde="kappa_tilde_m/(2*kappa_tilde_m - 1)")


METHODS = {
    "MaSS": mass(),
    "without eta_2": uncompensated(),
    "-eta_2": negated(),
    "L1 halved": mass(L1=0.5),
    "kappa~ halved": mass(kappa_tilde=0.5),
    "SGD": SGD,
}


# ------------------------------------------------------------------------------------------------ what is measured
def rates(lab: Lab, problems: Iterable[Spec], method: Spec) -> list[Trace]:
    """Traces with 1 - rho, exact."""
    return lab.run_all(Cell(each, method, 1, measure=("decay",), record="last", exact=True) for each in problems)


def decays(traces: Iterable[Trace]) -> Floats:
    """1 - rho of each, for methods with one variant."""
    return np.array([trace["decay"][0, 0] for trace in traces])


def scales(traces: Iterable[Trace]) -> Floats:
    """S of each instance."""
    return np.array([float(Bound(S)(trace.constants)) for trace in traces])


def local_slopes(x: Iterable[float], y: Iterable[float]) -> Floats:
    """Slopes of ln y on ln x between neighbours; NaN where y is not positive."""
    values = np.array(list(y), dtype=float)
    logs = np.log(np.where(values > 0, values, np.nan))
    return np.asarray(np.diff(logs) / np.diff(np.log(np.array(list(x), dtype=float))))


def says_nothing(label: str) -> Finding:
    """What a method in a control says that does not move: the control must fail for its own reason."""
    return Finding(label, Verdict.UNDECIDED, "the method in the place of MaSS does not move, so it says nothing")
