"""The instances are what they say: smoothness, noise of the agents, their difference, and the network's weights."""

from __future__ import annotations

import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.certificate import certificate
from theorysim.backend import namespace, to_host
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Control, Draw, Problem
from theorysim.paper_checks._dnasa_paper import PAPER, Floats, instance
from theorysim.registry import claim

_RUNS, _DRAWS = 64, range(1, 17)
_INSTANCES = (
    instance(8, sigma=1.0),
    instance(8, sigma=1.0, L=100.0, quadratic=True),
    instance(16, "ring", sigma=1.0, zeta=20.0),
    instance(16, "ring", sigma=1.0, zeta=20.0, lazy=True),
    instance(16, "hypercube", sigma=1.0, zeta=20.0),
    instance(1, sigma=4.0),
)


@claim(
    PAPER,
    source="assumptions (recalled; of the bound, derived)",
    kind="identity",
    statement=r"\|\nabla f_i(x)-\nabla f_i(y)\|\le L\|x-y\|,\qquad\mathbb E\|g_i-\nabla f_i\|^2=\sigma^2,\qquad"
    r"\tfrac1n\sum_i\|\nabla f_i-\nabla f\|^2=\zeta^2,\qquad\rho=\max(|\lambda_2|,|\lambda_n|)",
    assumptions="Instances of the kinds that the other claims use.",
    controls=[Control({"share": 0.9}, "the functions do not have nine tenths of their smoothness constant")],
)
def assumptions_hold(lab: Lab, share: float = 1.0) -> Finding:
    """Every kind of instance has the smoothness, the noise, the heterogeneity and the network that it declares."""
    built = [lab.build(spec, _RUNS) for spec in _INSTANCES[: None if share == 1 else 1]]
    labels = [_name(each) for each in built]
    audited = [
        certificate(each, L=share * to_host(each.vectors["L"]), label=label) for each, label in zip(built, labels, strict=True)
    ]
    if share != 1:
        return together(*audited, label="assumptions")
    parts = [part for each, label in zip(built, labels, strict=True) for part in _agents(each, label)]
    return together(*audited, *parts, _attained(audited), label="assumptions")


def _name(built: Problem) -> str:
    known = built.constants
    return f"m={known['m']:g}, rho={known['rho']:.4f}, L={known['L']:g}, zeta={known['zeta']:g}"


def _attained(audited: list[Finding]) -> Finding:
    """A constant that is too large would hold as well."""
    leaves = [leaf for found in audited for leaf in found.leaves()]
    met = [
        leaf.measured or 0.0
        for leaf in leaves
        if leaf.label.startswith(("lambda_max on pairs", "anisotropic smoothness on pairs"))
    ]
    return band(met, 0.95, 1 + 1e-6, label="L and lambda_max are attained", predicted=1.0)


def _agents(built: Problem, label: str) -> list[Finding]:
    """Noise of every agent and of their mean, in the last of which only independent parts cancel; zeta; W and rho."""
    known, m = built.constants, int(built.constants["m"])
    noise, own = _noise(built)
    tilt, drawn = float(np.sqrt((own**2).sum(axis=1).mean())), m * noise.shape[0] * noise.shape[1]
    pooled = np.stack([to_host(built.sample(built.start, Draw(t)) - built.gradient(built.start)) for t in _DRAWS])
    variance, twice = known["sigma"] ** 2, float((noise[0] * noise[1]).sum(axis=-1).mean())
    sizes = [_size(noise), m * _size(noise.mean(axis=2)), m * _size(pooled)]
    weights = built.capabilities["network"].weights
    matrix = np.asarray(weights if isinstance(weights, np.ndarray) else weights.toarray())
    moduli = [*np.sort(np.abs(np.linalg.eigvalsh(matrix)))[::-1], 0.0]
    off = [np.abs(matrix - matrix.T).max(), np.abs(matrix.sum(axis=1) - 1).max(), abs(moduli[1] - known["rho"])]
    what = "noise of agents, of their mean, of the mean gradient; E|noise|^2 / sigma^2, times m for means"
    return [
        band(np.divide(sizes, variance), 0.95, 1.05, label=f"{label}: {what}", predicted=1.0),
        band(twice / variance, -0.05, 0.05, label=f"{label}: correlation of the noise of two steps", predicted=0.0),
        band(
            np.linalg.norm(own.mean(axis=0)) / np.sqrt(variance / drawn),
            0.0,
            2.0,
            label=f"{label}: mean over agents of g_i - grad f at x_i, in standard errors",
            predicted=1.0,
        ),
        band(abs(tilt - known["zeta"]), 0.0, 0.05 * known["sigma"], label=f"{label}: zeta, off by", predicted=0.0),
        band(off, 0.0, 1e-12, label=f"{label}: W and rho, off by", predicted=0.0),
    ]


def _size(noise: Floats) -> float:
    return float((noise**2).sum(axis=-1).mean())


def _noise(built: Problem) -> tuple[Floats, Floats]:
    """Noise of the agents, (steps, runs, m, d), each at a point x_i of its own, and grad f_i - grad f at x_i, (m, d)."""
    xp, m = namespace(built.start), int(built.constants["m"])
    points = xp.stack([built.start * (1 + i / m) for i in range(m)], axis=1)
    exact = to_host(built.gradient(xp.reshape(points, (-1, points.shape[2])))).reshape(points.shape)
    answers = np.stack([to_host(built.capabilities["local_sample"](points, Draw(t))) for t in _DRAWS])
    noise = answers - exact
    own = noise.mean(axis=(0, 1))
    return noise - own, own
