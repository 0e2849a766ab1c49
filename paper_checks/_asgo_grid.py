"""The quadratics on which the regret bound and the smooth bound are both checked: one set of runs for both."""

from __future__ import annotations

from math import sqrt
from typing import Any

from theorysim.lab import Lab
from theorysim.model import Cell, Spec
from theorysim.paper_checks._asgo_paper import ASGO
from theorysim.registry import algorithm, problem
from theorysim.trace import Trace

THETAS = (0.3, 1 / sqrt(2), 1.0, 2.0, 3.0)
EPS = (0.0, 0.1)
REGRET = ("regret", *ASGO.measures)
MEASURES = ("gap", *REGRET)
WIDE, TALL = (24, 60), (60, 24)
SHAPES = ((32, 32), WIDE, TALL)
_SPECTRA: dict[str, dict[str, Any]] = {
    "1/i": {"decay": 1.0},
    "spike": {"spectrum": "two_value", "head": 1, "kappa": 100.0},
    "flat": {"decay": 0.0},
}
_STARTS: dict[str, dict[str, Any]] = {"aligned": {"start": "aligned", "profile_decay": 0.5}, "gaussian": {"start": "gaussian"}}


def averaged(method: str = "asgo", **settings: Any) -> Spec:
    """The average iterate of a method at all step sizes theta * D_op_0, without and (where it has one) with eps."""
    eps = {"eps": list(EPS) * len(THETAS)} if method != "muon" else {}
    lr = [f"{theta!r}*D_op_0" for theta in THETAS for _ in (EPS if eps else EPS[:1])]
    return algorithm("average", of=algorithm(method, lr=lr, **eps, **settings))


def grid(lab: Lab, noise: float, method: Spec | None = None, shapes: tuple[tuple[int, int], ...] = SHAPES) -> list[Trace]:
    """Runs on every shape, spectrum and start; at level quick each shape meets each spectrum with one start, or with noise only
    one spectrum."""
    cells = []
    for i, shape in enumerate(shapes):
        for j, spectrum in enumerate(_SPECTRA.values()):
            for k, start in enumerate(_STARTS.values()):
                if lab.level == "full" or ((i + j + k) % 2 == 0 and (noise == 0 or (i - j) % 3 == 1)):
                    instance = _instance(shape, noise, {**spectrum, **start})
                    runs = lab.runs(lab.pick(quick=1, full=2))
                    steps = lab.pick(quick=20, full=60)
                    cells.append(Cell(instance, method or averaged(), steps, runs, MEASURES, "all"))
    return lab.run_all(cells)


def _instance(shape: tuple[int, int], noise: float, settings: dict[str, Any]) -> Spec:
    m, n = shape
    return problem("matrix_quadratic", m=m, n=n, rotation="random", noise=noise, **settings)


def orthogonal_start(lab: Lab, **settings: Any) -> Trace:
    """One step from an orthogonal X_1 with A = I, where both bounds can be computed by hand."""
    instance = problem("matrix_quadratic", m=12, n=20, decay=0.0, start="profile")
    method = algorithm("average", of=algorithm("asgo", eps=0.0, **settings))
    return lab.run(Cell(instance, method, 1, 2, MEASURES, "last"))
