"""Faults of decentralised methods and of what a problem of several agents offers them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from theorysim.agents import FiniteSum
from theorysim.backend import namespace
from theorysim.model import Algorithm, Array, Draw, Problem
from theorysim.mutation.algorithms import Answering, argument, first_coordinate_times
from theorysim.mutation.divisors import Arguments, Build
from theorysim.mutation.fault import ALGORITHM, PROBLEM, Fault


def _answered(answers: Callable[[Any], dict[str, Callable[..., Any]]], **pooled: Any) -> Callable[[Build, Arguments], Algorithm]:
    """A step that hears ``answers(oracle)``; ``pooled``: what the declared method becomes, where it can be said."""

    def change(build: Build, arguments: Arguments) -> Algorithm:
        sound = build(**arguments)
        declared = sound.pooled and dataclasses.replace(sound.pooled, **pooled)
        return dataclasses.replace(
            sound, step=lambda state, oracle: sound.step(state, Answering(oracle, **answers(oracle))), pooled=declared
        )

    return change


def _never(oracle: Any) -> dict[str, Callable[..., Any]]:
    return {"coin": lambda chance: oracle.coin(chance) & False}


def _own_batch(oracle: Any) -> dict[str, Callable[..., Any]]:
    """Agent i divides by its own batch b_i in place of b/m; an agent without a draw contributes nothing."""

    def draw_pool(batch: int, importance: bool = False, each: int = 2) -> Array:
        counts = oracle.draw_pool(batch, importance, each)
        xp = namespace(counts)
        own = xp.sum(counts, axis=2, keepdims=True)
        return counts * (batch / counts.shape[1]) / xp.where(own > 0, own, 1.0)

    return {"draw_pool": draw_pool}


def _lost_message(oracle: Any) -> dict[str, Callable[..., Any]]:
    """The first agent hears nobody: it keeps what it has, and the others hear it."""

    def mix(x: Array) -> Array:
        mixed = oracle.mix(x)
        return namespace(x).concat([x[:, :1, ...], mixed[:, 1:, ...]], axis=1)

    return {"mix": mix}


def _fault(name: str, about: str, change: Any, *needs: str, only: tuple[str, ...] = ()) -> Fault:
    return Fault(name, about, ALGORITHM, change, needs, only)


_TALKING = (
    "dgd",
    "gradient_tracking",
    "extra",
    "nids",
    "exact_diffusion",
    "gt_saga",
    "d_nasa",
    "d_sgd",
    "dec_lsvrg",
    "dec_lkatyusha",
)

AGENT_FAULTS = (
    _fault("message_lost", "the first agent never hears its neighbours", _answered(_lost_message), only=_TALKING),
    _fault("own_batch", "agents divide by their own batch b_i in place of b/m", _answered(_own_batch), "batch", "chance"),
    _fault("snapshot_kept", "the snapshot is never refreshed", _answered(_never, chance=0.0), "batch", "chance"),
    _fault(
        "tracking_dropped", "agents mix their estimates and track nothing", argument("tracking", lambda on: False), "tracking"
    ),
    _fault("memory_dropped", "gossip without its memory", argument("mixing", lambda name: "plain"), "mixing"),
    _fault("rounds_quartered", "a quarter of the rounds of gossip", argument("rounds", lambda k: max(1, k // 4)), "rounds"),
    _fault("chance_quartered", "new snapshots four times as rarely", argument("chance", lambda p: 0.25 * p), "chance"),
    _fault("alpha_unscaled", "a moving average of fixed weight", argument("alpha_0", lambda alpha: 3.0 * alpha), "alpha_0"),
    _fault("gamma_unscaled", "steps three times as long", argument("gamma_0", lambda gamma: 3.0 * gamma), "gamma_0"),
)


# ------------------------------------------------------------------------------------------------ problems
def _parts(new: Callable[[FiniteSum], dict[str, Any]]) -> Callable[..., Problem | None]:
    """Other functions of the finite sum; nothing to change where the problem has none."""

    def change(build: Callable[..., Problem], arguments: dict[str, Any]) -> Problem | None:
        sound = build(**arguments)
        parts = sound.capabilities.get("finite_sum")
        if parts is None:
            return None
        return dataclasses.replace(
            sound, capabilities={**sound.capabilities, "finite_sum": dataclasses.replace(parts, **new(parts))}
        )

    return change


def _heard(heard: Callable[[Array], Array]) -> Callable[[FiniteSum], dict[str, Any]]:
    return lambda parts: {
        "local_gradient": lambda x: heard(parts.local_gradient(x)),
        "weighted_gradient": lambda x, counts: heard(parts.weighted_gradient(x, counts)),
    }


def _samples(new: Callable[[Problem], Callable[[Array, Draw], Array]]) -> Callable[..., Problem | None]:
    """Other stochastic gradients of the agents; nothing to change where the problem has none of its own."""

    def change(build: Callable[..., Problem], arguments: dict[str, Any]) -> Problem | None:
        sound = build(**arguments)
        if "local_sample" not in sound.capabilities:
            return None
        return dataclasses.replace(sound, capabilities={**sound.capabilities, "local_sample": new(sound)})

    return change


def _constants(**others: str) -> Callable[..., Problem | None]:
    """Constants stated as others of the same problem."""

    def change(build: Callable[..., Problem], arguments: dict[str, Any]) -> Problem | None:
        sound = build(**arguments)
        wrong = {name: sound.constants[other] for name, other in others.items() if {name, other} <= set(sound.constants)}
        return dataclasses.replace(sound, constants={**sound.constants, **wrong}) if wrong else None

    return change


def _problem(name: str, about: str, change: Any) -> Fault:
    return Fault(name, about, PROBLEM, change)


AGENT_PROBLEM_FAULTS = (
    _problem("local_gradient_doubled", "gradients of the agents twice as large", _parts(_heard(lambda g: 2.0 * g))),
    _problem(
        "local_gradient_lost", "the first entry of the first agent's gradient is 0", _parts(_heard(first_coordinate_times(0.0)))
    ),
    _problem(
        "pool_repeated",
        "the same batch in every step",
        _parts(lambda parts: {"draw_pool": lambda draw, b, by: parts.draw_pool(Draw(1), b, by)}),
    ),
    _problem(
        "coin_repeated", "the same coin in every step", _parts(lambda parts: {"coin": lambda draw, p: parts.coin(Draw(1), p)})
    ),
    _problem(
        "local_sample_doubled",
        "stochastic gradients of the agents twice as large",
        _samples(lambda p: lambda x, draw: 2.0 * p.capabilities["local_sample"](x, draw)),
    ),
    _problem(
        "local_sample_repeated",
        "the same noise of the agents in every step",
        _samples(lambda p: lambda x, draw: p.capabilities["local_sample"](x, Draw(1, draw.call))),
    ),
    _problem("stochastic_is_global", "L_s stated as L_g, and kappa_s as kappa_g", _constants(L_s="L_g", kappa_s="kappa_g")),
    _problem("local_is_global", "L_loc stated as L_g", _constants(L_loc="L_g")),
)
