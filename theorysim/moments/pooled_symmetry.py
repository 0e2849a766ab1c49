"""Coordinates of a finite sum that differ by the names of the agents only, as on a ring where each lies at other neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from theorysim.moments.pooled_maps import Coordinates, Floats

_ROUNDING = 1e-12
_TRIES = 20_000  # of one agent as the image of another, after which two coordinates count as different


def merged(data: Coordinates, weights: Floats) -> Coordinates:
    """One coordinate of each kind, standing for all that a renaming of the agents which keeps W turns into it."""
    scale = np.array([1.0, max(np.abs(data.pull).max(), 1e-300)])
    held = np.stack([data.shares, data.pull], axis=2) / scale
    kept: list[int] = []
    times = data.times.copy()
    for k in range(len(data.h)):
        alike = [other for other in kept if _alike(data, k, other) and _renamed(weights, held[k], held[other])]
        if alike:
            times[alike[0]] += times[k]
        else:
            kept.append(k)
    names = ("h", "shares", "pull", "error", "weight", "noise")
    return data._replace(times=times[kept], **{name: getattr(data, name)[kept] for name in names})


def _alike(data: Coordinates, one: int, other: int) -> bool:
    pairs = [(each[one], each[other]) for each in (data.h, data.error, data.weight)]
    return all(abs(a - b) <= _ROUNDING * max(abs(a), abs(b)) for a, b in pairs)


def _renamed(weights: Floats, one: Floats, other: Floats) -> bool:
    """Whether a renaming keeps ``weights`` and turns the ``(m, 2)`` data ``one`` of the agents into ``other``."""
    fits = (np.abs(one[:, None] - other[None]) <= _ROUNDING).all(axis=2)
    fits &= np.abs(np.diag(weights)[:, None] - np.diag(weights)) <= _ROUNDING
    order, tries = _outwards(weights, int(one[:, 0].argmax())), [_TRIES]

    def extends(image: list[int]) -> bool:
        """Whether the renaming of the first agents of ``order`` can be completed."""
        if len(image) == len(order):
            return True
        i, before = order[len(image)], order[: len(image)]
        same = (np.abs(weights[:, image] - weights[i, before]) <= _ROUNDING).all(axis=1)
        for j in np.flatnonzero(fits[i] & same):
            tries[0] -= 1
            if j not in image and tries[0] >= 0 and extends([*image, int(j)]):
                return True
        return False

    return extends([])


def _outwards(weights: Floats, first: int) -> NDArray[np.int64]:
    """The agents by their distance from one of them, so that an agent has few images once its neighbours have theirs."""
    distance = np.full(len(weights), -1)
    near, steps = np.arange(len(weights)) == first, 0
    while near.any():
        distance[near] = steps
        near, steps = (np.abs(weights[near]) > 0).any(axis=0) & (distance < 0), steps + 1
    return np.argsort(distance, kind="stable")
