"""ASGO: the paper, and what several of its claims share.

Letters: W is m x n, X = W - W*; w_1 is the start, step t takes W_t to W_{t+1}, T steps use G_1..G_T; wbar is the mean of
W_1..W_T. D_op is the largest ‖X_t‖_op, t <= T, measured; V_T = sum of G_t G_t'; S_T = tr V_T^{1/2}, added up by the check from
the gradients it sees. L and V are matrices: f is matrix-smooth with L, the noise has E N N' <= V^2/M. eta is the step size,
theta = eta/D_op, c = 1/(2 theta) + theta. Evidence marks: *source* (read), *recalled*, *derived* (proved for this check).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from theorysim.findings import Finding, Verdict
from theorysim.model import Paper, Spec
from theorysim.registry import algorithm
from theorysim.trace import Trace

PAPER = Paper(
    name="asgo",
    title="ASGO: Adaptive Structured Gradient Optimization",
    authors="Kang An, Yuxing Liu, Rui Pan, Yi Ren, Shiqian Ma, Donald Goldfarb, Tong Zhang",
    year=2025,
    venue="NeurIPS 2025",
    arxiv="2503.20762",
    summary="A matrix accumulator on one side: the rate depends on the nuclear norm of the smoothness and on the spectral norm "
    "of the error, so low-rank gradients and block-diagonal Hessians pay no dimension.",
    bibtex="""@inproceedings{an2025asgo,
  title     = {{ASGO}: Adaptive Structured Gradient Optimization},
  author    = {An, Kang and Liu, Yuxing and Pan, Rui and Ren, Yi and Ma, Shiqian and Goldfarb, Donald and Zhang, Tong},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2025},
  note      = {arXiv:2503.20762}
}""",
)


class Structure(NamedTuple):
    """What a preconditioner of one structure enters its bounds with (section 3 of the derivation, one code path for all).

    ``distance``: the norm in which D is measured. ``sums``: structure of adaptive_norm. ``smooth``, ``noise``: the constants Lam
    and Nz. ``identity``: the trace p of the identity in that structure.
    """

    method: str
    distance: str
    sums: str
    smooth: str
    noise: str
    identity: str

    def spec(self, **params: object) -> Spec:
        return algorithm(self.method, **params)

    @property
    def start(self) -> str:
        """The constant that holds D at the start."""
        return f"D_{self.distance}_0"

    @property
    def measures(self) -> tuple[str, ...]:
        return f"max_distance:{self.distance}", f"adaptive_norm:{self.sums}"

    @property
    def where(self) -> dict[str, str]:
        """D, S, eta and eps of the bounds below, measured on a run."""
        return {"D": self.measures[0], "S": self.measures[1], "eta": "lr", "eps": "eps"}

    @property
    def regret(self) -> str:
        """Bound of the regret, for any gradients and any step size."""
        return f"(D**2/(2*eta) + eta)*S + eps*{self.identity}*D**2/(2*eta)"

    @property
    def nonsmooth(self) -> str:
        """Bound of f(wbar) - f* with exact subgradients."""
        return f"({self.regret})/T"

    def smooth_bound(self, noisy: bool = False) -> str:
        """The asserted bound of f(wbar) - f* for matrix-smooth functions, in expectation where there is noise."""
        c, rest = "(D/(2*eta) + eta/D)", f" + eps*{self.identity}*D**2/(2*eta*T)"
        return f"{c}**2/2*{self.smooth}*D**2/T" + (f" + {c}*{self.noise}*D/sqrt(M*T)" if noisy else "") + rest


ASGO = Structure("asgo", "op", "left", "L_nuclearnorm", "V_nuclearnorm", "m")
STRUCTURES = {
    "AdaGrad-Norm": Structure("adagrad_norm", "2", "scalar", "lambda_max", "sigma_2norm", "1"),
    "AdaGrad": Structure("adagrad", "inf", "entries", "L_1norm", "sigma_1norm", "m*n"),
    "DASGO": Structure("dasgo", "row", "rows", "l_1norm", "sigma_row_1norm", "m"),
    "ASGO": ASGO,
    "full-matrix AdaGrad": Structure("full_matrix_adagrad", "2", "full", "trace_H", "sigma_full", "m*n"),
}


def stands_still(traces: Iterable[Trace], measure: str = "gap") -> bool:
    """Has ``measure`` at the end of every run the value of its beginning?"""
    return all(np.array_equal(trace[measure][:, 0], trace[measure][:, -1]) for trace in traces)


def says_nothing(label: str) -> Finding:
    """What a method in a control says that does not move: the control must fail for its own reason."""
    return Finding(label, Verdict.UNDECIDED, "the method in the place of the paper's does not move, so it says nothing")
