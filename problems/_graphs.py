"""Graphs of agents: by name, from a file or as a list of edges, and the spectra that are known in closed form.

Edges are ``(edges, 2)`` whole numbers i < j from 0 to m - 1, each pair once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import CPU
from theorysim.model import Draw, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.validation import at_least, finite, positive, unknown

Edges = NDArray[np.int64]
Graph = str | Sequence[Sequence[int]]

STANDARD = ("ring", "path", "torus", "hypercube", "star", "complete", "exponential", "barbell")
DRAWN = ("erdos_renyi", "geometric")
NAMES = (*STANDARD, *DRAWN, "one_peer")

_FIRST_DRAW = 8  # of the instance's stream; the numbers below it belong to the generators
_ATTEMPTS = 100


def edge_lists(
    graphs: Sequence[Graph], m: int, draws: Draws, chance: float | None = None, radius: float | None = None
) -> list[Edges]:
    """The edges of each graph in turn; ``one_peer`` stands for log2(m) graphs.

    ``ring``, ``path``, ``star`` (agent 0 in the middle), ``complete``; ``torus``: sqrt(m) x sqrt(m), row by row; ``hypercube``:
    agents numbered by their bits; ``exponential``: i with i +- 2^k mod m; ``barbell``: two complete graphs of floor(m/2), joined
    by an edge, or by an agent if m is odd; ``erdos_renyi``: each pair with probability ``chance`` (None: 2 ln m / m);
    ``geometric``: points uniform in the unit square, joined up to a distance of ``radius`` (None: sqrt(2 ln m / (pi m))); both
    are drawn again until they are connected. ``one_peer``: i with i xor 2^k, k = 0, 1, ... in turn. Else the path of a file with
    two numbers a line, or a list of pairs. Raises TheorysimError for anything else and for an m that the graph does not know.
    """
    if m == 1:
        return [np.empty((0, 2), dtype=np.int64) for _ in graphs]
    lists: list[Edges] = []
    for place, graph in enumerate(graphs):
        if graph == "one_peer":
            lists += _one_peer(m)
        elif isinstance(graph, str) and graph in STANDARD:
            lists.append(_standard(graph, m))
        elif isinstance(graph, str) and graph in DRAWN:
            lists.append(_drawn(graph, m, chance, radius, draws, _FIRST_DRAW + place))
        else:
            lists.append(_given(_read(graph) if isinstance(graph, str) else graph, m))
    return lists


def is_connected(edges: Edges, m: int) -> bool:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    linked = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(m, m))
    pieces: Any = connected_components(linked, directed=False, return_labels=False)
    return bool(pieces == 1)


# ------------------------------------------------------------------------------------------------ by name
def _standard(name: str, m: int) -> Edges:
    import networkx  # type: ignore[import-untyped]  # it ships no types

    makers: dict[str, Callable[[], Any]] = {
        "ring": lambda: networkx.cycle_graph(m),
        "path": lambda: networkx.path_graph(m),
        "torus": lambda: networkx.grid_2d_graph(_root(m), _root(m), periodic=True),
        "hypercube": lambda: networkx.hypercube_graph(_bits("hypercube", m)),
        "star": lambda: networkx.star_graph(m - 1),
        "complete": lambda: networkx.complete_graph(m),
        "exponential": lambda: networkx.circulant_graph(m, _powers(m)),
        "barbell": lambda: networkx.barbell_graph(at_least("m", m, 4, "a barbell has two ends of two") // 2, m % 2),
    }
    numbered = networkx.convert_node_labels_to_integers(makers[name](), ordering="sorted")
    return _tidy(np.array(numbered.edges, dtype=np.int64))


def _one_peer(m: int) -> list[Edges]:
    agents = np.arange(m)
    return [_tidy(np.stack([agents, agents ^ 2**k], axis=1)) for k in range(_bits("one_peer", m))]


def _root(m: int) -> int:
    if math.isqrt(m) ** 2 != m:
        raise TheorysimError(f"a torus needs a square number of agents, not m={m}; take {math.isqrt(m) ** 2} or another graph")
    return math.isqrt(m)


def _bits(graph: str, m: int) -> int:
    if m & (m - 1):
        raise TheorysimError(
            f"graph={graph!r} needs m to be a power of 2, not m={m}; take {2 ** (m.bit_length() - 1)} or another graph"
        )
    return m.bit_length() - 1


def _powers(m: int) -> list[int]:
    return [2**k for k in range((m - 1).bit_length())]


def _tidy(edges: Edges) -> Edges:
    return np.unique(np.sort(edges, axis=1), axis=0)


# ------------------------------------------------------------------------------------------------ drawn
def _drawn(name: str, m: int, chance: float | None, radius: float | None, draws: Draws, step: int) -> Edges:
    """The first connected one of a sequence of independent draws: the law of a graph given that it is connected."""
    one: Callable[[Draw], Edges]
    if name == "erdos_renyi":
        likely = min(1.0, 2 * math.log(m) / m) if chance is None else positive("chance", chance)
        if likely > 1:
            raise TheorysimError(f"chance={chance} is no probability; give a number above 0 and at most 1")
        one, asked = (lambda draw: _erdos_renyi(m, likely, draws, draw)), f"chance={likely:.3g}"
    else:
        reach = math.sqrt(2 * math.log(m) / (math.pi * m)) if radius is None else positive("radius", radius)
        one, asked = (lambda draw: _geometric(m, reach, draws, draw)), f"radius={reach:.3g}"
    for attempt in range(_ATTEMPTS):
        if is_connected(edges := one(Draw(step, attempt)), m):
            return edges
    raise TheorysimError(f"graph={name!r} with m={m} and {asked}: none of {_ATTEMPTS} draws is connected; give a larger one")


def _erdos_renyi(m: int, chance: float, draws: Draws, draw: Draw) -> Edges:
    """Pairs in a row, where the number of pairs up to the next edge has a geometric law: work in the edges, not in m^2."""
    if chance == 1:
        return _standard("complete", m)
    pairs = m * (m - 1) // 2
    enough = int(pairs * chance + 10 * math.sqrt(pairs * chance) + 10)
    u = replace(draws, backend=CPU).shared_uniform(Stream.INSTANCE, draw, (enough,))
    number = np.cumsum(1 + np.floor(np.log(u) / math.log1p(-chance))) - 1
    number = number[number < pairs]
    high = np.floor((1 + np.sqrt(1 + 8 * number)) / 2)
    return _tidy(np.stack([number - high * (high - 1) / 2, high], axis=1).astype(np.int64))


def _geometric(m: int, radius: float, draws: Draws, draw: Draw) -> Edges:
    from scipy.spatial import KDTree

    points = replace(draws, backend=CPU).shared_uniform(Stream.INSTANCE, draw, (m, 2))
    return _tidy(KDTree(points).query_pairs(radius, output_type="ndarray").astype(np.int64))


# ------------------------------------------------------------------------------------------------ given
def _read(path: str) -> Sequence[Sequence[int]]:
    try:
        table = np.loadtxt(path, dtype=np.int64, usecols=(0, 1), ndmin=2)
    except OSError:
        raise unknown("graph, and no file,", path, NAMES) from None
    except ValueError as error:
        raise TheorysimError(f"graph={path!r} is no list of edges ({error}); give two whole numbers a line") from None
    pairs: list[list[int]] = table.tolist()
    return pairs


def _given(pairs: Sequence[Sequence[int]], m: int) -> Edges:
    for pair in pairs:
        if not isinstance(pair, Sequence) or len(pair) != 2 or any(finite("graph: an agent", i) % 1 for i in pair):
            raise TheorysimError(
                f"graph holds {pair!r}, which is no pair of agents; give pairs of whole numbers from 0 to {m - 1}"
            )
        if not all(0 <= i < m for i in pair) or pair[0] == pair[1]:
            raise TheorysimError(f"graph: {list(pair)} does not join two of m={m} agents; they are numbered from 0 to {m - 1}")
    return _tidy(np.array(pairs, dtype=np.int64).reshape(-1, 2))


# ------------------------------------------------------------------------------------------------ spectra
class Ends(NamedTuple):
    """Of the Laplacian: its smallest positive and its largest eigenvalue; and the largest ``degree``."""

    least: float
    largest: float
    degree: int


def laplacian_ends(name: str, m: int) -> Ends | None:
    """The ends of the Laplacian's spectrum in closed form, for a connected graph of that name; None where none is known."""
    if m == 2 and name in ("ring", "path", "star", "complete", "hypercube", "exponential"):
        return Ends(2.0, 2.0, 1)
    if name == "complete":
        return Ends(float(m), float(m), m - 1)
    if name == "star":
        return Ends(1.0, float(m), m - 1)
    if name == "hypercube":
        return Ends(2.0, 2.0 * _bits(name, m), _bits(name, m))
    if name == "path":
        return Ends(_wave(1, 2 * m), _wave(m - 1, 2 * m), 2)
    if name == "torus" and m > 4:
        return Ends(_wave(1, _root(m)), 2 * _wave(_root(m) // 2, _root(m)), 4)
    if name == "ring" or (name == "torus" and m == 4):
        return Ends(_wave(1, m), _wave(m // 2, m), 2)
    if name == "exponential":
        shifts = np.array(sorted({s for power in _powers(m) for s in (power, m - power)}))
        waves = (4 * np.sin(np.pi * np.arange(1, m // 2 + 1)[:, None] * shifts / m) ** 2).sum(axis=1) / 2
        return Ends(float(waves.min()), float(waves.max()), len(shifts))
    return None


def _wave(k: int, m: int) -> float:
    """2 - 2 cos(2 pi k / m), an eigenvalue of the Laplacian of a ring of m."""
    return 4 * math.sin(math.pi * k / m) ** 2


def spectral_gap(name: str, m: int) -> float | None:
    """1 - lambda_2 of the Metropolis weights, not lazy, in closed form; None where none is known. [derived]

    ring (4/3) sin^2(pi/m); path (2/3) (1 - cos(pi/m)); torus (4/5) sin^2(pi/sqrt m); hypercube 2/(1 + log2 m); star 1/m;
    complete 1. In all of them the weights are I - Laplacian/(1 + largest degree).
    """
    if m == 1:
        return 1.0
    ends = laplacian_ends(name, m)
    return None if ends is None else ends.least / (1 + ends.degree)
