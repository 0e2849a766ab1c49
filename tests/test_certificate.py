"""The audit of an instance: it must notice every constant that is wrong, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from theorysim.analyses.certificate import certificate
from theorysim.backend import CPU, Backend
from theorysim.build import build_problem
from theorysim.findings import Finding, Verdict
from theorysim.model import Draw, Problem, TheorysimError
from theorysim.noise import Draws
from theorysim.registry import problem

GRADIENT, NEGATIVE, FLAT, LEAST = "the gradient is", "the gap is not", "zero gradient", "zero gap"
SMOOTH, SMOOTH_H, GENERALIZED = "anisotropic smoothness on pairs", "anisotropic smoothness: least", "(L_0, L_1)"
TOP, TOP_H, MU, LOW, HESSIAN = "lambda_max on pairs", "lambda_max: largest", "mu", "lambda_min", "the Hessian bound"
EXACT, BIAS, VARIANCE, CONSTANTS = "stochastic gradients are exact", "noise without bias", "noise variances", "constants are"


def built(name: str, rows: int = 8, backend: Backend = CPU, **setting: Any) -> Problem:
    return build_problem(problem(name, **setting), Draws(backend, 5, np.arange(rows)))


def quadratic(**setting: Any) -> Problem:
    return built("anisotropic_quadratic", **{"dim": 12, "noise": 0.3, "batch": 4} | setting)


def nonconvex(**setting: Any) -> Problem:
    return built("separable_nonconvex", **{"dim": 12, "noise": 0.3, "batch": 4} | setting)


def logistic(**setting: Any) -> Problem:
    return built("logistic_regression", **{"samples": 200, "ridge": 0.01, "batch": 4} | setting)


def failed(found: Finding) -> set[str]:
    return {part.label for part in found.leaves() if part.verdict is not Verdict.CONSISTENT}


def with_vector(instance: Problem, name: str, factor: float) -> Problem:
    """The instance with a vector, and the norms that go with it, multiplied by ``factor``."""
    constants = {key: value * factor if key.startswith(f"{name}_") else value for key, value in instance.constants.items()}
    return replace(instance, vectors={**instance.vectors, name: factor * instance.vectors[name]}, constants=constants)


def with_constant(instance: Problem, **values: Any) -> Problem:
    assert values.keys() <= instance.constants.keys()
    return replace(instance, constants={**instance.constants, **values})


def with_gradient(instance: Problem, factor: float) -> Problem:
    def gradient(x: Any) -> Any:
        return factor * instance.gradient(x)

    return replace(instance, gradient=gradient, sample=lambda x, draw: gradient(x))


def with_sample(instance: Problem, change: Callable[[Any, Any, Draw], Any]) -> Problem:
    """``change(gradient, noise, draw)`` in place of the stochastic gradient."""

    def sample(x: Any, draw: Draw) -> Any:
        gradient = instance.gradient(x)
        return change(gradient, instance.sample(x, draw) - gradient, draw)

    return replace(instance, sample=sample)


WRONG: list[tuple[str, Callable[[], Problem], set[str]]] = [
    ("gradient", lambda: with_gradient(quadratic(noise=0.0), 1.05), {GRADIENT, SMOOTH, TOP, LOW, HESSIAN}),
    ("minimiser", lambda: replace(quadratic(origin="start"), minimizer=quadratic().minimizer), {FLAT, LEAST, CONSTANTS}),
    ("f*", lambda: replace(quadratic(), gap=lambda x: quadratic().gap(x) - 0.1), {NEGATIVE, LEAST, CONSTANTS}),
    ("L", lambda: with_vector(quadratic(), "L", 0.5), {SMOOTH, SMOOTH_H}),
    ("L a little", lambda: with_vector(nonconvex(), "L", 0.999), {SMOOTH, SMOOTH_H}),
    ("L, nonconvex", lambda: with_vector(nonconvex(), "L", 0.5), {SMOOTH, SMOOTH_H}),
    ("L, logistic", lambda: with_vector(logistic(), "L", 0.5), {SMOOTH, SMOOTH_H}),
    ("L_1norm", lambda: with_constant(quadratic(), L_1norm=1.0), {CONSTANTS}),
    ("D_inf_0", lambda: with_constant(quadratic(), D_inf_0=np.array([1.0] * 7 + [1.01])), {CONSTANTS}),
    ("Delta_0", lambda: with_constant(nonconvex(), Delta_0=1.0), {CONSTANTS}),
    ("trace_H", lambda: with_constant(logistic(), trace_H=3.5), {CONSTANTS}),
    ("lambda_max", lambda: with_constant(quadratic(rotation="random"), lambda_max=0.9), {TOP, TOP_H}),
    ("lambda_min", lambda: with_constant(quadratic(), lambda_min=0.2), {LOW}),
    ("mu", lambda: with_constant(logistic(), mu=0.1), {MU}),
    ("L_0 and L_1", lambda: with_vector(with_vector(built("cosh_sum", dim=9), "L_0", 0.5), "L_1", 0.5), {GENERALIZED}),
    ("L_0", lambda: with_vector(built("cosh_sum", dim=9), "L_0", 0.6), {GENERALIZED}),
    ("L_1", lambda: with_vector(built("cosh_sum", dim=9), "L_1", 0.1), {GENERALIZED}),
    ("sigma", lambda: with_vector(nonconvex(), "sigma", 0.9), {VARIANCE}),
    ("sigma, minibatch", lambda: with_vector(logistic(), "sigma", 0.2), {VARIANCE}),
    ("no 1/sqrt(M)", lambda: with_sample(quadratic(), lambda g, noise, draw: g + 2 * noise), {VARIANCE}),
    ("bias", lambda: with_sample(quadratic(), lambda g, noise, draw: 1.1 * g + noise), {BIAS}),
    ("frozen noise", lambda: replace(quadratic(), sample=lambda x, draw: quadratic().sample(x, Draw(1))), {BIAS, VARIANCE}),
    ("noise where none is declared", lambda: with_vector(quadratic(), "sigma", 0.0), {EXACT}),
]


@pytest.mark.parametrize(("instance", "expected"), [wrong[1:] for wrong in WRONG], ids=[wrong[0] for wrong in WRONG])
def test_a_wrong_declaration_is_noticed_where_it_is(instance: Callable[[], Problem], expected: set[str]) -> None:
    found = certificate(instance())
    assert found.verdict is Verdict.VIOLATED
    seen = failed(found)
    assert all(any(label.startswith(part) for label in seen) for part in expected), seen
    assert all(any(label.startswith(part) for part in expected) for label in seen), seen


@pytest.mark.parametrize("rotation", ["random", "hadamard", "pairs"])
def test_the_spectrum_before_a_rotation_certifies_nothing_after_it(rotation: str) -> None:
    for decay in (0.5, 2.0):
        before = quadratic(dim=16, decay=decay)
        turned = quadratic(dim=16, decay=decay, rotation=rotation)
        assert certificate(turned).verdict is Verdict.CONSISTENT
        found = certificate(turned, L=before.vectors["L"])
        assert {label.split(" on pairs")[0].split(":")[0] for label in failed(found)} == {"anisotropic smoothness"}
        matrix = next(part for part in found.leaves() if part.label.startswith(SMOOTH_H))
        assert matrix.measured is not None and matrix.measured < -0.01


def test_adversarial_pairs_find_a_single_bad_direction_without_the_hessian() -> None:
    """Among 150 coordinates one direction violates L: random steps do not see it, power iteration does."""
    turned = built("anisotropic_quadratic", rows=1, dim=150, spectrum="two_value", head=1, kappa=1e4, rotation="random")
    blind = replace(turned, capabilities={})
    found = certificate(blind, L=np.full(150, 0.5))
    part = next(part for part in found.leaves() if part.label.startswith(SMOOTH))
    assert part.verdict is Verdict.VIOLATED and part.measured == pytest.approx(2.0, rel=1e-3)
    assert certificate(blind, L=np.full(150, 1.0)).verdict is Verdict.CONSISTENT


def test_the_diagonal_of_the_hessian_is_no_valid_L() -> None:
    instance = logistic()
    found = certificate(instance, L=np.diag(instance.capabilities["hessian"]()).tolist())
    assert found.verdict is Verdict.VIOLATED and all(label.startswith("anisotropic smoothness") for label in failed(found))


def test_tight_and_slack_constants_are_told_apart() -> None:
    def share(instance: Problem) -> float:
        part = next(part for part in certificate(instance).leaves() if part.label.startswith(VARIANCE))
        return float(part.details["variance / bound, over all coordinates"])

    assert share(nonconvex()) == pytest.approx(1.0, abs=0.05)
    assert share(with_vector(nonconvex(), "sigma", 2.0)) == pytest.approx(0.25, abs=0.02)
    smooth = next(part for part in certificate(with_vector(quadratic(), "L", 4.0)).leaves() if part.label.startswith(SMOOTH))
    assert smooth.measured == pytest.approx(0.25, rel=1e-9)


def test_a_problem_without_minimiser_or_constants_is_audited_as_far_as_it_goes() -> None:
    whole = quadratic()
    bare = Problem(whole.shape, whole.start, None, {}, whole.gap, whole.gradient, whole.sample)
    found = certificate(bare)
    labels = [part.label for part in found.leaves()]
    assert found.verdict is Verdict.CONSISTENT and not any(label.startswith((FLAT, LEAST, SMOOTH, TOP)) for label in labels)
    assert failed(certificate(bare, L=0.5 * whole.vectors["L"])) == {
        next(p.label for p in certificate(whole).leaves() if SMOOTH in p.label)
    }


def test_matrix_iterates_are_audited_in_the_order_of_their_coordinates() -> None:
    """The same quadratic on (3, 4) matrices: same verdicts, same numbers."""
    flat = quadratic()
    shaped = replace(
        flat,
        shape=(3, 4),
        start=flat.start.reshape(-1, 3, 4),
        minimizer=flat.minimizer.reshape(-1, 3, 4),
        gap=lambda x: flat.gap(x.reshape(-1, 12)),
        gradient=lambda x: flat.gradient(x.reshape(-1, 12)).reshape(x.shape),
        sample=lambda x, draw: flat.sample(x.reshape(-1, 12), draw).reshape(x.shape),
        vectors={name: vector.reshape(3, 4) for name, vector in flat.vectors.items()},
    )
    assert [part.measured for part in certificate(shaped).leaves()] == [part.measured for part in certificate(flat).leaves()]
    assert certificate(shaped, L=flat.vectors["L"].reshape(4, 3).T).verdict is Verdict.VIOLATED


def test_a_minimiser_far_from_the_origin_costs_no_false_alarm() -> None:
    near = quadratic()
    moved = replace(
        near,
        start=near.start + 1e6,
        minimizer=near.minimizer + 1e6,
        gap=lambda x: near.gap(x - 1e6),
        gradient=lambda x: near.gradient(x - 1e6),
        sample=lambda x, draw: near.sample(x - 1e6, draw),
    )
    assert not failed(certificate(moved))
    assert failed(certificate(moved, L=0.99 * near.vectors["L"])) == failed(certificate(near, L=0.99 * near.vectors["L"]))


def test_a_hessian_of_another_function_is_noticed() -> None:
    """Q' diag(s) Q in place of Q diag(s) Q': same eigenvalues, same trace, other directions."""
    turned, other = quadratic(rotation="random"), quadratic(rotation="random", spectrum=np.arange(12, 0, -1.0) ** -1.0)
    found = certificate(replace(turned, capabilities={**turned.capabilities, "hessian": other.capabilities["hessian"]}))
    assert any(label.startswith(HESSIAN) for label in failed(found))


def test_the_device_of_the_instance_does_not_matter(strict: Backend) -> None:
    here = quadratic(rotation="random", dim=5)
    there = quadratic(backend=strict, rotation="random", dim=5)
    ours, theirs = certificate(here), certificate(there)
    assert theirs.verdict is ours.verdict is Verdict.CONSISTENT
    assert [part.label for part in theirs.leaves()] == [part.label for part in ours.leaves()]
    assert certificate(there, L=0.5 * here.vectors["L"]).verdict is Verdict.VIOLATED
    assert certificate(here, L=there.vectors["L"]).verdict is Verdict.CONSISTENT


def test_a_value_that_is_not_a_number_is_a_violation() -> None:
    broken = replace(quadratic(), gap=lambda x: quadratic().gap(x) * np.nan)
    assert certificate(broken).verdict is Verdict.VIOLATED


def test_an_L_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(TheorysimError, match="L holds 3 values but an iterate has 12"):
        certificate(quadratic(), L=[1.0, 2.0, 3.0])
