"""Faults of methods for matrix-shaped iterates; those of their divisors are in divisors.py."""

from __future__ import annotations

import dataclasses
from typing import Any

from theorysim.backend import namespace
from theorysim.matrix_functions import frobenius
from theorysim.model import Algorithm
from theorysim.mutation.algorithms import argument, moved_to, off
from theorysim.mutation.divisors import Arguments, Build
from theorysim.mutation.fault import ALGORITHM, Fault

_OTHER_SIDE = {"left": "right", "right": "left", "rows": "columns", "columns": "rows"}


def _other_side(side: str) -> str:
    return _OTHER_SIDE.get(side, side)


def _constant(length: str) -> str:
    return length if length == "constant" else "constant"


def _no_decay(decay: Any) -> Any:
    """None means a sum, which is a fault of its own."""
    return decay if decay is None else off(decay)


def _gradient_for_polar(build: Build, arguments: Arguments) -> Algorithm:
    """Steps of the same length, along the averaged gradient itself."""
    sound = build(**arguments)

    def step(state: Any, oracle: Any) -> Any:
        after = sound.step(state, oracle)
        xp, size = namespace(after.m), frobenius(after.m)
        along = after.m / xp.where(size > 0, size, 1.0)
        return moved_to(after, state.x - frobenius(after.x - state.x) * along)

    return dataclasses.replace(sound, step=step)


def _fault(name: str, about: str, change: Any, *needs: str, only: tuple[str, ...] = ()) -> Fault:
    return Fault(name, about, ALGORITHM, change, needs, only)


MATRIX_FAULTS = (
    _fault("side_swapped", "left and right exchanged", argument("side", _other_side), "side"),
    _fault("along_swapped", "rows and columns exchanged", argument("along", _other_side), "along"),
    _fault("eps_unsquared", "V starts at eps I", argument("eps", lambda eps: eps**0.5), "eps", only=("one_sided_shampoo",)),
    _fault("eps_squared", "L and R start at eps^2 I", argument("eps", lambda eps: eps * eps), "eps", only=("shampoo",)),
    _fault("polar_missing", "along the gradient, not its polar factor, as far", _gradient_for_polar, only=("muon",)),
    _fault("length_dropped", "steps of constant length", argument("length", _constant), "length"),
    _fault("decay_dropped", "moving averages hold the newest gradient alone", argument("decay", _no_decay), "decay"),
    _fault("grafting_dropped", "the update keeps its own norm", argument("grafting", lambda of: None), "grafting"),
    _fault("normalize_dropped", "the update keeps its own norm", argument("normalize", lambda on: False), "normalize"),
    _fault("nesterov_dropped", "no Nesterov step", argument("nesterov", lambda on: False), "nesterov"),
    _fault("weight_decay_dropped", "no weight decay", argument("weight_decay", off), "weight_decay"),
    _fault("clip_ignored", "gradients are not clipped", argument("clip", lambda size: None), "clip"),
    _fault("ridge_dropped", "no ridge", argument("ridge", off), "ridge"),
)
