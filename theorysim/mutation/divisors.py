"""Faults of the divisor of adaptive methods: of AdaGrad, one number per coordinate or for all, and of what carries a matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from theorysim import accumulator
from theorysim.backend import namespace
from theorysim.matrix_functions import transposed
from theorysim.model import Algorithm, Array

Build = Callable[..., Algorithm]
Arguments = dict[str, Any]
Divisor = Callable[[Array], Array]

VECTORS = ("adagrad", "adagrad_norm", "full_matrix_adagrad")
MATRICES = ("asgo", "one_sided_shampoo", "dasgo")
_CUT = 1e-13  # of the largest singular value: the rest is the rounding of a null space, which a wrong power would blow up


def divisor(
    root: float = 0.5, decay: float = 1.0, lagged: bool = False, inside: bool = False
) -> Callable[[Build, Arguments], Algorithm | None]:
    """An adaptive method that divides by v_t^root + eps, told apart by what the state of the sound one carries.

    v_t = decay v_{t-1} + (1 - decay) g_t^2 where decay < 1, in place of the sum; ``lagged``: v_{t-1} in place of v_t;
    ``inside``: by (v_t + eps)^root. Of matrices alike, with g_t^2 the products from the method's side.
    """

    def change(build: Build, arguments: Arguments) -> Algorithm | None:
        if "exponent" in arguments:
            return _of_shampoo(build, arguments, 2 * root, decay, lagged) if not inside else None
        eps = arguments["eps"]
        if inside and (_starts_with_eps(build) or (isinstance(eps, int | float) and eps == 0)):
            return None
        sound, weight = build(**arguments), 1.0 if decay == 1 else 1 - decay
        within, outside = (eps, 0.0) if inside else (0.0, 0.0 if _starts_with_eps(build) else eps)

        def divided(shift: Array | float, beyond: Array | float) -> Divisor:
            return lambda v: (v + shift) ** root + beyond

        def step(state: Any, oracle: Any) -> Any:
            xp, g, box = namespace(state.x), oracle.sample(state.x), arguments.get("box")
            if hasattr(state, "root"):
                return _matrix_step(state, g, arguments, divided(_flat(within), _flat(outside)), (decay, weight), lagged)
            now = decay * state.v + weight * _square(g, state.v)
            scale = divided(within, outside)(state.v if lagged else now)
            x = state.x - arguments["lr"] * xp.where(scale > 0, g / xp.where(scale > 0, scale, 1.0), 0.0)
            return state._replace(x=x if box is None else xp.clip(x, -box, box), v=now)

        return dataclasses.replace(sound, step=step)

    return change


def _starts_with_eps(build: Build) -> bool:
    """One-sided Shampoo has its eps in V_0 and adds none to the root."""
    return getattr(getattr(build, "func", build), "__name__", "") == "one_sided_shampoo"


def _square(g: Array, v: Array) -> Array:
    """g^2 in the form of the accumulator, whose axes of length 1 are summed over."""
    return namespace(g).sum(g * g, axis=tuple(axis for axis in range(1, g.ndim) if v.shape[axis] == 1), keepdims=True)


def _flat(eps: Any) -> Any:
    """``(rows, 1)`` in place of ``(rows, 1, ...)``, for what is divided are the singular values ``(rows, k)``."""
    return namespace(eps).reshape(eps, (-1, 1)) if hasattr(eps, "shape") else eps


def _matrix_step(state: Any, g: Array, arguments: Arguments, by: Divisor, weights: tuple[float, float], lagged: bool) -> Any:
    xp, turned = namespace(g), arguments.get("side") == "right"
    columns = g if "side" in arguments else xp.reshape(g, (g.shape[0], -1, 1))
    seen = transposed(columns) if turned else columns
    now = accumulator.added(state.root, seen, *weights)
    used = state.root if lagged else now
    kept = used.s > _CUT * used.s[:, :1]
    scale = xp.where(kept, 1.0 / xp.where(kept, by(used.s * used.s), 1.0), 0.0 * used.s)
    direction = (used.U * scale[:, None, :]) @ (transposed(used.U) @ seen)
    moved = xp.reshape(transposed(direction) if turned else direction, state.x.shape)
    return state._replace(x=state.x - arguments["lr"] * moved, root=now)


def _of_shampoo(build: Build, arguments: Arguments, factor: float, decay: float, lagged: bool) -> Algorithm | None:
    """``factor`` times the exponent; a moving average in place of a sum; the accumulators of the step before."""
    if decay != 1 and arguments["decay"] is not None:
        return None
    other = {"exponent": factor * arguments["exponent"]} | ({} if decay == 1 else {"decay": decay})
    sound = build(**{**arguments, **other})
    if not lagged:
        return sound
    if arguments["grafting"] is not None or any(not _zero(arguments[name]) for name in ("weight_decay", "ridge")):
        return None

    def step(state: Any, oracle: Any) -> Any:
        after = sound.step(state, oracle)
        left, right = (accumulator.inverse_power(root, 2 * other["exponent"]) for root in (state.left, state.right))
        return after._replace(x=state.x - arguments["lr"] * (left @ after.m @ right))

    return dataclasses.replace(sound, step=step)


def _zero(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0
