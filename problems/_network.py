"""Networks of agents: a graph and its weights W, checked, with their eigenvalues, as the capability ``network``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.agents import Network
from theorysim.backend import CPU
from theorysim.model import TheorysimError
from theorysim.noise import Draws
from theorysim.problems._graphs import DRAWN, NAMES, Edges, Graph, edge_lists, is_connected, laplacian_ends
from theorysim.problems._mixing import Sparse, mixing
from theorysim.validation import finite, non_negative, one_of, positive, positive_integer

Floats = NDArray[np.float64]
Weights = str | Sequence[Sequence[float]]

WEIGHTS = ("metropolis", "max_degree", "laplacian", "adjacency")
_DENSE = 2000  # agents up to which W is kept as a dense matrix and all its eigenvalues are computed
_ROUNDING = 1e-12
_OUTWEIGHS = 1e-9


class Plan(NamedTuple):
    """All that decides a network: equal plans are equal networks. ``stamps``: size and time of change of files of edges."""

    m: int
    graphs: tuple[Any, ...] | None
    weights: Any
    lazy: bool
    chance: float | None
    radius: float | None
    edge_weight: float | None
    link_loss: float
    allow_bipartite: bool
    seed: int
    stamps: tuple[tuple[int, int], ...]


class Wiring(NamedTuple):
    """``matrices``: the W of each round in turn, nothing lost. ``mean``: of all W_t. ``edges``: how many are used a round."""

    matrices: tuple[Sparse, ...]
    mean: Any
    lambda_2: float
    lambda_min: float
    edges: int


def network(
    draws: Draws,
    m: int,
    graph: Graph | None = None,
    weights: Weights = "metropolis",
    lazy: bool = True,
    chance: float | None = None,
    radius: float | None = None,
    edge_weight: float | None = None,
    link_loss: float = 0.0,
    changing: Sequence[Graph] | None = None,
    allow_bipartite: bool = False,
) -> Network:
    """The network of m agents.

    ``graph``, ``chance``, ``radius``: see _graphs.edge_lists; None: a ring, or the edges of ``weights`` where those are given.
    ``weights``: ``metropolis`` w_ij = 1/(1 + max(deg_i, deg_j)); ``max_degree`` 1/(1 + largest degree); ``laplacian`` W = I - c
    Laplacian, c = ``edge_weight`` (None: the best, 2/(smallest positive + largest eigenvalue)); ``adjacency`` 1/degree, of
    regular graphs, no weight on the agent itself; or the rows of a symmetric doubly stochastic matrix. ``lazy``: (I + W)/2.
    ``link_loss``: probability with which an edge is lost in a round, in both directions, its weight going to the diagonal.
    ``changing``: further graphs that take turns with ``graph``. ``allow_bipartite``: keep weights whose smallest eigenvalue
    outweighs lambda_2, with which gossip need not converge: a bipartite graph without own weights.

    With losses or turns, ``weights`` of the Network is the mean of the W_t, and its eigenvalues are those of the mean; messages
    counts the edges that are used, a lost message is still sent, and of graphs in turn it is that of the largest.
    Raises TheorysimError for graphs that are not connected and weights that are not allowed.
    """
    for name, switch in (("lazy", lazy), ("allow_bipartite", allow_bipartite)):
        if not isinstance(switch, bool):
            raise TheorysimError(f"{name}={switch!r} is not allowed; give True or False")
    if non_negative("link_loss", link_loss) >= 1:
        raise TheorysimError(f"link_loss={link_loss} leaves no edge; give a probability of at least 0 and below 1")
    m, given = positive_integer("m", m), not isinstance(weights, str)
    if given and (graph is not None or changing is not None):
        raise TheorysimError("weights given as a matrix are their own graph; leave out graph and changing")
    graphs = None if given else _frozen((("ring" if graph is None else graph), *(changing or ())))
    _require_meaning("weights", (weights,), edge_weight=(edge_weight, "laplacian"))
    _require_meaning("graph", graphs or (), chance=(chance, "erdos_renyi"), radius=(radius, "geometric"))
    seed = draws.seed if any(name in DRAWN for name in graphs or ()) else 0
    plan = Plan(m, graphs, _frozen(weights), lazy, chance, radius, edge_weight, link_loss, allow_bipartite, seed, _stamps(graphs))
    wiring = _wiring(plan)
    return Network(
        agents=m,
        mix=mixing(wiring.matrices, link_loss if m > 1 else 0.0, draws),
        weights=wiring.mean,
        lambda_2=wiring.lambda_2,
        lambda_min=wiring.lambda_min,
        messages=2 * wiring.edges,
        fixed=len(wiring.matrices) == 1 and link_loss == 0,
    )


def network_constants(net: Network) -> dict[str, float]:
    """``lambda_2``, ``gamma`` = 1 - lambda_2, ``rho`` = max(|lambda_2|, |lambda_min|)."""
    return {"lambda_2": net.lambda_2, "gamma": net.gap, "rho": max(abs(net.lambda_2), abs(net.lambda_min))}


def _frozen(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _frozen(value.tolist())
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _require_meaning(what: str, names: Sequence[Any], **given: tuple[float | None, str]) -> None:
    """TheorysimError for a parameter of other graphs or weights than those that are used."""
    for parameter, (value, owner) in given.items():
        if value is not None and owner not in [name for name in names if isinstance(name, str)]:
            raise TheorysimError(f"{parameter}={value} has a meaning for {what}={owner!r} only; leave it out")


def _stamps(graphs: tuple[Any, ...] | None) -> tuple[tuple[int, int], ...]:
    files = [Path(name) for name in graphs or () if isinstance(name, str) and name not in NAMES]
    found = [path.stat() for path in files if path.is_file()]
    return tuple((status.st_size, status.st_mtime_ns) for status in found)


# ------------------------------------------------------------------------------------------------ weights
@functools.lru_cache(maxsize=64)
def _wiring(plan: Plan) -> Wiring:
    m = plan.m
    if plan.graphs is None:
        matrices = [_given(plan.weights, m)]
    else:
        draws = Draws(CPU, plan.seed, np.empty(0, dtype=np.int64))
        lists = edge_lists(plan.graphs, m, draws, plan.chance, plan.radius)
        _require_connected(np.concatenate(lists), m, plan)
        matrices = [_weighted(edges, plan) for edges in lists]
    if plan.lazy:
        matrices = [(_identity(m) + matrix) / 2 for matrix in matrices]
    mean = sum(matrices[1:], matrices[0]) / len(matrices) * (1 - plan.link_loss) + plan.link_loss * _identity(m)
    known = _known_ends(plan)
    lambda_2, lambda_min = ends(mean) if known is None else known
    if -lambda_min > lambda_2 + _OUTWEIGHS and not plan.allow_bipartite:
        raise TheorysimError(
            f"weights={_called(plan.weights)}: the smallest eigenvalue {lambda_min:.4g} outweighs lambda_2 = {lambda_2:.4g}; "
            "give lazy=True, or allow_bipartite=True to have gossip that need not converge"
        )
    edges = max(matrix.nnz - np.count_nonzero(matrix.diagonal()) for matrix in matrices) // 2
    return Wiring(tuple(matrices), mean.toarray() if m <= _DENSE else mean, lambda_2, lambda_min, int(edges))


def _identity(m: int) -> Sparse:
    from scipy.sparse import eye_array

    return eye_array(m, format="csr")


def _called(weights: Any) -> str:
    return repr(weights) if isinstance(weights, str) else "the given matrix"


def _require_connected(edges: Edges, m: int, plan: Plan) -> None:
    if not is_connected(edges, m):
        graphs = plan.graphs or ()
        shown = ", ".join(name if isinstance(name, str) else "a list of edges" for name in graphs)
        raise TheorysimError(f"graph: {shown} does not connect all of m={m} agents; add edges, or take fewer agents")


def _weighted(edges: Edges, plan: Plan) -> Sparse:
    """W, not lazy, of a graph, by the name of its weights."""
    degree = np.bincount(edges.reshape(-1), minlength=plan.m)
    name, largest = one_of("weights", plan.weights, WEIGHTS), int(degree.max(initial=0))
    if name == "metropolis":
        return _matrix(edges, 1.0 / (1 + np.maximum(degree[edges[:, 0]], degree[edges[:, 1]])), plan.m)
    if name == "max_degree":
        return _matrix(edges, np.full(len(edges), 1.0 / (1 + largest)), plan.m)
    if name == "adjacency" and degree.min(initial=largest) < largest:
        raise TheorysimError(
            f"weights='adjacency' needs a regular graph; here the degrees go from {degree.min()} to {largest}; take 'metropolis'"
        )
    each = 1.0 / max(1, largest) if name == "adjacency" else _coupling(edges, plan, largest)
    return _matrix(edges, np.full(len(edges), each), plan.m)


def _coupling(edges: Edges, plan: Plan, degree: int) -> float:
    """c of I - c Laplacian: as given, or the one that shrinks differences most [Xiao and Boyd 2004, recalled]."""
    if plan.edge_weight is not None:
        return positive("edge_weight", plan.edge_weight)
    if plan.m == 1:
        return 1.0
    known = laplacian_ends(plan.graphs[0], plan.m) if plan.graphs and len(plan.graphs) == 1 else None
    if known is not None:
        return 2 / (known.least + known.largest)
    high, low = ends(_matrix(edges, np.full(len(edges), 0.5 / degree), plan.m))
    return 1 / (degree * ((1 - high) + (1 - low)))


def _matrix(edges: Edges, weights: Floats, m: int) -> Sparse:
    """The symmetric matrix with these weights on the edges and what is left on the diagonal."""
    from scipy.sparse import csr_array

    i, j, own = edges[:, 0], edges[:, 1], np.arange(m)
    off = csr_array((np.tile(weights, 2), (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(m, m))
    diagonal: Floats = 1 - off.sum(axis=1)
    # what is 0 up to rounding is no weight of the agent itself
    whole = off + csr_array((np.where(np.abs(diagonal) < _ROUNDING, 0.0, diagonal), (own, own)), shape=(m, m))
    whole.eliminate_zeros()
    return whole


def _given(rows: Any, m: int) -> Sparse:
    from scipy.sparse import csr_array

    if len(rows) != m or any(not isinstance(row, tuple) or len(row) != m for row in rows):
        raise TheorysimError(f"weights must be {m} rows of {m} numbers for m={m}, or one of {', '.join(WEIGHTS)}")
    w = np.array([[finite("weights: an entry", entry) for entry in row] for row in rows])
    why = ""
    if np.abs(w - w.T).max() > _ROUNDING:
        why = "are not symmetric"
    elif np.abs(w.sum(axis=1) - 1).max() > _ROUNDING:
        why = "do not sum to 1 in every row"
    elif w.min() < 0:
        why = f"hold {w.min():.4g}, a negative number"
    if why:
        raise TheorysimError(f"the given weights {why}; W must be symmetric and doubly stochastic")
    matrix = csr_array((w + w.T) / 2)
    if not is_connected(np.argwhere(np.triu(w, 1) > 0), m):
        raise TheorysimError(f"the given weights do not connect all of m={m} agents; add edges")
    return matrix


# ------------------------------------------------------------------------------------------------ eigenvalues
def _known_ends(plan: Plan) -> tuple[float, float] | None:
    """lambda_2 and lambda_min in closed form, where every weight of a graph is the same c: I - c Laplacian."""
    if plan.m == 1:
        return 0.0, 0.0
    known = None if plan.graphs is None or len(plan.graphs) > 1 else laplacian_ends(plan.graphs[0], plan.m)
    if known is None:
        return None
    c = {
        "laplacian": plan.edge_weight or 2 / (known.least + known.largest),
        "adjacency": 1 / known.degree,
    }.get(plan.weights, 1 / (1 + known.degree))
    keep = (1 - plan.link_loss) * (0.5 if plan.lazy else 1.0)
    return _clean(1 - keep * c * known.least), _clean(1 - keep * c * known.largest)


def ends(matrix: Sparse) -> tuple[float, float]:
    """lambda_2 and lambda_min of a symmetric matrix whose eigenvalue 1 belongs to the ones, ``(m, m)`` sparse, m >= 2."""
    m = matrix.shape[0]
    if m <= _DENSE:
        values = np.linalg.eigvalsh(matrix.toarray() - 1.0 / m)  # the 1 becomes a 0, which may be anywhere
        gone = int(np.argmin(np.abs(values)))
        values = np.delete(values, gone)
        return _clean(float(values[-1])), _clean(float(values[0]))
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    first = np.cos(np.arange(m, dtype=float))  # any vector, but the same in every process
    try:
        high = np.sort(eigsh(matrix, k=2, which="LA", v0=first, return_eigenvectors=False, maxiter=100 * m))
        low = eigsh(matrix, k=1, which="SA", v0=first, return_eigenvectors=False, maxiter=100 * m)
    except ArpackNoConvergence as error:
        raise TheorysimError(f"lambda_2 of m={m} agents is too close to 1 to be found ({error}); take a denser graph") from None
    return _clean(float(high[0])), _clean(float(low[0]))


def _clean(value: float) -> float:
    return 0.0 if abs(value) < _ROUNDING else value
