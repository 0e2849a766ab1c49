"""Agents in processes of their own: the numbers of the simulation, from their own data and messages of neighbours alone."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import queue
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from command_line import COMMAND, TEXT, environment
from plain_loops import RUNS, built, walk

from theorysim import distributed
from theorysim.backend import CPU
from theorysim.model import Cell, TheorysimError
from theorysim.registry import ALGORITHMS, algorithm, problem
from theorysim.run import run_cell

M, N, D, STEPS, SEED = 4, 6, 3, 30, 3
BOUND = 1e-10
EDGES = {"ring": {(0, 1), (1, 2), (2, 3), (0, 3)}, "random": {(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)}}  # of seed 3
GRAPHS = {"ring": {"graph": "ring"}, "random": {"graph": "erdos_renyi", "chance": 0.5}}
QUADRATIC = {"m": M, "n": N, "dim": D, "kappa": 20, "placement": "sorted", "pool": "random", "rotation": "random"}
PROBLEMS = {
    "quadratic": ("decentralized_quadratic", {**QUADRATIC, "start": "uniform", "lazy": False}),
    "logistic": ("decentralized_regression", {"m": M, "samples": M * N + 1, "dim": D, "ridge": 0.05, "start": "uniform"}),
}
POOLED = {"batch": 8, "chance": 0.4, "rounds": 3}
METHODS = {
    "dgd": ("dgd", {"lr": "0.5/L_loc"}),
    "gradient_tracking diging": ("gradient_tracking", {"lr": "0.1/L_loc"}),
    "gradient_tracking atc": ("gradient_tracking", {"lr": "0.1/L_loc", "form": "atc"}),
    "extra": ("extra", {"lr": "0.5/L_loc"}),
    "nids": ("nids", {"lr": "1/L_loc"}),
    "exact_diffusion": ("exact_diffusion", {"lr": "1/L_loc"}),
    "gt_saga": ("gt_saga", {"lr": "0.1/L_max"}),
    "d_sgd": ("d_sgd", {"lr": "0.2/L_max"}),
    "d_nasa": ("d_nasa", {"horizon": STEPS}),
    "dec_lsvrg": ("dec_lsvrg", {**POOLED, "lr": "1/(4*L_g + 24*L_s/8)"}),
    "dec_lsvrg importance": ("dec_lsvrg", {**POOLED, "lr": "1/(4*L_g + 24*L_s/8)", "importance": True}),
    "dec_lsvrg local": ("dec_lsvrg", {**POOLED, "lr": "1/(4*L_g + 24*L_s/8)", "estimator": "local"}),
    "dec_lkatyusha": ("dec_lkatyusha", POOLED),
    "dec_lkatyusha plain": ("dec_lkatyusha", {**POOLED, "mixing": "plain", "tracking": False}),
}
CASES = [(graph, name) for graph in GRAPHS for name in METHODS]
# By processes: everything on the quadratic, and one method of a kind on the other problem.
LAUNCHED = [("quadratic", *each) for each in CASES]
LAUNCHED += [("logistic", "random", name) for name in ("dgd", "gt_saga", "dec_lsvrg importance", "dec_lkatyusha")]
every_case = pytest.mark.parametrize(("graph", "name"), CASES, ids=[f"{name} {graph}" for graph, name in CASES])

MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
LACKING = "mpi4py is not installed" if importlib.util.find_spec("mpi4py") is None else "" if MPIEXEC else "no mpiexec found"
over_mpi = pytest.mark.skipif(bool(LACKING), reason=LACKING)


def cell(kind, graph, name, **more):
    (what, of), (how, by) = PROBLEMS[kind], METHODS[name]
    return Cell(problem(what, **of, **GRAPHS[graph]), algorithm(how, **by), STEPS, runs=RUNS, record="all", seed=SEED, **more)


def as_words(of):
    return [(spec.name, spec.arguments) for spec in (of.problem, of.algorithm)]


def simulation(of):
    """The points of all agents in the batched simulation, (steps + 1, rows, m, d)."""
    return np.stack([state.agents for state in walk(*built(of.problem, of.algorithm), STEPS)])


def largest(difference):
    return float(np.max(np.abs(difference)))  # NaN if there is one


def test_every_decentralized_method_is_here():
    sources = {name: inspect.getsource(sys.modules[ALGORITHMS.get(name).__module__]) for name in ALGORITHMS.names()}
    assert {name for name, _ in METHODS.values()} == {name for name, text in sources.items() if 'requires=("network"' in text}


# ------------------------------------------------------------------------------------------------ without MPI
def in_threads(of):
    """The same by one thread an agent, which post their vectors into queues: (steps + 1, rows, m, d)."""
    whole, method = built(of.problem, of.algorithm)
    letters, found = {(i, k): queue.Queue() for i in range(M) for k in range(M) if i != k}, {}

    def agent(i):
        def exchange(own, neighbours):
            for k in neighbours:
                letters[i, k].put(own.copy())
            return [letters[k, i].get(timeout=20) for k in neighbours]

        found[i] = distributed.walk(distributed.share(whole, i, exchange), method, range(STEPS + 1), slice(i, i + 1)).points

    threads = [threading.Thread(target=agent, args=(i,), daemon=True) for i in range(M)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return np.concatenate([found[i] for i in range(M)], axis=2)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_agents_go_where_the_simulation_goes(kind, name):
    of = cell(kind, "random", name)
    expected = simulation(of)
    assert largest(expected[-1] - expected[0]) > 1e-3
    assert largest(in_threads(of) - expected) <= BOUND


def test_a_method_that_takes_the_mean_over_agents_is_noticed():
    """Nobody told an agent what the mean is: its points become NaN."""

    def cheats(state, oracle):
        x = method.step(state, oracle).agents
        return state._replace(agents=0 * x + np.mean(x, axis=1, keepdims=True))

    whole, method = built(cell("quadratic", "ring", "dgd").problem, algorithm("dgd", lr=0.1))
    mine = distributed.share(whole, 2, lambda own, neighbours: [own for _ in neighbours])
    honest = distributed.walk(mine, method, range(3), slice(2, 3)).points
    cheated = distributed.walk(mine, dataclasses.replace(method, step=cheats), range(3), slice(2, 3)).points
    assert np.isfinite(honest).all() and np.isfinite(cheated[0]).all() and np.isnan(cheated[1:]).all()


def reachable(thing, seen=None):
    """All arrays that a record and the functions in it hold on to, in their closures and behind views."""
    seen = {} if seen is None else seen
    if id(thing) in seen or isinstance(thing, str | type | types.ModuleType) or thing is None:
        return []
    seen[id(thing)] = thing
    if isinstance(thing, np.ndarray):
        return [thing, *reachable(thing.base, seen)]
    inside = list(thing.values()) if isinstance(thing, dict) else list(thing) if isinstance(thing, tuple | list) else []
    inside += [each.cell_contents for each in getattr(thing, "__closure__", None) or ()]
    inside += [*vars(thing).values()] if dataclasses.is_dataclass(thing) else []
    inside += [getattr(thing, name, None) for name in ("func", "__wrapped__", "__self__", "__defaults__")]
    return [array for each in inside for array in reachable(each, seen)]


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_share_leads_to_no_data_of_others(kind):
    whole, _ = built(cell(kind, "ring", "dgd").problem, algorithm("dgd", lr=0.1))
    shape = {"quadratic": (M, N), "logistic": (M, N, D)}[kind]  # offsets of the components, or features; no two are equal
    held = reachable(whole.capabilities["finite_sum"])
    data = next(array for array in held if array.shape == shape and len(np.unique(array)) == array.size)
    for agent in range(M):
        found = reachable(distributed.share(whole, agent, lambda own, neighbours: []))
        numbers = np.concatenate([array.reshape(-1) for array in found])
        assert np.isin(data[agent], numbers).all()
        assert not np.isin(np.delete(data, agent, axis=0), numbers).any()


def test_only_what_can_be_shared_is():
    def refusal(name, by, **of):
        whole, method = built(problem(name, m=M, **of), algorithm(by, lr=0.1))
        distributed.walk(distributed.share(whole, 0, lambda own, neighbours: [own for _ in neighbours]), method, range(2))

    with pytest.raises(TheorysimError, match="tells their data apart"):
        refusal("decentralized_nonconvex", "d_sgd")
    with pytest.raises(TheorysimError, match="leave out link_loss"):
        refusal("decentralized_quadratic", "dgd", link_loss=0.1)
    with pytest.raises(TheorysimError, match="gradient_descent keeps one point for all agents"):
        refusal("decentralized_quadratic", "gradient_descent")
    whole, _ = built(problem("decentralized_quadratic", m=M), algorithm("dgd", lr=0.1))
    mine = distributed.share(whole, 2, lambda own, neighbours: [])
    for ask in (mine.gap, mine.gradient):
        with pytest.raises(TheorysimError, match="agent 2 knows its own f_2 alone"):
            ask(mine.start)


# ------------------------------------------------------------------------------------------------ processes
def launch(*words, cwd, processes=M):
    env = environment(OPENBLAS_NUM_THREADS="1")
    return subprocess.run([MPIEXEC, "-n", str(processes), *words], cwd=cwd, env=env, capture_output=True, timeout=120, **TEXT)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What one launch of four processes finds for all cases: points by (problem, graph, method), and the calls of MPI."""
    folder = tmp_path_factory.mktemp("mpi")
    jobs = [[*as_words(cell(*key)), STEPS, RUNS, SEED] for key in LAUNCHED]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = launch(sys.executable, str(Path(__file__).parent / "mpi_driver.py"), "jobs.json", "out.npz", cwd=folder)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as file:
        logs = json.loads(str(file["log"]))
        return {key: (file[f"points_{i}"], file[f"sent_{i}"], file[f"messages_{i}"], logs[i]) for i, key in enumerate(LAUNCHED)}


@over_mpi
@pytest.mark.parametrize(("kind", "graph", "name"), LAUNCHED, ids=[" ".join(each) for each in LAUNCHED])
def test_processes_go_where_the_simulation_goes(processes, kind, graph, name):
    expected = simulation(cell(kind, graph, name))
    points = processes[kind, graph, name][0]
    assert points.shape == expected.shape == (STEPS + 1, RUNS, M, D)
    assert largest(points[-1] - points[0]) > 1e-3
    assert largest(points - expected) <= BOUND


@over_mpi
@every_case
def test_only_neighbours_speak_and_as_often_as_is_counted(processes, graph, name):
    _, sent, counted, log = processes["quadratic", graph, name]
    adjacent = np.array([[(min(i, k), max(i, k)) in EDGES[graph] for k in range(M)] for i in range(M)])
    seen = {call: np.zeros((M, M), dtype=int) for call in ("Isend", "Irecv")}
    for agent, calls in enumerate(log):
        # all together before the first step and after the last one, nothing but messages between two in between
        assert [calls[0][0], calls[-1][0]] == ["allgather", "gather"]
        for call, partner in calls[1:-1]:
            seen[call][agent, partner] += 1
    trace = run_cell(dataclasses.replace(cell("quadratic", graph, name), measure=("messages", "rounds"), record="last"), CPU)
    assert seen["Isend"].sum() == counted == trace.values["messages"][0, -1] > 0
    np.testing.assert_array_equal(seen["Isend"], adjacent * int(trace.values["rounds"][0, -1]))
    np.testing.assert_array_equal(seen["Irecv"], seen["Isend"])
    np.testing.assert_array_equal(sent, seen["Isend"])


PARAMETERS = ["-p", "n=6", "-p", "dim=3", "-p", "placement=sorted", "-a", "lr=1/L_loc", "--steps", "30"]
WORDS = ["agents", "decentralized_quadratic", "extra", *PARAMETERS, "-p", "m=4"]


@over_mpi
def test_the_command_prints_and_writes_and_compares(tmp_path):
    done = launch(*COMMAND, *WORDS, "--compare", "--record", "all", "--csv", "points.csv", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "4, one process each; 240 vectors sent over 4 edges" in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("largest difference from the simulation: ") and 0 <= float(last.split()[-1]) <= BOUND
    of = Cell(problem("decentralized_quadratic", m=4, n=6, dim=3, placement="sorted"), algorithm("extra", lr="1/L_loc"), STEPS)
    expected = simulation(of)[:, 0].reshape(-1, D)
    table = np.loadtxt(tmp_path / "points.csv", delimiter=",", skiprows=1)
    assert (tmp_path / "points.csv").read_text().splitlines()[0] == "step,agent,x_0,x_1,x_2"
    np.testing.assert_array_equal(table[:, :2], [(t, i) for t in range(STEPS + 1) for i in range(M)])
    assert largest(table[:, 2:] - expected) <= BOUND
    final = next(line.split("\t") for line in done.stdout.splitlines() if line.startswith(f"{STEPS}\t"))
    assert float(final[2]) == pytest.approx(np.linalg.norm(expected[-M:] - 1), rel=1e-5)  # x* = (1, ..., 1)


@over_mpi
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([*WORDS[:-1], "m=6"], ["m=6 agents need 6 processes, and 2 started", "mpiexec -n 6"]),
        ([*WORDS, "-a", "form=atc"], ["no parameter of algorithm extra named 'form'"]),
    ],
)
def test_all_processes_refuse_with_one_line(words, parts, tmp_path):
    done = launch(*COMMAND, *words, cwd=tmp_path, processes=2)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ") and all(part in line for part in parts)
