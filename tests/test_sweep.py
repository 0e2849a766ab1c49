"""Sweeps: where a name goes, what a point holds, which value is best, and the exponent over a name."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.typing import NDArray

import theorysim as ts
from theorysim.backend import CPU
from theorysim.findings import Verdict
from theorysim.levels import judged as judged_again
from theorysim.model import Cell, Outcome, TheorysimError
from theorysim.run import run_cell
from theorysim.store import Store
from theorysim.sweep import Sweep, _settled

POWER = ts.problem("anisotropic_quadratic", decay=0.5, start="uniform", low=0.5)
GD, ADAGRAD = ts.algorithm("gradient_descent"), ts.algorithm("adagrad", lr="D_inf_0/sqrt(2)")
MANY = pytest.mark.parametrize("multiples", [[0.1, 0.5, 1.3], [0.02, 0.9, 1.9, 2.5]], ids=str)


# ------------------------------------------------------------------------------------------------ outcomes
def test_steps_to_is_the_first_step_at_or_below_the_level() -> None:
    trace = ts.run(POWER, ts.algorithm("gradient_descent", lr=[0.1, 1.9, 2.5]), 60, runs=4, record="all")
    counts = ts.steps_to(0.2).read(trace)
    assert counts.shape == (3, 4)
    for row, count in zip(trace["gap"], counts.ravel(), strict=True):
        below = [t for t, value in enumerate(row) if value <= 0.2 * row[0]]
        assert count == below[0] if below else np.isnan(count)
    assert np.isnan(counts[2]).all() and np.isfinite(counts[1]).all()


def test_steps_to_counts_recorded_steps() -> None:
    trace = ts.run(POWER, ts.algorithm("gradient_descent", lr=0.1), 40, record=[0, 7, 20, 40])
    exact = ts.steps_to(0.5).read(ts.run(POWER, ts.algorithm("gradient_descent", lr=0.1), 40, record="all")).item()
    assert 7 < exact < 20 and ts.steps_to(0.5).read(trace).item() == 20


def test_final_is_the_last_value_of_its_measure() -> None:
    cell = Cell(POWER, ts.algorithm("gradient_descent", lr=[0.1, 0.7]), 20, 3, ("distance:1",), ts.final("distance:1").record)
    trace = run_cell(cell, CPU)
    np.testing.assert_array_equal(ts.final("distance:1").read(trace), trace.at(20, "distance:1"))
    assert ts.final().measure == ("gap",) and ts.final("distance:1").measure == ("distance:1",)


def test_a_level_must_be_positive() -> None:
    with pytest.raises(TheorysimError, match="relative=0 is not allowed"):
        ts.steps_to(0)


# ------------------------------------------------------------------------------------------------ the grid
def test_every_point_is_its_own_run_whatever_the_order_of_names() -> None:
    over: dict[str, Any] = {"lr": ["D_inf_0/4", 0.5], "dim": [3, 8, 20], "eps": [0.0, 0.1], "scale": [0.7, 2.0]}
    found = ts.sweep(POWER, ts.algorithm("adagrad"), over, ts.final("distance"), steps=9, runs=5, seed=2)
    assert found.values.shape == (2, 3, 2, 2, 5)
    for index in itertools.product(*map(range, found.values.shape[:-1])):
        lr, dim, eps, scale = (values[i] for values, i in zip(over.values(), index, strict=True))
        what = ts.problem("anisotropic_quadratic", decay=0.5, start="uniform", low=0.5, dim=dim, scale=scale)
        trace = ts.run(what, ts.algorithm("adagrad", lr=lr, eps=eps), 9, runs=5, seed=2, measure="distance")
        np.testing.assert_allclose(found.values[index], trace["distance"][:, -1], rtol=1e-13)


def test_names_or_specs_and_wrapped_algorithms() -> None:
    named = ts.sweep("anisotropic_quadratic", "sgd", {"dim": [4, 5], "lr": [0.1, 0.3]}, ts.final(), steps=3)
    spec = ts.sweep(
        ts.problem("anisotropic_quadratic"), ts.algorithm("sgd", lr=9.0), {"dim": [4, 5], "lr": [0.1, 0.3]}, ts.final(), steps=3
    )
    np.testing.assert_array_equal(named.values, spec.values)
    wrapped = ts.algorithm("average", of=ts.algorithm("sgd", lr=9.0))
    averaged = ts.sweep(POWER, wrapped, {"lr": [0.1, 0.3]}, ts.final(), steps=3)
    for index, lr in enumerate((0.1, 0.3)):
        trace = ts.run(POWER, ts.algorithm("average", of=ts.algorithm("sgd", lr=lr)), 3, runs=8)
        np.testing.assert_array_equal(averaged.values[index], trace["gap"][:, -1])


def test_what_is_no_number_of_a_row_makes_cells() -> None:
    found = ts.sweep(POWER, "sgd", {"schedule": ["constant", "inverse"], "lr": [0.1, 0.3]}, ts.final(), steps=5, runs=2)
    trace = ts.run(POWER, ts.algorithm("sgd", lr=0.3, schedule="inverse"), 5, runs=2)
    np.testing.assert_array_equal(found.values[1, 1], trace["gap"][:, -1])


def test_names_in_two_places_need_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    from theorysim.registry import ALGORITHMS

    def scaled(scale: PerRow = 0.1) -> Any:  # type: ignore[name-defined]  # noqa: F821
        """Gradient descent whose step is called as a parameter of the problem."""
        return ALGORITHMS.get("gradient_descent")(lr=scale)

    scaled.__annotations__ = {"scale": "PerRow"}
    monkeypatch.setitem(ALGORITHMS._found, "scaled", scaled)
    with pytest.raises(TheorysimError, match=r"'scale' fits 2 parameters; write 'problem\.scale' or 'algorithm\.scale'"):
        ts.sweep(POWER, "scaled", {"scale": [1.0]}, ts.final(), steps=3)
    found = ts.sweep(POWER, "scaled", {"algorithm.scale": [0.1, 0.2], "problem.scale": [3.0]}, ts.final(), steps=3, runs=1)
    what = ts.problem("anisotropic_quadratic", decay=0.5, start="uniform", low=0.5, scale=3.0)
    np.testing.assert_allclose(
        found.values[:, 0], ts.run(what, ts.algorithm("gradient_descent", lr=[0.1, 0.2]), 3)["gap"][:, -1:]
    )


@pytest.mark.parametrize(
    ("over", "options", "message"),
    [
        ({"dimm": [3]}, {}, "no parameter of the problem or the algorithm named 'dimm'; did you mean dim"),
        ({"dim": []}, {}, "over: dim needs a list of at least one value"),
        ({"dim": 5}, {}, "over: dim needs a list of at least one value, not 5"),
        ({"lr": "0.1"}, {}, "over: lr needs a list"),
        ({"dim": [3], "problem.dim": [4]}, {}, "'dim' and 'problem.dim' are the same parameter"),
        ({"dim": [3]}, {"best": "lr"}, "best='lr' is not allowed; choose one of dim"),
        ({"dim": [3]}, {"steps": 0}, "steps=0 is not allowed"),
        ({"dim": [3]}, {"runs": 0}, "runs=0 is not allowed"),
        ({"dim": [3]}, {"seed": -1}, "seed=-1 is not allowed"),
        ({"dim": [2.5]}, {}, "dim=2.5 is not a whole number"),
    ],
)
def test_bad_requests_name_the_way_out(over: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(TheorysimError, match=message):
        ts.sweep(POWER, GD, over, ts.final(), **({"steps": 3} | options))


def test_variants_belong_into_over() -> None:
    with pytest.raises(TheorysimError, match="holds a list of values for lr; put it into over="):
        ts.sweep(POWER, ts.algorithm("adagrad", lr=[0.1, 0.2]), {"dim": [3]}, ts.final(), steps=3)


def test_finished_cells_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = ts.sweep(POWER, GD, {"dim": [3, 4, 5]}, ts.final(), steps=3, store=store)
    assert store.usage()[0] == 3
    again = ts.sweep(POWER, GD, {"dim": [3, 4, 5, 6]}, ts.final(), steps=3, store=store)
    assert store.usage()[0] == 4
    np.testing.assert_array_equal(again.values[:3], first.values)


# ------------------------------------------------------------------------------------------------ the best value
def brute_force(dims: list[int], lrs: list[Any], steps: int, runs: int) -> NDArray[np.float64]:
    """Counts ``(dims, lrs, runs)`` of full-length runs."""
    counts = []
    for dim in dims:
        what = ts.problem("anisotropic_quadratic", decay=0.5, start="uniform", low=0.5, dim=dim)
        counts.append(
            ts.steps_to(0.05).read(ts.run(what, ts.algorithm("gradient_descent", lr=lrs), steps, runs=runs, record="all"))
        )
    return np.array(counts)


@MANY
def test_best_is_the_smallest_mean_of_full_runs(multiples: list[float]) -> None:
    """The search stops early; it must find what the longest runs would have."""
    dims, lrs = [5, 40, 200], [f"{m}/lambda_max" for m in multiples]
    found = ts.sweep(POWER, "gradient_descent", {"dim": dims, "lr": lrs}, ts.steps_to(0.05), steps=500, runs=6, best="lr")
    counts = brute_force(dims, lrs, 500, 6)
    means = np.where(np.isnan(counts), np.inf, counts).mean(axis=-1)
    table = found.best()
    assert list(table.columns) == ["dim", "lr", "outcome", "at_grid_end"] and table.dim.tolist() == dims
    assert table.lr.tolist() == [lrs[i] for i in means.argmin(axis=1)]
    np.testing.assert_array_equal(table.outcome, means.min(axis=1))
    known = ~np.isnan(found.values)
    np.testing.assert_array_equal(found.values[known], counts[known])


def test_every_value_is_complete_without_best() -> None:
    dims, lrs = [5, 40], ["0.05/lambda_max", "1/lambda_max"]
    found = ts.sweep(POWER, "gradient_descent", {"dim": dims, "lr": lrs}, ts.steps_to(0.05), steps=500, runs=3)
    np.testing.assert_array_equal(found.values, brute_force(dims, lrs, 500, 3))
    assert np.isfinite(found.values).all()


def test_a_search_stops_only_when_it_is_certain() -> None:
    nan = np.nan
    assert _settled(np.array([[3.0, 5.0], [nan, nan]]), 16)
    assert not _settled(np.array([[nan, nan], [nan, nan]]), 16)
    assert not _settled(np.array([[16.0, 16.0], [nan, 1.0]]), 16)  # (17 + 1)/2 = 9 is still possible
    assert _settled(np.array([[16.0, 2.0], [nan, 1.0]]), 16)  # (17 + 1)/2 is no better than 9
    assert not _settled(np.array([[[3.0, 5.0], [nan, nan]], [[nan, nan], [nan, 4.0]]]), 16)


def given(values: Any, grid: tuple[Any, ...] = (0.1, 0.2, 0.4, 0.8), dims: tuple[int, ...] = (10,)) -> Sweep:
    """A sweep over dim and lr with these outcomes ``(dims, lrs, runs)``, best over lr."""
    return Sweep(
        "some_problem", "some_method", {"dim": dims, "lr": grid}, ts.steps_to(0.5), np.array(values, dtype=float), 50, "lr"
    )


def test_ties_take_the_middle_and_ends_are_told() -> None:
    row = given([[[9], [3], [3], [3]]]).best().iloc[0]
    assert (row.lr, row.outcome, row.at_grid_end) == (0.4, 3.0, False)
    row = given([[[9], [7], [3], [2]]]).best().iloc[0]
    assert (row.lr, row.at_grid_end) == (0.8, True)
    assert given([[[2], [7], [9], [9]]], grid=(0.4, 0.2, 0.1, 0.8)).best().at_grid_end.item() is False
    assert given([[[2], [7], [9], [9]]], grid=("a", "b", "c", "d")).best().at_grid_end.item() is True
    assert given([[[2]]], grid=(0.1,)).best().at_grid_end.item() is False


def test_a_missing_outcome_counts_as_infinite() -> None:
    found = given([[[1, 1, np.nan], [5, 6, 7], [9, 9, 9], [9, 9, 9]], [[np.nan, 1, 1]] * 4], dims=(10, 20)).best()
    assert found.lr[0] == 0.2 and found.outcome[0] == 6
    assert found.lr.isna()[1] and found.outcome.isna()[1] and not found.at_grid_end[1]


def test_best_needs_a_name() -> None:
    with pytest.raises(TheorysimError, match="no best value was asked for; call sweep with best= one of dim, lr"):
        replace(given([[[1], [2], [3], [4]]]), best_over=None).best()


# ------------------------------------------------------------------------------------------------ tables, exponents, figures
def test_frame_is_long() -> None:
    sweep = given(np.arange(24).reshape(2, 4, 3), dims=(10, 20))
    frame = sweep.frame()
    assert list(frame.columns) == ["dim", "lr", "run", "outcome"] and len(frame) == 24
    assert frame[(frame.dim == 20) & (frame.lr == 0.2) & (frame.run == 1)].outcome.item() == sweep.values[1, 1, 1]


DIMS = (100, 200, 400, 1000, 2000, 4000, 10_000)


def power_law(p: float, runs: int = 10) -> Sweep:
    """Outcomes 3 dim^p with 1 % noise at lr = 0.2, twice that elsewhere."""
    noise = 1 + 0.01 * np.random.default_rng(7).standard_normal((len(DIMS), 1, runs))
    return given(3 * np.array(DIMS)[:, None, None] ** p * noise * np.array([2.0, 1.0, 2.0, 2.0])[:, None], dims=DIMS)


def test_exponent_of_the_best_values_is_judged() -> None:
    right, wrong = power_law(0.5).exponent("dim", claim=0.5), power_law(0.5).exponent("dim", claim=1.0)
    assert right.verdict is Verdict.CONSISTENT and wrong.verdict is Verdict.VIOLATED
    assert right.measured == pytest.approx(0.5, abs=0.01) and right.predicted == 0.5
    assert right.panels[0].x_label == "dim" and right.label == "steps to 0.5 of the first gap, some_method, best lr"


def test_exponent_without_a_claim_is_a_measurement() -> None:
    found, judged = power_law(0.5).exponent("dim"), power_law(0.5).exponent("dim", claim=0.5)
    assert found.verdict is Verdict.UNDECIDED and found.predicted is None and found.limits is None
    assert found.measured == pytest.approx(judged.measured) and found.interval == pytest.approx(judged.interval)
    assert found.reason.startswith(f"exponent {found.measured:.3f} [") and "no claim was given" in found.reason
    assert judged_again([found], [1.0]) == [found]  # nor is it judged where a paper's findings are
    assert {series.role for series in found.panels[0].series} == {"measured"}


def test_options_of_the_judgement_are_passed_on() -> None:
    assert power_law(0.5).exponent("dim", claim=0.8, one_sided=True).verdict is Verdict.CONSISTENT
    assert power_law(0.5).exponent("dim", law=lambda x: x**0.5).verdict is Verdict.CONSISTENT
    assert power_law(0.5).exponent("dim", claim=0.7, within=0.4).verdict is Verdict.CONSISTENT


def test_every_combination_of_the_other_names_is_judged() -> None:
    sweep = replace(power_law(0.5), best_over=None)
    found = sweep.exponent("dim", claim=0.5)
    assert [part.label.split(", ")[-1] for part in found.parts] == ["lr=0.1", "lr=0.2", "lr=0.4", "lr=0.8"]
    assert all(part.verdict is Verdict.CONSISTENT for part in found.parts)


def test_what_a_reader_must_know_is_said() -> None:
    sweep = power_law(0.5)
    moved = replace(sweep, values=sweep.values[:, [1, 0, 2, 3]])
    assert (
        f"best lr at an end of its grid at dim={', '.join(f'{d:g}' for d in DIMS)}: widen it"
        in moved.exponent("dim", claim=0.5).reason
    )
    values = sweep.values.copy()
    values[2, :, 0] = np.nan
    missing = replace(sweep, values=values).exponent("dim", claim=0.5)
    assert missing.verdict is Verdict.UNDECIDED and "no outcome within 50 steps in some run at dim=400" in missing.reason


def test_exponents_of_several_names_are_judged_together() -> None:
    """Outcomes 3 dim^0.5 lr^-1 at the best momentum, for each of two eps."""
    over = {"eps": (0.0, 0.1), "lr": (0.01, 0.05, 0.25, 1.25), "momentum": (0.0, 0.5, 0.9), "dim": DIMS}
    noise = 1 + 0.01 * np.random.default_rng(7).standard_normal((2, 4, 3, len(DIMS), 10))
    law = 3 * np.array(DIMS) ** 0.5 / np.array(over["lr"])[:, None]
    values = law[:, None, :, None] * np.array([2.0, 1.0, 2.0])[:, None, None] * noise
    sweep = Sweep("some_problem", "some_method", over, ts.steps_to(0.5), values, 50, "momentum")
    found = sweep.exponents({"dim": 0.5, "lr": -1.0})
    assert [part.label.split(", ")[-1] for part in found.parts] == ["eps=0.0", "eps=0.1"]
    assert found.verdict is Verdict.CONSISTENT
    direct = ts.exponents(
        {"dim": np.tile(DIMS, 4), "lr": np.repeat(over["lr"], len(DIMS))},
        values[1, :, 1].reshape(-1, 10).T,
        claims={"dim": 0.5, "lr": -1.0},
    )
    for part, wanted in zip(found.parts[1].parts, direct.parts, strict=True):
        assert part.measured == pytest.approx(wanted.measured, abs=1e-12)
        assert part.interval == pytest.approx(wanted.interval, abs=1e-12)
    wrong = sweep.exponents({"lr": -1.0, "dim": 0.8}).parts[0]
    assert [part.verdict.value[0] for part in wrong.parts] == ["C", "V"]
    gap = values.copy()
    gap[0, 2, 1, 3, 0] = np.nan
    missing = replace(sweep, best_over=None, values=gap).exponents({"dim": 0.5, "lr": -1.0}).parts[1]
    assert missing.verdict is Verdict.UNDECIDED and "in some run at (dim=1000, lr=0.25)" in missing.reason
    mistakes = {"lrr": "did you mean lr", "momentum": "best value is taken", "": "exponents needs claims"}
    for name, said in mistakes.items():
        with pytest.raises(TheorysimError, match=said):
            sweep.exponents({name: 1.0} if name else {})


def test_a_measured_exponent_has_no_rivals_of_a_claim() -> None:
    assert not [name for name in power_law(0.5).exponent("dim").details if name.startswith("rival")]


def test_names_one_cannot_look_along() -> None:
    sweep = power_law(0.5)
    with pytest.raises(TheorysimError, match="no swept name named 'dimm'; did you mean dim"):
        sweep.exponent("dimm")
    with pytest.raises(TheorysimError, match="'lr' is the name whose best value is taken"):
        sweep.exponent("lr")
    text = replace(sweep, over={"dim": DIMS, "lr": ("a", "b", "c", "d")}, best_over=None)
    with pytest.raises(TheorysimError, match="lr holds values that are no positive numbers"):
        text.exponent("lr")


def test_panel_holds_means_ranges_and_the_guide() -> None:
    sweep = power_law(0.5)
    panel = sweep.panel(slope=0.5)
    curve, guide = panel.series
    at_best = sweep.values[:, 1]
    assert curve.x == DIMS and (panel.x_label, panel.y_label) == ("dim", "steps to 0.5 of the first gap")
    for found, expected in ((curve.y, at_best.mean(axis=1)), (curve.low, at_best.min(axis=1)), (curve.high, at_best.max(axis=1))):
        np.testing.assert_allclose(found, expected)
    assert guide.role == "predicted" and guide.label == "slope 0.5"
    np.testing.assert_allclose(np.array(guide.y), curve.y[0] * np.sqrt(np.array(DIMS) / DIMS[0]))
    assert len(replace(sweep, best_over=None).panel("lr").series) == len(DIMS)


def test_sweeps_beside_each_other_share_a_panel() -> None:
    other = replace(power_law(0.2), algorithm="another_method")
    panel = power_law(0.5).panel(slope=0.5, beside=[other])
    assert [series.label for series in panel.series] == ["some_method, best lr", "another_method, best lr", "slope 0.5"]
    assert panel.series[1] == other.panel().series[0]


def test_plot_draws_into_given_axes() -> None:
    figure, axes = plt.subplots()
    assert power_law(0.5).plot(axes, slope=0.5) is axes
    x, y = axes.lines[0].get_data()
    np.testing.assert_allclose(x, DIMS)
    np.testing.assert_allclose(y, power_law(0.5).panel().series[0].y)
    assert axes.get_xlabel() == "dim" and axes.get_xscale() == axes.get_yscale() == "log"
    plt.close(figure)


# ------------------------------------------------------------------------------------------------ the theory
def test_dimension_dependence_of_gradient_descent_and_adagrad() -> None:
    """Curvatures j^-a, start in [1/2, 1]: gradient descent needs about dim^a steps, AdaGrad one, whatever the dimension."""
    dims = [100, 200, 400, 1000, 2000, 4000, 10_000]
    outcome, options = ts.steps_to(0.1), {"steps": 300, "runs": 5}
    gd = ts.sweep(POWER, GD, {"dim": dims}, outcome, **options).exponent("dim", claim=0.5)
    assert gd.measured == pytest.approx(0.5, abs=0.05)
    grid = [f"{2 ** (k / 2)}*D_inf_0" for k in range(-4, 4)]
    adagrad = ts.sweep(POWER, "adagrad", {"dim": dims, "lr": grid}, outcome, best="lr", **options)
    assert adagrad.best().outcome.tolist() == [1] * len(dims) and not adagrad.best().at_grid_end.any()
    assert adagrad.exponent("dim", claim=0).measured == pytest.approx(0, abs=1e-12)


def test_outcomes_can_be_of_ones_own() -> None:
    largest = Outcome("largest gap", lambda trace: trace.split(trace["gap"].max(axis=1)), record="all")
    found = ts.sweep(POWER, "gradient_descent", {"lr": [0.1, 2.5]}, largest, steps=5, runs=2)
    gap = ts.run(POWER, ts.algorithm("gradient_descent", lr=[0.1, 2.5]), 5, runs=2, record="all")["gap"]
    np.testing.assert_array_equal(found.values.ravel(), gap.max(axis=1))
