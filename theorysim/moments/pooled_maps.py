"""The random linear map of one step of a variance-reduced method, coordinate by coordinate.

On a quadratic finite sum whose coordinates decouple (agents.PooledCoordinates) all variables of coordinate k form one vector u of
deviations from x*, and a step is u' = A u + B nu, with noise nu = sqrt-weights times the difference x - w at the agents that hold
the coordinate, and a snapshot that is new with probability p. So the second moments M = E u u' obey a linear recursion [derived].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from theorysim import gossip
from theorysim.agents import Network, PooledCoordinates, PooledMethod
from theorysim.model import TheorysimError

Floats = NDArray[np.float64]


class Coordinates(NamedTuple):
    """The distinct coordinates, c of them: how many ``times`` each occurs, h ``(c,)``; for each agent ``shares``, n_ik/n of its
    components belong to the coordinate, and ``pull``, entry k of grad f_i(x*), ``(c, m)``; ``error``: x_0 - x*, ``(c,)``.
    ``weight``: 1/(N q) of a component, ``(c,)``; ``noise``: the covariance of m d h_k/b times the weighted counts of draws,
    ``(c, m, m)``. ``components``: n."""

    times: Floats
    h: Floats
    shares: Floats
    pull: Floats
    error: Floats
    weight: Floats
    noise: Floats
    dim: int
    components: int


class System(NamedTuple):
    """``move``: A without the rows of the snapshot, which comes last in u, ``(c, D - w, D)``. ``blocks``: where in u each
    variable lies. The snapshot becomes ``source`` with probability ``chance``. ``kept``, ``renewed``: the rows of x - w with the
    old and with the new snapshot, ``(c, r, D)``. ``inject``: B, ``(c, D - w, r)``. ``noise``, ``(c, r, r)``, multiplies
    E (x - w)(x - w)' entry by entry. ``start``: ``(c, D)``. ``agents``: that a block of m rows stands for. ``held``: which
    part of all components belongs to the coordinate and lies at the agent of a row of the snapshot, ``(c, w)``."""

    coordinates: Coordinates
    agents: int
    blocks: dict[str, slice]
    source: slice
    chance: float
    move: Floats
    kept: Floats
    renewed: Floats
    inject: Floats
    noise: Floats
    start: Floats
    held: Floats

    @property
    def mean_map(self) -> Floats:
        """E of the map of one step, ``(c, D, D)``."""
        snapshot = np.zeros((self.blocks["w"].stop - self.blocks["w"].start, self.start.shape[1]))
        snapshot[:, self.blocks["w"]] += (1 - self.chance) * np.eye(len(snapshot))
        snapshot[:, self.source] += self.chance * np.eye(len(snapshot))
        return np.concatenate([self.move, np.broadcast_to(snapshot, (len(self.move), *snapshot.shape))], axis=1)


def coordinates(data: PooledCoordinates, method: PooledMethod) -> Coordinates:
    """The distinct coordinates; those whose data agree to 13 digits are computed once."""
    h, counts, pull, error = (
        np.asarray(each, dtype=float) for each in (data.h, data.counts, data.gradient_at_minimizer, data.error)
    )
    table = np.concatenate([[h], counts, pull, [error]])
    scale = np.abs(table).max(axis=1, keepdims=True)
    keys = np.round(table / np.where(scale == 0, 1.0, scale), 13)
    _, first, times = np.unique(keys, axis=1, return_index=True, return_counts=True)
    (m, d), n = counts.shape, round(counts[:, 0].sum() * h.size / counts.shape[0])
    chances = h / h.sum() if method.importance else np.full(d, 1 / d)
    weight = 1 / (d * chances)
    pi = counts * (chances / counts.sum(axis=0))  # of a draw being coordinate k at agent i
    if method.local:
        q, share = counts / n, method.share(m)
        covariance = share * (q * (1 - q)).T[:, :, None] * np.eye(m)
    else:
        covariance = method.batch * (pi.T[:, :, None] * np.eye(m) - pi.T[:, :, None] * pi.T[:, None, :])
    noise = (m * d * h * weight / method.batch)[:, None, None] ** 2 * covariance
    return Coordinates(
        times.astype(float), h[first], (counts / n).T[first], pull.T[first], error[first], weight[first], noise[first], d, n
    )


def mixing(network: Network, method: PooledMethod) -> Floats:
    """P, what all rounds of gossip of one variable do, ``(m, m)``; TheorysimError for a network that changes from round to
    round."""
    if not network.fixed:
        raise TheorysimError("this network changes or loses messages, so no expectation is computed; estimate it with runs=...")
    weights = dense(network)

    def mix(x: Floats) -> Floats:
        return weights @ x

    eye, rounds = np.eye(network.agents), method.rounds or 0
    return gossip.fast_mix(mix, eye, rounds, network.lambda_2) if method.fast else gossip.plain(mix, eye, rounds)  # type: ignore[no-any-return]


def dense(network: Network) -> Floats:
    """W."""
    return network.weights.toarray() if hasattr(network.weights, "toarray") else np.asarray(network.weights, dtype=float)


# ------------------------------------------------------------------------------------------------ exact averages
def of_averages(data: Coordinates, method: PooledMethod, lr: float, chance: float, thetas: tuple[float, float, float]) -> System:
    """All agents at one point: u = (x, w), or (z, y, w) with x between them."""
    count, h = len(data.h), data.h[:, None]
    noise = data.noise.sum(axis=(1, 2), keepdims=True) / data.noise.shape[1] ** 2
    eye = np.eye(3 if method.theta_1 is not None else 2)
    if method.theta_1 is None:
        move, inject = ((1 - lr * h) * eye[0])[:, None], np.full((count, 1, 1), -lr)
        kept, blocks = eye[:1] - eye[1:], {"x": slice(0, 1), "w": slice(1, 2)}
    else:
        t1, t2, mu = thetas
        x, shrink = np.array([t1, 1 - t1 - t2, t2]), 1 / (1 + lr * mu)
        z = shrink * (eye[0] + lr * mu * x - lr * h * x)
        move = np.stack([z, x + t1 * (z - eye[0])], axis=1)
        inject = np.broadcast_to(np.array([[-lr * shrink], [-t1 * lr * shrink]]), (count, 2, 1))
        kept = (x - eye[2])[None]
        blocks = {"z": slice(0, 1), "x": slice(1, 2), "w": slice(2, 3)}
    difference = np.broadcast_to(kept, (count, *kept.shape))
    start, held = data.error[:, None] * np.ones(len(eye)), data.shares.mean(axis=1, keepdims=True)
    return System(data, 1, blocks, blocks["x"], chance, move, difference, difference, inject, noise, start, held)


# ------------------------------------------------------------------------------------------------ agents
def of_agents(
    data: Coordinates, method: PooledMethod, p: Floats, lr: float, chance: float, thetas: tuple[float, float, float]
) -> System:
    """Agents that mix by P: u = (x, s, v, w), or (z, x, s, v, w) with x for y; s the tracker, v the estimates less grad f_i(x*).

    Agents are numbered by coordinate, those that hold it first: for the others v is 0, and w reaches x only in Katyusha.
    """
    m, fast = data.shares.shape[1], method.theta_1 is not None
    order = np.argsort(data.shares == 0, axis=1, kind="stable")
    shares, pull = (np.take_along_axis(each, order, axis=1) for each in (data.shares, data.pull))
    noise = np.take_along_axis(np.take_along_axis(data.noise, order[:, :, None], axis=1), order[:, None, :], axis=2)
    r = int((shares > 0).sum(axis=1).max())
    sizes = {"z": m * fast, "x": m, "s": m, "v": r, "one": int(not method.tracking), "w": m if fast else r}
    ends = np.cumsum(list(sizes.values())).tolist()
    blocks = {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}
    parts = _Parts(blocks, data.h[:, None] * data.dim * shares, pull, p[order[:, :, None], order[:, None, :]], r, ends[-1])
    rows, kept, renewed = _katyusha(parts, method, lr, thetas) if fast else _svrg(parts, lr)
    u_0, on_holders = data.error[:, None] * np.ones(m), (data.error[:, None] * parts.hessian)[:, :r]
    if fast:
        start = [u_0, u_0, 0 * u_0, -pull[:, :r], np.ones((len(u_0), sizes["one"])), u_0]
    else:
        start = [u_0, data.error[:, None] * parts.hessian + pull, on_holders, u_0[:, :r]]
    source = slice(blocks["x"].start, blocks["x"].start + sizes["w"])
    move, inject = rows[..., : parts.size], rows[..., parts.size :]
    begin, held = np.concatenate(start, axis=1), shares[:, : sizes["w"]] / m
    return System(data, m, blocks, source, chance, move, kept, renewed, inject, noise[:, :r, :r], begin, held)


class _Parts(NamedTuple):
    """``hessian``: of f_i along the coordinate, ``pull``: gradient of f_i at x*, ``(c, m)``; ``mix``: P, ``(c, m, m)``.
    ``holders``: r. ``size``: D. A variable is written as its rows over (u, nu), ``(c, rows, D + r)``."""

    blocks: dict[str, slice]
    hessian: Floats
    pull: Floats
    mix: Floats
    holders: int
    size: int

    def of(self, name: str) -> Floats:
        rows = np.eye(self.size + self.holders)[self.blocks[name]]
        return np.broadcast_to(rows, (len(self.mix), *rows.shape))

    def estimate(self, x: Floats) -> Floats:
        """v = H x + nu at the holders."""
        nu = np.eye(self.size + self.holders)[self.size :]
        rows: Floats = self.hessian[:, : self.holders, None] * x[:, : self.holders] + nu
        return rows

    def tracked(self, v: Floats) -> Floats:
        """P(s + v' - v), its mean made equal to that of v', which only rounding errors change."""
        s = self.of("s").copy()
        s[:, : self.holders] += v - self.of("v")
        s = self.mix @ s
        rows: Floats = s - s.mean(axis=1, keepdims=True) + v.sum(axis=1, keepdims=True) / s.shape[1]
        return rows

    def untracked(self, v: Floats) -> Floats:
        """P(v' + gradients at x*)."""
        s = self.pull[:, :, None] * self.of("one")
        s[:, : self.holders] += v
        return self.mix @ s


def _svrg(parts: _Parts, lr: float) -> tuple[Floats, Floats, Floats]:
    """The rows of (x, s, v), and of x - w with the old and the new snapshot."""
    x = parts.mix @ (parts.of("x") - lr * parts.of("s"))
    v, after = parts.estimate(x), x[:, : parts.holders, : parts.size]
    rows = np.concatenate([x, parts.tracked(v), v], axis=1)
    return rows, after - parts.of("w")[..., : parts.size], after - parts.of("x")[:, : parts.holders, : parts.size]


def _katyusha(
    parts: _Parts, method: PooledMethod, lr: float, thetas: tuple[float, float, float]
) -> tuple[Floats, Floats, Floats]:
    """The rows of (z, y, s, v), and twice those of x - w."""
    t1, t2, mu = thetas
    x = t1 * parts.of("z") + t2 * parts.of("w") + (1 - t1 - t2) * parts.of("x")
    v = parts.estimate(x)
    s = parts.tracked(v) if method.tracking else parts.untracked(v)
    z = parts.mix @ (parts.of("z") + lr * mu * x - lr * s) / (1 + lr * mu)
    y = parts.mix @ (x + t1 * (z - parts.of("z")))
    difference = (x - parts.of("w"))[:, : parts.holders, : parts.size]
    return np.concatenate([z, y, s, v, parts.of("one")], axis=1), difference, difference
