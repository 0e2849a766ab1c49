"""Exact second moments of variance-reduced methods on a pool of components, and what is recorded of them.

Measures of a cell, expectations over draws and coins; X stands for the points that are put out, one for each agent, or one for
all under exact averages, and a bar for the mean over agents:

``square_distance``: E‖X - 1 x*‖_F^2. ``gap``: E f(xbar) - f*. ``mean_square_distance``: E‖xbar - x*‖^2. ``snapshot_variance``: E
of sigma^2(w) = (1/N) sum_ij ‖grad f_ij(w_i) - grad f_ij(x*)‖^2/(N q_ij). ``snapshot_gap``: E f(wbar) - f* (not of dec_lsvrg).
``z_square_distance``: E‖zbar - x*‖^2, of Katyusha. ``square_disagreement``: E‖X - 1 xbar‖_F^2. Of agents that mix:
``tracker_disagreement``: E‖S - 1 sbar‖_F^2; ``estimator_error``: E‖V - G*‖_F^2, row i of G* being grad f_i(x*).

Expected costs of all steps so far: ``component_calls``; ``computation_time``, of the slowest agent of each step; ``rounds``.

The same at every record: ``mean_radius``, the spectral radius of the mean dynamics without the mean that is conserved; above 1
there is divergence, and of the second moments perhaps earlier. ``decay``, under exact averages: 1 - that of the second moments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theorysim.agents import PooledMethod
from theorysim.backend import to_host
from theorysim.model import Cell, Problem, TheorysimError
from theorysim.moments.pooled_costs import component_calls, computation_time, rounds
from theorysim.moments.pooled_maps import Coordinates, Floats, System, coordinates, dense, mixing, of_agents, of_averages
from theorysim.moments.pooled_symmetry import merged
from theorysim.validation import positive, unknown

_SMALL = 4  # variables: below it powers of the map of the second moments are cheaper than its steps
_AT_ONCE = 512  # such powers
_LOOK = 16  # steps from one look at overflow and underflow to the next
_NOTHING = 1e-250


def pooled_values(
    cell: Cell, steps: NDArray[np.int64], instance: Problem, method: PooledMethod, variants: int
) -> tuple[NDArray[np.int64], dict[str, Floats]]:
    """The recorded of the ascending ``steps``, and ``(variants, records)`` of each measure of an exact cell.

    With ``until``, which needs record="all", a variant ends where the first measure has come down to ``until`` times its first
    value; then its values are NaN. What diverges is inf. Raises TheorysimError for a measure that this method does not have.
    """
    if cell.until is not None and (cell.record != "all" or positive("until", cell.until) <= 0):
        raise TheorysimError("until needs record='all': the moment is read off the first measure at every step")
    data = coordinates(instance.capabilities["pooled_coordinates"], method)
    p, distinct = None, data
    if method.rounds is not None:
        network = instance.capabilities["network"]
        p, distinct = mixing(network, method), merged(data, dense(network))
    tables = []
    for variant in range(variants):
        system = _system(distinct, method, p, variant)
        readers = [_reader(name, system, data, method) for name in cell.measure]
        tables.append(_recorded(system, readers, steps, cell.until))
    values = np.stack(tables, axis=1)[:, :, : _last_record(tables)]
    return steps[: values.shape[2]], dict(zip(cell.measure, values, strict=True))


def _last_record(tables: Sequence[Floats]) -> int:
    """How many records there are until every variant has ended."""
    return 1 + max(int(np.flatnonzero(~np.isnan(table[0])).max()) for table in tables)


def _system(data: Coordinates, method: PooledMethod, p: Floats | None, variant: int) -> System:
    def number(value: Any) -> float:
        values = np.ravel(to_host(value) if hasattr(value, "shape") else value)
        return float(values[variant if len(values) > 1 else 0])

    chance, lr = number(method.chance), number(method.lr)
    katyusha = method.theta_1 is not None
    thetas = (number(method.theta_1), number(method.theta_2), number(method.mu)) if katyusha else (0.0, 0.0, 0.0)
    if not (np.isfinite([lr, *thetas]).all() and 0 <= chance <= 1):
        raise TheorysimError(f"lr={lr}, theta_1, theta_2, mu={thetas}, chance={chance}: give finite weights and a probability")
    if p is None:
        return of_averages(data, method, lr, chance, thetas)
    return of_agents(data, method, p, lr, chance, thetas)


# ------------------------------------------------------------------------------------------------ the recursion
def advanced(system: System, m: Floats) -> Floats:
    """The second moments one step on, ``(..., c, D, D)``."""
    p, w, source, across = system.chance, system.blocks["w"], system.source, system.move @ m
    delta = system.kept @ m @ _turned(system.kept)
    if system.renewed is not system.kept:
        delta = (1 - p) * delta + p * (system.renewed @ m @ _turned(system.renewed))
    new, moved = np.empty(across.shape[:-2] + m.shape[-2:]), slice(0, w.start)
    new[..., moved, moved] = across @ _turned(system.move) + system.inject @ (system.noise * delta) @ _turned(system.inject)
    new[..., moved, w] = (1 - p) * across[..., w] + p * across[..., source]
    new[..., w, moved] = _turned(new[..., moved, w])
    new[..., w, w] = (1 - p) * m[..., w, w] + p * m[..., source, source]
    return new


def _turned(x: Floats) -> Floats:
    return np.swapaxes(x, -1, -2)


def walk(system: System, steps: Sequence[int]) -> Iterator[Floats]:
    """The second moments after the ascending ``steps``, in pieces ``(records, c, D, D)``."""
    m = system.start[:, :, None] * system.start[:, None, :]
    return _in_powers(system, m, steps) if m.shape[-1] <= _SMALL else _one_by_one(system, m, steps)


def _one_by_one(system: System, m: Floats, steps: Sequence[int]) -> Iterator[Floats]:
    done = 0
    for step in steps:
        for t in range(done, step):
            m = advanced(system, m)
            if t % _LOOK == 0:
                m = np.where(np.abs(m) < _NOTHING, 0.0, m)  # else the numbers just above 0 that remain are slow to multiply
                if not np.isfinite(m).all():
                    m = np.full_like(m, np.inf)
                    break
        done = step
        yield m[None]


def _in_powers(system: System, m: Floats, steps: Sequence[int]) -> Iterator[Floats]:
    once, size, count = second_map(system), m.shape[-1], min(_AT_ONCE, steps[-1] + 1)
    powers = np.empty((count + 1, *once.shape))
    powers[0] = np.eye(size**2)
    for k in range(count):
        powers[k + 1] = once @ powers[k]
    now, first, wanted = m.reshape(len(m), -1, 1), 0, np.asarray(steps)
    while first <= steps[-1]:
        here = wanted[(wanted >= first) & (wanted < first + count)] - first
        if len(here):
            yield (powers[here] @ now).reshape(len(here), *m.shape)
        now, first = powers[count] @ now, first + count


def second_map(system: System) -> Floats:
    """The step of the second moments as a matrix for each coordinate, ``(c, D^2, D^2)``, entries in C order."""
    size = system.start.shape[-1]
    basis = np.eye(size**2).reshape(size**2, 1, size, size)
    return np.moveaxis(advanced(system, basis).reshape(size**2, -1, size**2), 0, -1)


def _recorded(system: System, readers: Sequence[Reader], steps: NDArray[np.int64], until: float | None) -> Floats:
    """``(measures, records)``."""
    values, at = np.full((len(readers), len(steps)), np.nan), 0
    for m in walk(system, steps.tolist()):
        here = slice(at, at + len(m))
        values[:, here] = [read(steps[here], m) for read in readers]
        values[:, here][np.isnan(values[:, here])] = np.inf
        reached = np.zeros(0, dtype=bool) if until is None else values[0, here] <= until * values[0, 0]
        if reached.any():
            values[:, at + int(reached.argmax()) + 1 :] = np.nan
            break
        if not np.isfinite(values[:, here]).all():
            values[:, here.stop :] = np.inf
            break
        at = here.stop
    return values


# ------------------------------------------------------------------------------------------------ measures
Reader = Callable[[NDArray[np.int64], Floats], Any]  # of the steps and their second moments, (records,)


def _squares(system: System, m: Floats, name: str) -> Floats:
    """E of the sum of squares over agents, by coordinate."""
    block = system.blocks[name]
    total: Floats = np.einsum("...ii->...i", m[..., block, block]).sum(axis=-1)
    return total


def _square_of_mean(system: System, m: Floats, name: str) -> Floats:
    block = system.blocks[name]
    total: Floats = m[..., block, block].sum(axis=(-2, -1)) / system.agents**2
    return total


def _disagreement(system: System, m: Floats, name: str) -> Floats:
    return _squares(system, m, name) - system.agents * _square_of_mean(system, m, name)


def _loss(system: System, m: Floats, name: str) -> Floats:
    return system.coordinates.h / 2 * _square_of_mean(system, m, name)


def _variance(system: System, m: Floats, name: str) -> Floats:
    block, data = system.blocks[name], system.coordinates
    held = np.einsum("...ii->...i", m[..., block, block]) * system.held
    total: Floats = data.dim**2 * data.h**2 * data.weight * held.sum(axis=-1)
    return total


_OF_BLOCK: dict[str, tuple[Callable[[System, Floats, str], Floats], str]] = {
    "gap": (_loss, "x"),
    "square_distance": (_squares, "x"),
    "mean_square_distance": (_square_of_mean, "x"),
    "square_disagreement": (_disagreement, "x"),
    "tracker_disagreement": (_disagreement, "s"),
    "estimator_error": (_squares, "v"),
    "z_square_distance": (_square_of_mean, "z"),
    "snapshot_gap": (_loss, "w"),
    "snapshot_variance": (_variance, "w"),
}
_SPENT = {"component_calls": component_calls, "computation_time": computation_time, "rounds": rounds}
_OF_MAP: dict[str, Callable[[System], float]] = {
    "mean_radius": lambda system: _radius(system.mean_map),
    "decay": lambda system: 1 - _radius(second_map(system)),
}
POOLED_EXPECTATIONS = (*_OF_BLOCK, *_SPENT, *_OF_MAP)


def _radius(maps: Floats) -> float:
    return float(np.abs(np.linalg.eigvals(maps)).max()) if np.isfinite(maps).all() else np.inf


def _reader(name: str, system: System, data: Coordinates, method: PooledMethod) -> Reader:
    if name not in POOLED_EXPECTATIONS:
        raise unknown("measure of this expectation", name, POOLED_EXPECTATIONS)
    if name in _SPENT:
        each = _SPENT[name](data, method, system.chance)
        return lambda steps, m: each * steps
    if name in _OF_MAP:
        if name == "decay" and system.start.shape[-1] > _SMALL:
            raise TheorysimError(
                "decay is computed for methods with exact averages; read it off two late records, or take l_svrg"
            )
        value = _OF_MAP[name](system)
        return lambda steps, m: np.full(len(steps), value)
    of, block = _OF_BLOCK[name]
    whole = name != "snapshot_gap" or system.blocks["w"].stop - system.blocks["w"].start == system.agents
    if block not in system.blocks or system.blocks[block] == slice(0, 0) or not whole:
        raise TheorysimError(f"this method keeps nothing that {name!r} could be read off; take another measure")
    return functools.partial(_read, of, system, block)


def _read(of: Callable[[System, Floats, str], Floats], system: System, block: str, steps: NDArray[np.int64], m: Floats) -> Floats:
    total: Floats = of(system, m, block) @ system.coordinates.times
    return total
