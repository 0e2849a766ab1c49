"""The images of handwritten digits with one column per class, and minibatches of them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from theorysim.model import Array, Draw, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems._datasets import Floats, digits
from theorysim.validation import one_of, positive_integer

CLASSES = 10
POOLS = (1, 2, 4)
_SIDE = 8


class Images(NamedTuple):
    """``features``: (samples, m), in [0, 1]. ``classes``: (samples, 10), one-hot."""

    features: Array
    classes: Array

    def drawn(self, batch: int, draws: Draws, draw: Draw) -> Images:
        """For every row of ``draws`` its own ``batch`` samples, with replacement: (rows, batch, m) and (rows, batch, 10).

        So the variance of a mean over them is exactly that of one sample, divided by ``batch``.
        """
        xp = draws.backend.xp
        chosen = xp.reshape(draws.integers(Stream.BATCH, draw, (batch,), self.features.shape[0]), (-1,))
        return Images(*(xp.reshape(xp.take(part, chosen, axis=0), (-1, batch, part.shape[1])) for part in self))

    def placed(self, draws: Draws) -> Images:
        """On the device of ``draws``."""
        return Images(*(draws.backend.asarray(part) for part in self))


@functools.lru_cache(maxsize=16)
def images(samples: int | None, pool: int) -> Images:
    """The first ``samples`` images (None: all 1797) with means over ``pool`` x ``pool`` pixels as features; on the host.

    They are shared by all who ask, and read-only. Raises TheorysimError for more samples than there are and other pools.
    """
    pool = positive_integer("pool", one_of("pool", pool, POOLS))
    features, labels = digits()
    count = len(labels) if samples is None else positive_integer("samples", samples)
    if count > len(labels):
        raise TheorysimError(f"samples={count}, but there are {len(labels)} images of digits; give at most {len(labels)}")
    side = _SIDE // pool
    means = features[:count].reshape(count, side, pool, side, pool).mean(axis=(2, 4)).reshape(count, side * side)
    found = Images(means, np.eye(CLASSES)[labels[:count].astype(np.int64)])
    for part in found:
        part.flags.writeable = False
    return found


def second_moment(features: Floats) -> Floats:
    """A'A/N of the features A, (m, m)."""
    return np.asarray(features.T @ features / len(features))
