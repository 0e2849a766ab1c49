"""The loop: what it records, when it stops, and that neither batching nor the device changes a number."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from theorysim.backend import CPU, Backend
from theorysim.build import build_problem
from theorysim.model import Algorithm, Cell, Spec, TheorysimError
from theorysim.noise import Draws
from theorysim.registry import ALGORITHMS, PROBLEMS, algorithm, problem
from theorysim.run import record_steps, run, run_cell
from theorysim.trace import OK, Trace

NOISY = problem("anisotropic_quadratic", dim=7, start="lognormal", noise=0.3, rotation="random")
GD = algorithm("gradient_descent", lr=[0.2, 1.1])


def same(one: Trace, other: Trace) -> None:
    """Every number of two traces, to the bit."""
    np.testing.assert_array_equal(one.steps, other.steps)
    np.testing.assert_array_equal(one.status, other.status)
    for group in ("values", "oracle_calls", "parameters", "constants"):
        mine, theirs = getattr(one, group), getattr(other, group)
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name], err_msg=f"{group} {name}")


# ------------------------------------------------------------------------------------------------ batching
@pytest.mark.parametrize("chunk", [1, 3, 7])
@pytest.mark.parametrize("until", [None, 0.5])
def test_chunks_change_no_number(chunk: int, until: float | None) -> None:
    lr = ["0.3*D_inf_0", "D_2_0/sqrt(7)", 0.4]
    cell = Cell(NOISY, algorithm("adagrad", lr=lr), 40, 8, ("gap", "distance:inf", "regret"), "all", until, seed=5)
    same(run_cell(cell, CPU, chunk), run_cell(cell, CPU, 8))


def test_more_runs_leave_the_old_ones_alone() -> None:
    few, many = (run(NOISY, GD, 25, runs=count, seed=3) for count in (3, 9))
    np.testing.assert_array_equal(few.split(few["gap"]), many.split(many["gap"])[:, :3])
    assert not np.array_equal(many.split(many["gap"])[:, 0], many.split(many["gap"])[:, 3])


def test_variants_share_their_noise_and_equal_single_runs() -> None:
    noisy = algorithm("sgd", lr=[0.2, 0.7])
    batch = run(NOISY, noisy, 25, runs=4)
    for index, lr in enumerate((0.2, 0.7)):
        alone = run(NOISY, algorithm("sgd", lr=lr), 25, runs=4)
        np.testing.assert_array_equal(batch.split(batch["gap"])[index], alone["gap"])
    twins = run(NOISY, algorithm("sgd", lr=[0.2, 0.2]), 25, runs=4)
    np.testing.assert_array_equal(*twins.split(twins["gap"]))
    np.testing.assert_array_equal(batch.parameters["lr"], np.repeat([0.2, 0.7], 4))
    np.testing.assert_array_equal(batch.runs, [0, 1, 2, 3] * 2)


def test_an_instance_is_built_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it computes once and keeps, a reference solution, must not depend on who asked for it first."""
    sound, threads = PROBLEMS.get("anisotropic_quadratic"), []

    def watched(draws: Draws, **params: Any) -> Any:
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return sound(draws, **params)

    monkeypatch.setitem(PROBLEMS._found, "anisotropic_quadratic", watched)
    with threadpool_limits(2, user_api="blas"):
        build_problem(NOISY, Draws(CPU, 0, np.arange(1)))
    assert threads and set(threads) == {1}


def test_the_seed_matters() -> None:
    assert not np.array_equal(run(NOISY, GD, 9, seed=0)["gap"], run(NOISY, GD, 9, seed=1)["gap"])


@pytest.mark.parametrize(
    "method",
    [
        algorithm("adagrad", lr=["D_inf_0/sqrt(2)", 0.5], eps=1e-3, box=4.0),
        algorithm("average", of=algorithm("sgd", lr=["1/lambda_max", 0.1], schedule="inverse_sqrt")),
    ],
    ids=str,
)
def test_only_the_array_standard_is_used_and_numpy_agrees(strict: Backend, method: Spec) -> None:
    """On a device NumPy cannot read, every implicit copy to the host would raise."""
    measures = (
        "gap",
        "gap_iterate",
        "gradient_norm:1",
        "distance",
        "max_distance",
        "regret",
        "mean_gradient_norm",
        "squared_gradients",
    )
    cell = Cell(NOISY, method, 12, 3, measures)
    there, here = run_cell(cell, strict), run_cell(cell, CPU)
    for name in measures:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-13)
    assert there.environment.startswith("strict")


# ------------------------------------------------------------------------------------------------ against closed forms
def test_gradient_descent_is_the_closed_form() -> None:
    curvature, start, lr = [1.0, 0.5, 0.03], [1.0, -2.0, 3.0], [0.3, 1.7]
    what = problem("anisotropic_quadratic", dim=3, spectrum=curvature, start=start)
    trace = run(what, algorithm("gradient_descent", lr=lr), 50, record=[0, 1, 17, 50])
    factor = (1 - np.outer(lr, curvature))[:, None, :] ** (2 * trace.steps[:, None])
    np.testing.assert_allclose(trace["gap"], 0.5 * (factor * np.array(curvature) * np.square(start)).sum(-1), rtol=1e-12)


def test_text_is_evaluated_in_the_constants_of_each_run() -> None:
    what = problem("anisotropic_quadratic", dim=5, start="lognormal")
    runs = 3
    texts = run(what, algorithm("adagrad", lr=["D_inf_0/sqrt(2)", "2*lambda_max"]), 20, runs=runs)
    reach = texts.constant("D_inf_0")[:runs]
    assert len(set(reach)) == runs
    for row in range(runs):
        number = run(what, algorithm("adagrad", lr=float(reach[row] / np.sqrt(2))), 20, runs=runs)
        np.testing.assert_allclose(texts["gap"][row], number["gap"][row], rtol=1e-13)
    number = run(what, algorithm("adagrad", lr=2.0), 20, runs=runs)
    np.testing.assert_array_equal(texts.split(texts["gap"])[1], number["gap"])


def test_text_that_means_nothing_is_refused() -> None:
    with pytest.raises(TheorysimError, match="uses D_infty; known here: .*D_inf_0"):
        run(NOISY, algorithm("adagrad", lr="D_infty/2"), 3)
    with pytest.raises(TheorysimError, match="is not an arithmetic expression"):
        run(NOISY, algorithm("adagrad", lr="__import__('os').getcwd()"), 3)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(TheorysimError, match="different lengths"):
        run(NOISY, algorithm("adagrad", lr=[0.1, 0.2], eps=[0.0, 0.1, 0.2]), 3)


# ------------------------------------------------------------------------------------------------ what is recorded
def test_record_grids() -> None:
    cell = Cell(NOISY, GD, 100)
    assert record_steps(cell).tolist() == [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 100]
    assert record_steps(replace(cell, record="all")).tolist() == list(range(101))
    assert record_steps(replace(cell, record="last")).tolist() == [0, 100]
    assert record_steps(replace(cell, record=(50, 3, 3))).tolist() == [3, 50]
    assert record_steps(replace(cell, steps=1)).tolist() == [0, 1]


def test_all_grids_show_the_same_run() -> None:
    full = run(NOISY, GD, 30, record="all")
    for record in ("log", "last", [7, 30]):
        part = run(NOISY, GD, 30, record=record)
        np.testing.assert_array_equal(part["gap"], full["gap"][:, part.steps])
    np.testing.assert_array_equal(full.at(7), full.split(full["gap"][:, 7]))
    with pytest.raises(TheorysimError, match="step 8 was not recorded; recorded: 7, 30"):
        run(NOISY, GD, 30, record=[7, 30]).at(8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0 is not allowed"),
        ({"steps": 2.5}, "steps=2.5 is not a whole number"),
        ({"steps": 5, "runs": 0}, "runs=0 is not allowed"),
        ({"steps": 5, "seed": -1}, "seed"),
        ({"steps": 5, "record": "sometimes"}, "record='sometimes' is not allowed; choose one of log, all, last"),
        ({"steps": 5, "record": [6]}, "steps between 0 and 5"),
        ({"steps": 5, "record": []}, "steps between 0 and 5"),
        ({"steps": 5, "until": 0.1}, "until needs record='all'"),
        ({"steps": 5, "measure": "gaps"}, "no measure named 'gaps'; did you mean gap"),
        ({"steps": 5, "device": "tpu"}, "no device named 'tpu'; allowed: auto, cpu, gpu"),
    ],
)
def test_bad_requests_name_the_way_out(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TheorysimError, match=message):
        run(NOISY, GD, **options)


def test_oracle_calls_are_counted() -> None:
    exact = run(NOISY, GD, 20, record=[0, 5, 20])
    assert exact.oracle_calls["gradient"].tolist() == [0, 5, 20]
    assert exact.oracle_calls["sample"].tolist() == [0, 0, 0]
    noisy = run(NOISY, algorithm("adagrad"), 20, record=[0, 5, 20])
    assert noisy.oracle_calls["sample"].tolist() == [0, 5, 20]
    assert noisy.communications.tolist() == [0, 0, 0]


def test_a_step_may_ask_twice_and_gets_fresh_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_samples() -> Algorithm:
        """Moves by the difference of two samples: nothing but noise."""
        return Algorithm(lambda p, x0: _Point(x0), lambda s, oracle: _Point(s.x + oracle.sample(s.x) - oracle.sample(s.x)))

    monkeypatch.setitem(ALGORITHMS._found, "two_samples", two_samples)
    trace = run(NOISY, algorithm("two_samples"), 6, record="all")
    assert trace.oracle_calls["sample"].tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert len(set(trace["gap"][0])) == 7


class _Point:
    def __init__(self, x: Any) -> None:
        self.x = x


def test_a_missing_capability_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def needy() -> Algorithm:
        """Needs a network."""
        return Algorithm(lambda p, x0: _Point(x0), lambda s, oracle: s, requires=("network",))

    monkeypatch.setitem(ALGORITHMS._found, "needy", needy)
    with pytest.raises(
        TheorysimError, match="needy needs a problem with 'network'; this one has: eigenbasis, gradient_noise, hessian"
    ):
        run(NOISY, algorithm("needy"), 3)


# ------------------------------------------------------------------------------------------------ until
def test_until_stops_early_and_shows_the_same_numbers() -> None:
    method = algorithm("gradient_descent", lr=[0.1, 0.9])
    full = run(NOISY, method, 400, runs=5, record="all")
    short = run(NOISY, method, 400, runs=5, record="all", until=0.05)
    gaps, cut = full.split(full["gap"]), short.split(short["gap"])
    first = (gaps <= 0.05 * gaps[:, :, :1]).argmax(axis=-1).min(axis=0)
    assert short.steps[-1] == first.max() < 400
    for run_number, step in enumerate(first):
        np.testing.assert_array_equal(cut[:, run_number, : step + 1], gaps[:, run_number, : step + 1])
        assert np.isnan(cut[:, run_number, step + 1 :]).all()
    assert (short.status == OK).all()


def test_until_that_is_never_reached_runs_to_the_end() -> None:
    trace = run(NOISY, algorithm("gradient_descent", lr=1e-6), 20, record="all", until=0.5)
    assert trace.steps[-1] == 20 and np.isfinite(trace["gap"]).all()


# ------------------------------------------------------------------------------------------------ divergence is data
def test_a_diverging_run_is_reported_and_no_error() -> None:
    what = problem("anisotropic_quadratic", dim=4, spectrum="two_value", kappa=2.0, head=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = run(what, algorithm("gradient_descent", lr=[0.5, 1e60]), 9, record="all")
    gap = trace["gap"]
    first = int(np.argmax(~np.isfinite(gap[1])))
    assert np.isfinite(gap[0]).all() and 1 < first < 9
    assert trace.status.tolist() == [OK, first]


# ------------------------------------------------------------------------------------------------ the trace
def test_frame_is_long_and_complete() -> None:
    trace = run(NOISY, GD, 10, runs=3, measure=("gap", "distance"), record=[0, 4, 10])
    frame = trace.frame()
    assert list(frame.columns) == ["run", "lr", "step", "calls_gradient", "calls_sample", "gap", "distance"]
    assert len(frame) == 2 * 3 * 3
    row = frame[(frame.run == 2) & (frame.lr == 1.1) & (frame.step == 4)]
    assert row.gap.item() == trace.at(4)[1, 2] and row.calls_gradient.item() == 4


def test_unknown_measures_and_constants_name_the_known() -> None:
    trace = run(NOISY, GD, 3)
    with pytest.raises(TheorysimError, match="recorded measure named 'distance'.*known: gap"):
        trace["distance"]
    with pytest.raises(TheorysimError, match="did you mean L_1norm"):
        trace.constant("L_1norms")


@pytest.mark.parametrize("until", [None, 0.5])
def test_appended_seeds_are_the_seeds_of_one_run(until: float | None) -> None:
    method = algorithm("adagrad", lr=["0.3*D_inf_0", "D_2_0/sqrt(7)", 0.4])
    cell = Cell(NOISY, method, 40, 8, ("gap", "distance:inf", "regret"), "all", until, seed=5)
    pieces = [run_cell(replace(cell, runs=count, first_run=first), CPU) for first, count in ((0, 3), (3, 1), (4, 4))]
    joined = pieces[0].appended(pieces[1]).appended(pieces[2])
    whole = run_cell(cell, CPU)
    same(joined, whole)
    np.testing.assert_array_equal(joined.runs, whole.runs)
    assert joined.cell == whole.cell
    np.testing.assert_array_equal(joined.hyper("lr"), whole.hyper("lr"))
