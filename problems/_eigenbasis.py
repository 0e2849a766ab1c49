"""Turns of errors into the eigenbasis of a quadratic and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from theorysim.backend import Backend
from theorysim.model import Array
from theorysim.problems._linear import times


def turns(q: NDArray[np.float64] | None, backend: Backend) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Q' e and Q e for rows e, with the eigenvectors as the columns of Q; None stands for the identity."""
    if q is None:
        return (lambda e: e), (lambda e: e)
    forth, back = backend.asarray(q), backend.asarray(q.T.copy())
    return (lambda e: times(e, forth)), (lambda e: times(e, back))
