"""Gossip: how fast agents agree, plainly and with a memory, and what it needs (G1 to G5)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from theorysim import gossip
from theorysim.agents import Network
from theorysim.analyses.band import band
from theorysim.analyses.slope import slope
from theorysim.backend import to_host
from theorysim.bounds import Bound
from theorysim.findings import Finding, Panel, Series, Table, together
from theorysim.lab import Lab
from theorysim.model import Array, Control, Spec
from theorysim.paper_checks._decentralized_paper import EXPLICIT, GRAPHS, PAPER, Floats, network
from theorysim.registry import claim

Rounds = Callable[[gossip.Mix, Array, int, float], Array]


def plain(mix: gossip.Mix, x: Array, rounds: int, lambda_2: float) -> Array:
    return gossip.plain(mix, x, rounds)


def miscoded(mix: gossip.Mix, x: Array, rounds: int, lambda_2: float) -> Array:
    """The memory overwritten before it is used, as in a public code: ((1 + e) W - e I)^K."""
    weight = gossip.memory_weight(lambda_2)
    return gossip.plain(lambda now: (1 + weight) * mix(now) - weight * now, x, rounds)


METHODS: dict[str, Rounds] = {"plain": plain, "fast": gossip.fast_mix, "miscoded": miscoded}


def talk(lab: Lab, where: Spec) -> Network:
    found: Network = lab.build(where).capabilities["network"]
    return found


def left_over(lab: Lab, net: Network, method: str, rounds: int) -> float:
    """The operator norm of what K rounds leave of differences: ‖P_K - J‖_2, from what agents hear."""
    start = lab.backend.asarray(np.eye(net.agents)[None])
    mixed = METHODS[method](lambda x: net.mix(x, 1), start, rounds, net.lambda_2)
    return float(np.linalg.norm(to_host(mixed)[0] - 1 / net.agents, 2))


def eigenvalues(lab: Lab, net: Network) -> Floats:
    """Of W on the differences, ascending, from one round of gossip on every unit vector."""
    heard = to_host(net.mix(lab.backend.asarray(np.eye(net.agents)[None]), 1))[0]
    return _of_differences(heard)


def _of_differences(w: Floats) -> Floats:
    """In a basis of the differences, so that the eigenvalue 1 of the mean is left out."""
    m = len(w)
    basis = np.linalg.qr(np.eye(m)[:, 1:] - 1 / m)[0]
    return np.asarray(np.linalg.eigvalsh(basis.T @ (w + w.T) @ basis / 2))


def rounds_until(values: Floats, method: str, lambda_2: float, target: float) -> float:
    """The first K with ‖P_K - J‖ <= target, from the eigenvalues; infinite if there is none up to a million."""

    def left(rounds: int) -> float:
        return float(np.abs(METHODS[method](lambda x: values * x, np.ones_like(values), rounds, lambda_2)).max())

    high = 1
    while left(high) > target:
        high *= 2
        if high > 1e6:
            return math.inf
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left(middle) > target else (low, middle)
    return float(high)


_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_PLAIN = "lambda_2**K"
_FAST = "r**K*Max(sqrt(2), 1 + K*(1 - r))"


def _against(lab: Lab, method: str, text: str, twice: float, **params: Any) -> tuple[list[Finding], Panel]:
    """‖P_K - J‖ against a bound that is attained, graph by graph."""
    parts, curves = [], []
    for graph in GRAPHS:
        net = talk(lab, network(graph, **params))
        r = net.lambda_2 / (1 + math.sqrt(1 - net.lambda_2**2))
        counts = [k for k in _COUNTS if r**k > 1e-7]
        measured = np.array(lab.map(functools.partial(left_over, lab, net, method), counts))
        limit = np.array([float(Bound(text)({"lambda_2": net.lambda_2, "r": r, "K": twice * k})) for k in counts])
        parts.append(band(measured / limit, high=1 + 1e-9, label=f"{graph}: contraction / bound", predicted=1.0))
        parts.append(band(float(np.max(measured / limit)), low=0.999, label=f"{graph}: largest contraction / bound"))
        curves += [Series(graph, tuple(map(float, counts)), tuple(measured))]
        curves += [Series(f"bound, {graph}", tuple(map(float, counts)), tuple(limit), "bound")]
    return parts, Panel("What K rounds of gossip leave of a difference", "K", "‖P_K - J‖", tuple(curves), log_x=False)


@claim(
    PAPER,
    source=f"derived, elementary; {EXPLICIT}",
    kind="tight",
    statement=r"\|W^KX-\mathbf 1\bar x\|\le\lambda_2^K\,\|X-\mathbf 1\bar x\|",
    bound=_PLAIN,
    assumptions="Lazy Metropolis weights, 16 agents: ring, path, star, torus, hypercube, complete; K = 1 ... 32; attained.",
    controls=[
        Control({"twice": 2.0}, "judged with twice the rounds that were made"),
        Control({"weights": "adjacency", "lazy": False}, "two sides of an even graph, no weight on oneself: W has eigenvalue -1"),
    ],
)
def plain_gossip_contracts(lab: Lab, twice: float = 1.0, weights: str = "metropolis", lazy: bool = True) -> Finding:
    """Every round of plain gossip shrinks the differences between agents by the factor lambda_2, and not by more."""
    if not lazy:
        net = talk(lab, network(weights=weights, lazy=False, allow_bipartite=True))
        ratio = left_over(lab, net, "plain", 8) / float(Bound(_PLAIN)({"lambda_2": net.lambda_2, "K": 8.0}))
        return band(ratio, high=1 + 1e-9, label="even ring: contraction / bound", predicted=1.0)
    parts, panel = _against(lab, "plain", _PLAIN, twice, weights=weights)
    return together(*parts, label="plain gossip", panels=(panel,))


@claim(
    PAPER,
    source="the method recalled (Ye and others), used by the public code of a sibling paper (source); exact bound derived",
    kind="tight",
    statement=r"\|P_K-J\|_2\le r^K\max\big(\sqrt2,\,1+K(1-r)\big),\qquad r=\frac{\lambda_2}{1+\sqrt{1-\lambda_2^2}}"
    r"\approx1-\sqrt{2\gamma}",
    bound=_FAST,
    assumptions="Lazy Metropolis weights, 16 agents: ring, path, star, torus, hypercube, complete; K = 1 ... 32; attained at "
    "lambda_2.",
    controls=[
        Control({"method": "miscoded"}, "the memory is overwritten before it is used: no Chebyshev polynomial, no acceleration"),
        Control({"method": "plain"}, "gossip without memory"),
        Control({"twice": 1.2}, "judged with a fifth more rounds than were made"),
    ],
)
def accelerated_gossip_contracts(lab: Lab, method: str = "fast", twice: float = 1.0) -> Finding:
    """K rounds of accelerated gossip leave exactly the Chebyshev-type factor, of order exp(-K sqrt(2 gamma)), of a difference."""
    parts, panel = _against(lab, method, _FAST, twice)
    return together(*parts, label="accelerated gossip", panels=(panel,))


# ------------------------------------------------------------------------------------------------ over the spectral gap
@claim(
    PAPER,
    source=f"abstract: comparable communication (source); exponents derived, {EXPLICIT}",
    kind="rate",
    statement=r"K(\varepsilon)\sim\gamma^{-1}\ln\tfrac1\varepsilon\ \text{(plain)},\qquad K(\varepsilon)\sim"
    r"(2\gamma)^{-1/2}\ln\tfrac1\varepsilon\ \text{(accelerated)}",
    assumptions="Lazy rings of 16, 32, 64 (full: to 256) agents; rounds until the operator norm on differences is 1e-6.",
    controls=[
        Control({"fast": "miscoded"}, "the memory overwritten: only the factor 1 + e <= 2 is won, the slope stays near -1"),
        Control({"fast": "plain"}, "plain gossip in the place of the accelerated one"),
    ],
)
def acceleration_halves_the_exponent(lab: Lab, fast: str = "fast") -> Finding:
    """Rounds of plain gossip grow as 1/gamma, rounds of accelerated gossip as 1/sqrt(gamma)."""
    agents = lab.pick(quick=(16, 32, 64), full=(16, 32, 64, 128, 256))
    nets = [talk(lab, network(m=m, n=8)) for m in agents]
    spectra = lab.map(lambda net: eigenvalues(lab, net), nets)
    gaps = [float(1 - values[-1]) for values in spectra]
    parts, rows = [], []
    for name, method, predicted in (("plain", "plain", -1.0), ("accelerated", fast, -0.5)):
        used = [rounds_until(values, method, net.lambda_2, 1e-6) for values, net in zip(spectra, nets, strict=True)]
        limits: dict[str, Any] = {"low": predicted - 0.05, "high": predicted + 0.05, "predicted": predicted}
        label = f"{name}: exponent of gamma in the rounds"
        parts.append(slope(gaps, used, **limits, label=label, variable="gamma", quantity="rounds to 1e-6"))
        rows.append((name, *used))
    table = Table("Rounds until differences are a millionth", ("gossip", *(f"ring of {m}" for m in agents)), tuple(rows))
    same = [np.linalg.norm(left_over(lab, nets[0], "fast", k) - contracted(spectra[0], nets[0], k)) for k in (5, 40)]
    parts.append(band(same, high=1e-12, label="norm from eigenvalues and from rounds: difference", predicted=0.0))
    return together(*parts, label="rounds over the gap", panels=(parts[0].panels[0], parts[1].panels[0]), tables=(table,))


def contracted(values: Floats, net: Network, rounds: int) -> float:
    return float(np.abs(gossip.fast_mix(lambda x: values * x, np.ones_like(values), rounds, net.lambda_2)).max())


# ------------------------------------------------------------------------------------------------ gaps
def closed_gap(graph: str, m: int) -> float:
    """1 - lambda_2 of the Metropolis weights, not lazy. [derived]"""
    if m == 2:
        return 1.0
    if graph == "torus" and m == 4:
        return 2 / 3  # a cycle of four
    return {
        "ring": 4 / 3 * math.sin(math.pi / m) ** 2,
        "path": 2 / 3 * (1 - math.cos(math.pi / m)),
        "torus": 4 / 5 * math.sin(math.pi / math.sqrt(m)) ** 2,
        "hypercube": 2 / (math.log2(m) + 1),
        "star": 1 / m,
        "complete": 1.0,
    }[graph]


_SIZES = {"ring": (2, 3, 4, 16, 32), "path": (2, 3, 16, 32), "torus": (4, 9, 16, 36, 64), "hypercube": (2, 16, 64)}
_SIZES |= {"star": (2, 3, 16), "complete": (2, 5, 16)}


def _simple(graph: str, m: int, **params: Any) -> Spec:
    return network(graph, m=m, n=2, dim=2, **params)


@claim(
    PAPER,
    source=f"derived: spectra of the Laplacians; {EXPLICIT}",
    kind="identity",
    statement=r"\gamma=\tfrac43\sin^2\tfrac\pi m\ (\text{ring}),\ \tfrac23(1-\cos\tfrac\pi m)\ (\text{path}),\ \tfrac45\sin^2"
    r"\tfrac\pi{\sqrt m}\ (\text{torus}),\ \tfrac2{1+\log_2m}\ (\text{hypercube}),\ \tfrac1m\ (\text{star}),\ 1\ "
    r"(\text{complete})",
    assumptions="Metropolis weights 1/(1 + larger degree), not lazy: the lazy gap is half. 2 agents: 1; 2 x 2 torus: 2/3.",
    controls=[Control({"lazy": True}, "lazy weights have half the gap")],
)
def spectral_gaps_in_closed_form(lab: Lab, lazy: bool = False) -> Finding:
    """The spectral gaps of the standard graphs have closed forms; those of random graphs do not shrink with their size."""
    parts = []
    for graph, sizes in _SIZES.items():
        nets = [talk(lab, _simple(graph, m, lazy=lazy)) for m in sizes]
        claimed = np.array([closed_gap(graph, m) for m in sizes])
        heard = np.array([1 - eigenvalues(lab, net)[-1] for net in nets])
        parts.append(band(np.abs(heard / claimed - 1), high=1e-9, label=f"{graph}: gap of the messages, off by", predicted=0.0))
        declared = np.array([net.gap for net in nets])
        parts.append(band(np.abs(declared / claimed - 1), high=1e-9, label=f"{graph}: gap as declared, off by", predicted=0.0))
    return together(*parts, label="spectral gaps", tables=(_random_graphs(lab),))


def _random_graphs(lab: Lab) -> Table:
    """The lazy gap does not matter here, only that it stays where it is."""
    rows = []
    for m in lab.pick(quick=(16, 64), full=(16, 32, 64, 128)):
        gaps = [talk(replace(lab, seed=seed), _simple("erdos_renyi", m, lazy=False)).gap for seed in range(5)]
        rows.append((m, min(gaps), float(np.mean(gaps)), max(gaps)))
    return Table("Erdos-Renyi graphs of edge probability 2 ln m/m, 5 of each", ("m", "least gap", "mean", "largest"), tuple(rows))


# ------------------------------------------------------------------------------------------------ what gossip needs
@claim(
    PAPER,
    source=f"derived: the recursion on an eigenvalue -1; {EXPLICIT}",
    kind="threshold",
    statement=r"\lambda_{\min}(W)=-1:\quad\|W^K-J\|=1,\qquad\|P_K-J\|\to\frac1{\sqrt{1-\lambda_2^2}}=\frac1{\sin(2\pi/m)}",
    assumptions="Even rings without weight on oneself, W = adjacency/2, of 8, 16 and 32 agents.",
    controls=[
        Control({"lazy": True}, "with half its weight on itself every agent is heard out, and gossip converges"),
        Control({"method": "plain"}, "plain gossip keeps the difference of the two sides, it does not enlarge it"),
    ],
)
def bipartite_graphs_never_agree(lab: Lab, lazy: bool = False, method: str = "fast") -> Finding:
    """Without weights on oneself the two sides of an even ring never agree, and a memory makes it worse."""
    parts = []
    for m in (8, 16, 32):
        net = talk(lab, network(m=m, n=8, weights="adjacency", lazy=lazy, allow_bipartite=True))
        limit = 1 / math.sin(2 * math.pi / m)
        kept, grown = (left_over(lab, net, how, 40 * m) for how in ("plain", method))
        parts.append(band(kept, 1 - 1e-9, 1 + 1e-9, label=f"ring of {m}, plain: ‖W^K - J‖", predicted=1.0))
        label = f"ring of {m}, accelerated: ‖P_K - J‖ / its limit"
        parts.append(band(grown / limit, 1 - 1e-6, 1 + 1e-6, label=label, predicted=1.0))
    return together(*parts, label="bipartite graphs")
