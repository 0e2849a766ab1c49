"""What ASGO builds on, looked for in real data: gradients of low rank and Hessians of blocks."""

from __future__ import annotations

from math import nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.analyses.band import band
from theorysim.analyses.block_structure import block_structure
from theorysim.backend import to_host
from theorysim.findings import Finding, Table, together
from theorysim.lab import Lab
from theorysim.matrix_functions import singular_values
from theorysim.model import Cell, Control, Spec
from theorysim.paper_checks._asgo_data import softmax, squared
from theorysim.paper_checks._asgo_paper import PAPER
from theorysim.registry import algorithm, claim, problem

Floats = NDArray[np.float64]

_CHANCE = 200  # matrices without structure that a gradient is compared with
_NETWORK_STEP = 0.3  # in units of W, which has entries of about 1/4 at the start
_ROWS = 128  # perturbed points at a time


@claim(
    PAPER,
    source="Motivation of the paper (source: abstract: gradients of low rank); criteria derived",
    kind="band",
    statement=r"\frac{\|G_1\|_F^2}{\|G_1\|_{op}^2}<\min_{200\ \text{Gaussian}\ Z}\frac{\|Z\|_F^2}{\|Z\|_{op}^2},\qquad"
    r"D_{op}\,\mathrm{tr}\Big(\sum_tG_tG_t^\top\Big)^{1/2}\le D_F\Big(\sum_t\|G_t\|_F^2\Big)^{1/2}",
    assumptions="The gradient at the start, for min(m, n) is never reached, not even without structure: chance is the smallest "
    "stable rank of 200 Gaussian matrices of its shape. Later gradients are shaped by the method (ASGO makes them nearly of rank "
    "one even on an isotropic quadratic), so they are shown and not judged. What counts for ASGO is the sum over its run: on "
    "least squares its regret bound is to be below that of AdaGrad-Norm on the same gradients.",
    controls=[
        Control(
            {"flat": True},
            "on an isotropic quadratic G = X is as random as the start, and ‖X‖_op ‖X‖_* >= ‖X‖_F^2 makes ASGO's bound larger",
        )
    ],
)
def gradients_on_data_have_low_rank(lab: Lab, flat: bool = False) -> Finding:
    """The first gradients on digits have a lower rank than chance, and least squares keeps the sum of all of them low."""
    isotropic = problem("matrix_quadratic", m=64, n=10, decay=0.0)
    convex = {"least squares": isotropic if flat else squared(1), "softmax": isotropic if flat else softmax(1)}
    seen = [_ranks(lab, name, spec, convex=True) for name, spec in convex.items()]
    seen += [_ranks(lab, name, spec, convex=False) for name, spec in ({} if flat else _networks(1)).items()]
    parts = [band(each.first / each.least, high=1.0, label=f"{each.name}: first stable rank / least of chance") for each in seen]
    parts.append(band(seen[0].regret, high=1.0, label=f"{seen[0].name}: regret bound of ASGO / of AdaGrad-Norm, worst T"))
    parts += [band(each.left, high=0.5, label=f"{each.name}: share of the initial error that is left") for each in seen]
    rows = tuple(
        (each.name, each.size, each.first, each.least, each.mean, each.later, each.total, _shown(each.regret[-1]))
        for each in seen
    )
    columns = ("problem", "size", "first", "least of chance", "mean of chance", "median", "of the sum", "regret bounds")
    title = (
        "Stable ranks of gradients on 60 steps of ASGO: the first, chance, the median, and (tr V^{1/2})^2 / tr V of their sum; "
        "regret bound of ASGO over that of AdaGrad-Norm on the same gradients"
    )
    return together(*parts, label="rank of gradients", tables=(Table(title, columns, rows),))


def _shown(ratio: float) -> float | str:
    return "W* unknown" if np.isnan(ratio) else float(ratio)


class _Ranks(NamedTuple):
    """``least``, ``mean``: of chance. ``later``: the median over steps. ``total``: of the sum. ``regret``: largest, by step."""

    name: str
    size: str
    first: float
    least: float
    mean: float
    later: float
    total: float
    regret: Floats
    left: float


def _ranks(lab: Lab, name: str, spec: Spec, convex: bool) -> _Ranks:
    """On 60 steps of ASGO; means over 8 random starts."""
    left, scalar, distances = "adaptive_norm:left", "adaptive_norm:scalar", ("max_distance:op", "max_distance:2")
    method = algorithm("asgo") if convex else algorithm("asgo", lr=_NETWORK_STEP)
    measures = ("gap", "stable_rank", left, scalar, *(distances if convex else ()))
    trace = lab.run(Cell(spec, method, 60, 1 if spec.name == "digits_regression" else 8, measures))
    shape = lab.build(spec).shape
    rank, chance = trace["stable_rank"][:, 1:], _chance(shape)
    root = trace[left][:, 1:] / trace[scalar][:, 1:]
    ratio = root * trace[distances[0]][:, 1:] / trace[distances[1]][:, 1:] if convex else np.full(root.shape, nan)
    return _Ranks(
        name,
        f"{shape[0]} x {shape[1]}",
        float(rank[:, 0].mean()),
        float(chance.min()),
        float(chance.mean()),
        float(np.median(rank)),
        float((root[:, -1] ** 2).mean()),
        ratio.max(axis=0),
        float((trace["gap"][:, -1] / trace["gap"][:, 0]).max()),
    )


def _chance(shape: tuple[int, ...]) -> Floats:
    """The stable ranks of 200 matrices with independent normal entries."""
    values = singular_values(np.random.default_rng(0).standard_normal((_CHANCE, *shape)))
    return np.asarray((values**2).sum(axis=1) / values[:, 0] ** 2)


def _networks(pool: int) -> dict[str, Spec]:
    return {
        "tanh network": problem("two_layer_network", pool=pool),
        "tanh network, squared loss": problem("two_layer_network", pool=pool, loss="squared"),
        "softplus network": problem("two_layer_network", pool=pool, activation="softplus"),
    }


@claim(
    PAPER,
    source="Motivation of the paper (source: abstract: block-diagonal Hessians); criterion derived",
    kind="band",
    statement=r"\sum_b\|H_{bb}\|_F^2\ge2\,\mathbb E_Q\sum_b\|(QHQ^\top)_{bb}\|_F^2,\quad Q\ \text{a random rotation}",
    assumptions="Blocks: the column of a class for regressions, the row of a neuron for a tanh network with softmax loss, at its "
    "start and after 100 steps. At twice the share of chance half of what lies in the blocks is structure. The Hessian is "
    "measured by differences of gradients. Other networks are shown and not judged.",
    controls=[
        Control({"turned": True}, "in rotated coordinates blocks have no meaning: the share is that of chance"),
        Control({"wrong_side": True}, "the row of a pixel is no block of a regression: A'A/N couples all pixels"),
    ],
)
def hessians_on_data_have_blocks(lab: Lab, turned: bool = False, wrong_side: bool = False) -> Finding:
    """On digits the Hessian is block-diagonal: exactly for least squares, in large part for softmax and a network's neurons."""
    pool = lab.pick(quick=2, full=1)
    side = "rows" if wrong_side else "columns"
    places = [_Place("least squares", squared(pool), side), _Place("softmax at W*", softmax(pool), side)]
    places += [place for name, spec in ({} if wrong_side else _networks(pool)).items() for place in _neurons(lab, name, spec)]
    places = [place for place in places if place.judged or not turned]
    found = lab.map(lambda place: _look(lab, place, turned), places)
    parts = [each for each, place in zip(found, places, strict=True) if place.judged]
    if not (turned or wrong_side):
        exact = found[0].parts[0].details["share"]
        parts.append(band(exact, 1 - 1e-9, 1 + 1e-9, label="least squares: share in its blocks", predicted=1.0))
        trained = [(place.label, place.left) for place in places if place.judged and place.left is not None]
        parts += [band(left, high=0.5, label=f"{label}: share of the initial loss") for label, left in trained]
    shares = [each.parts[0] for each in found]
    rows = tuple((p.label, p.blocks, *each.details.values(), each.measured) for p, each in zip(places, shares, strict=True))
    columns = ("problem", "blocks", "share", "of absolute values", "of an even Hessian", "by chance", "share / chance")
    table = Table("Shares of the Hessian's squared entries inside its diagonal blocks", columns, rows)
    return together(*parts, label="blocks of Hessians", panels=found[1].panels + found[-1].panels, tables=(table,))


class _Place(NamedTuple):
    """Where a Hessian is looked at: ``point`` (m, n), None: the minimiser. ``left``: of the initial loss, after training."""

    label: str
    spec: Spec
    blocks: str
    point: Any = None
    judged: bool = True
    left: float | None = None


def _neurons(lab: Lab, name: str, spec: Spec) -> list[_Place]:
    """A network at its start, and after 100 steps of ASGO on the side of its neurons."""
    built = lab.build(spec)
    names = tuple(f"coordinate:{j}" for j in range(int(np.prod(built.shape))))
    trace = lab.run(Cell(spec, algorithm("asgo", lr=_NETWORK_STEP, side="right"), 100, 1, ("gap", *names), "last"))
    trained = np.array([trace[each][0, -1] for each in names]).reshape(built.shape)
    left, judged = float(trace["gap"][0, -1] / trace["gap"][0, 0]), name == "tanh network"
    return [
        _Place(f"{name}, start", spec, "rows", to_host(built.start)[0], judged),
        _Place(f"{name}, {left:.1%} of the loss left", spec, "rows", trained, judged, left),
    ]


def _look(lab: Lab, place: _Place, turned: bool) -> Finding:
    built = lab.build(place.spec, _ROWS)
    size = int(np.prod(built.shape))
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0] if turned else None
    point = built.minimizer if place.point is None else place.point
    return block_structure(built, point, blocks=place.blocks, turn=turn, label=place.label)
