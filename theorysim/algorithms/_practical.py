"""What the practical methods for matrices share: the order of a training step in the code of ASGO's authors."""

from __future__ import annotations

from theorysim.backend import namespace
from theorysim.matrix_functions import frobenius
from theorysim.model import Array, PerRow

RMS = 0.2  # root mean square of the entries of an update of length 1


def clipped(g: Array, clip: PerRow) -> Array:
    """``g`` (rows, m, n) with its Frobenius norm cut down to ``clip``; None leaves it alone."""
    if clip is None:
        return g
    xp, size = namespace(g), frobenius(g)
    return xp.where(size > clip, g * (clip / xp.where(size > clip, size, 1.0)), g)


def of_fixed_length(update: Array) -> Array:
    """``update`` (rows, m, n) rescaled to Frobenius norm 0.2 sqrt(mn); 0 stays 0."""
    xp, size = namespace(update), frobenius(update)
    wanted = RMS * (update.shape[1] * update.shape[2]) ** 0.5
    return update * (wanted / xp.where(size == 0, 1.0, size))


def moved(x: Array, update: Array, lr: PerRow, weight_decay: PerRow) -> Array:
    """x (1 - lr weight_decay) - lr update: the decay comes first and is not of the moved iterate."""
    return x * (1 - lr * weight_decay) - lr * update
