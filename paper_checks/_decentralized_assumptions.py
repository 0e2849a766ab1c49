"""The instances are what they say: the constants of f, of its components and of its agents, the pool, and the network."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from theorysim.analyses.band import band
from theorysim.analyses.certificate import certificate
from theorysim.backend import namespace, to_host
from theorysim.findings import Finding, together
from theorysim.lab import Lab
from theorysim.model import Control, Draw, Problem
from theorysim.paper_checks._decentralized_paper import PAPER, Floats, network, pool
from theorysim.registry import claim, problem

_ROUNDING = 1e-9
_BATCH, _DRAWS = 8, 200
_INSTANCES = (
    network(m=4, n=6, dim=3, kappa=9.0, graph="path"),
    network(m=4, n=6, dim=3, kappa=9.0, placement="iid", spectrum="log", rotation="random"),
    network(m=8, n=4, dim=4, kappa=30.0, graph="hypercube", lazy=False),
    pool(dim=4, n=16, spectrum="log", kappa=20.0),
)
_DATA = problem("decentralized_regression", m=4, samples=24, dim=3, ridge=0.05, split="label", graph="ring")


@claim(
    PAPER,
    source="Assumptions (source: convex components, a strongly convex sum); constants derived",
    kind="identity",
    statement=r"\mu I\preceq\nabla^2f\preceq L_gI,\quad L_{loc}=\max_i\|\nabla^2f_i\|,\quad L_s=\max_{ij}\frac{L_{ij}}{Nq_{ij}},"
    r"\quad\|G^*\|=\|(\nabla f_i(x^*))_i\|,\quad W=W^\top,\ W\mathbf 1=\mathbf 1,\ \lambda_2",
    assumptions="Small instances of every kind that the other claims use; Hessians of agents and components column by column.",
    controls=[
        Control({"share": 0.9}, "f does not have nine tenths of its smoothness"),
        Control({"lost": True}, "gradients without the first entry of the first agent are not those of f"),
    ],
)
def assumptions_hold(lab: Lab, share: float = 1.0, lost: bool = False) -> Finding:
    """Every kind of instance has the curvatures, the heterogeneity, the pool and the network that it declares."""
    parts: list[Finding] = []
    for spec in _INSTANCES if share == 1 and not lost else _INSTANCES[:1]:
        built, label = lab.build(spec, 2), f"m={spec.arguments.get('m', 1)}, {spec.arguments.get('placement')}"
        if not lost:
            audited = certificate(built, L=share * to_host(built.vectors["L"]), label=label)
            parts.append(audited)
        parts += _curvatures(built, label, lost) + _pool(built, label) + _network(built, label)
    if share == 1 and not lost:
        data = lab.build(_DATA, 2)
        parts += [certificate(data, label="data"), *_stated(data), *_pool(data, "data"), *_network(data, "data")]
    return together(*parts, label="assumptions")


def _curvatures(built: Problem, label: str, lost: bool) -> list[Finding]:
    """All second derivatives, from differences of gradients, which are exact on a quadratic."""
    known, given = built.constants, built.capabilities["finite_sum"]
    m, n, d = given.agents, given.components, built.shape[0]
    start, hessian = to_host(built.start)[:1], built.capabilities["hessian"]()

    def jacobian(gradient: Any) -> Floats:
        """(m, d, d) of every agent, by columns."""
        at = [to_host(gradient(_points(built, start + step))) for step in (np.zeros(d), *np.eye(d))]
        return np.stack([each[0] - at[0][0] for each in at[1:]], axis=-1)

    local = jacobian(given.local_gradient)
    if lost:
        local[0, 0] = 0.0
    tops = np.linalg.eigvalsh(local)
    single = np.array([_component_top(built, given, jacobian, j) for j in range(n)]).T  # (m, n)
    chances = [given.chances(by) for by in (False, True)]
    optimal = _points(built, to_host(built.minimizer).reshape(1, -1))
    expected: dict[str, float] = {
        "L_g": float(np.linalg.eigvalsh(hessian)[-1]),
        "lambda_max": float(np.linalg.eigvalsh(hessian)[-1]),
        "mu": float(np.linalg.eigvalsh(hessian)[0]),
        "L_loc": float(tops[:, -1].max()),
        "L_max": float(single.max()),
        "L_s": float((single / (m * n * chances[0])).max()),
        "L_s_importance": float((single / (m * n * chances[1])).max()),
        "G_star": float(np.linalg.norm(to_host(given.local_gradient(optimal))[0])),
        "N": float(m * n),
    }
    expected |= {name: expected[of] / expected["mu"] for name, of in (("kappa_g", "L_g"), ("kappa_s", "L_s")) if name in known}
    errors = [float(np.ravel(known[name])[0]) / value - 1 if value else 0.0 for name, value in expected.items()]
    worst = max(zip(np.abs(errors), expected, strict=True))[1]
    apart = float(np.abs(local.mean(axis=0) - hessian).max())
    means = to_host(given.local_gradient(_points(built, start))).mean(axis=1) - to_host(built.gradient(built.start))[:1]
    return [
        band(errors, -_ROUNDING, _ROUNDING, label=f"{label}: constants / measured - 1", predicted=0.0, details={"worst": worst}),
        band(apart, 0.0, _ROUNDING, label=f"{label}: mean Hessian of the agents - Hessian of f", predicted=0.0),
        band(means, -_ROUNDING, _ROUNDING, label=f"{label}: mean gradient of the agents - gradient of f", predicted=0.0),
    ]


def _stated(built: Problem) -> list[Finding]:
    """Of data: the constants that its bound of the Hessian has, and the gradient as the mean over agents."""
    known, hessian, at = built.constants, built.capabilities["hessian"](), to_host(built.start)[:1] + 0.3
    values, rows = np.linalg.eigvalsh(hessian), np.abs(hessian).sum(axis=1)
    due = {"L_g": values[-1], "lambda_max": values[-1], "mu": known["ridge"], "L_1norm": rows.sum(), "L_infnorm": rows.max()}
    errors = [float(np.ravel(known[name])[0]) / value - 1 for name, value in due.items()]
    means = to_host(built.capabilities["finite_sum"].local_gradient(_points(built, at))).mean(axis=1)
    apart = means - to_host(built.gradient(_like(built.start, at)))
    return [
        band(errors, -_ROUNDING, _ROUNDING, label="data: constants / those of the bound of the Hessian - 1", predicted=0.0),
        band(apart, -_ROUNDING, _ROUNDING, label="data: mean gradient of the agents - gradient of f", predicted=0.0),
    ]


def _component_top(built: Problem, given: Any, jacobian: Any, j: int) -> Floats:
    """L_ij of component j of every agent, (m,)."""

    def gradient(points: Any) -> Any:
        counts = np.zeros((points.shape[0], given.agents, given.components))
        counts[:, :, j] = 1.0
        return given.weighted_gradient(points, _like(built.start, counts))

    return np.asarray(np.linalg.eigvalsh(jacobian(gradient))[:, -1])


def _points(built: Problem, x: Floats) -> Any:
    """1 x at all agents, on the device."""
    agents = built.capabilities["finite_sum"].agents
    return _like(built.start, np.repeat(x[:, None, :], agents, axis=1))


def _like(array: Any, values: Floats) -> Any:
    return namespace(array).asarray(values, device=array_api_compat.device(array))


def _pool(built: Problem, label: str) -> list[Finding]:
    """Draws hold b components, fresh in every step, with the chances that are declared."""
    given, parts = built.capabilities["finite_sum"], []
    for by in (False, True):
        counts = np.stack([to_host(given.draw_pool(Draw(t), _BATCH, by)) for t in range(1, _DRAWS + 1)])
        chances = given.chances(by)
        total = counts.sum(axis=(-2, -1))
        deviation = np.sqrt(_BATCH * chances * (1 - chances) / (counts.shape[0] * counts.shape[1]))
        z = (counts.mean(axis=(0, 1)) - _BATCH * chances) / deviation
        parts.append(band(total, _BATCH, _BATCH, label=f"{label}: components in a batch of {_BATCH}", predicted=_BATCH))
        parts.append(band(z, -5.0, 5.0, label=f"{label}: how often each is drawn, in standard errors", predicted=0.0))
    heads = np.stack([to_host(given.coin(Draw(t), 0.3)) for t in range(1, _DRAWS + 1)]).mean()
    spread = np.sqrt(0.3 * 0.7 / (2 * _DRAWS))
    return [*parts, band((heads - 0.3) / spread, -5.0, 5.0, label=f"{label}: heads of a coin, in standard errors", predicted=0.0)]


def _network(built: Problem, label: str) -> list[Finding]:
    """W is symmetric and doubly stochastic, mixes as it says, and has the second eigenvalue that is declared."""
    net, x = built.capabilities["network"], np.random.default_rng(0).standard_normal((1, built.capabilities["network"].agents, 3))
    matrix = np.asarray(net.weights if isinstance(net.weights, np.ndarray) else net.weights.toarray())
    values = np.linalg.eigvalsh(matrix)
    second = values[-2] if len(values) > 1 else 0.0
    off = [
        np.abs(matrix - matrix.T).max(),
        np.abs(matrix.sum(axis=1) - 1).max(),
        abs(net.lambda_2 - second),
        abs(float(built.constants["lambda_2"]) - second),
        abs(float(built.constants["rho"]) - np.sort(np.abs([*values, 0.0]))[-2]),
        np.abs(to_host(net.mix(_like(built.start, x), 1)) - matrix @ x).max(),
    ]
    return [band(off, -_ROUNDING, _ROUNDING, label=f"{label}: W, its eigenvalues and a round of gossip", predicted=0.0)]
