"""Cells on workers: the same numbers as in this process, whatever machine fails, and nothing that is kept is run again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from command_line import ROOT, environment, start, theorysim

import theorysim as ts
from theorysim import worker
from theorysim.cluster import Cluster, workers
from theorysim.executors import InProcess, Together
from theorysim.jobs import visible_gpus
from theorysim.lab import Lab
from theorysim.model import Cell, TheorysimError
from theorysim.registry import ALGORITHMS, ANALYSES, PAPERS, PROBLEMS
from theorysim.store import Store
from theorysim.trace import Trace
from theorysim.traffic import ClusterFault, Fate

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="processes are killed with POSIX signals"),
    pytest.mark.filterwarnings("ignore::theorysim.traffic.ClusterFault"),
]

FATAL = 40  # dimension of the bowl that kills its process


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The plug-in of tests/plugin, here and on workers; and the file that names every bowl that is built."""
    path = tmp_path_factory.mktemp("bowls") / "log"
    own = {registry: set(registry.names()) for registry in (PROBLEMS, ALGORITHMS, ANALYSES, PAPERS)}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests" / "plugin"))
        patch.setenv("BOWL_LOG", str(path))
        patch.setenv("BOWL_FATAL", str(FATAL))
        yield path
    sys.modules.pop("simtest_plugin", None)
    for registry, names in own.items():
        for name in registry._found.keys() - names:
            del registry._found[name]


@pytest.fixture(scope="module")
def pair(log: Path) -> Iterator[Cluster]:
    """Two workers of this machine, whose bowls are slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOWL_SECONDS", "0.01")
        opened = workers(jobs=2)
        executor = opened.__enter__()
    with ExitStack() as stack:
        stack.push(opened.__exit__)
        assert isinstance(executor, Cluster)
        yield executor


@pytest.fixture
def lab(pair: Cluster, tmp_path: Path) -> Lab:
    return Lab(store=Store(tmp_path / "store"), executor=pair)


def bowls(dims: Sequence[int], steps: int = 10) -> list[Cell]:
    return [Cell(ts.problem("bowl", dim=d, noise=0.1), ts.algorithm("sgd", lr=0.3), steps, record="all") for d in dims]


def undisturbed(cells: Sequence[Cell], log: Path) -> list[Trace]:
    """What this process computes; afterwards the log is empty."""
    traces = Lab().run_all(cells)
    log.unlink(missing_ok=True)
    return traces


def built(log: Path) -> list[int]:
    """The dimensions of the bowls that were begun, sorted."""
    return sorted(int(line) for line in log.read_text().split())


def assert_same(one: Sequence[Trace], other: Sequence[Trace]) -> None:
    for left, right in zip(one, other, strict=True):
        assert left.cell == right.cell and left.environment == right.environment
        for group in ("values", "oracle_calls", "parameters", "constants"):
            assert getattr(left, group).keys() == getattr(right, group).keys()
            for name, values in getattr(left, group).items():
                np.testing.assert_array_equal(values, getattr(right, group)[name])
        for name in ("steps", "status", "runs", "communications"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


# ------------------------------------------------------------------------------------------------ the same results
def test_workers_find_what_this_process_finds_diverged_runs_included(pair: Cluster) -> None:
    instance = ts.problem("anisotropic_quadratic", dim=7, noise=0.3)
    cells = [
        Cell(instance, ts.algorithm("adagrad", lr=[0.1, 0.4]), 60, 8, ("gap", "distance:1")),
        Cell(instance, ts.algorithm("sgd", lr=1e3), 400, 3, record="all"),
        Cell(instance, ts.algorithm("heavy_ball", lr=0.01, momentum=0.9), 1000, exact=True),
    ]
    here, there = Lab(seed=3).run_all(cells), Lab(seed=3, executor=pair).run_all(cells)
    assert np.isnan(here[1]["gap"]).any() and (here[1].status > 0).all()
    assert_same(here, there)
    there[0].values["gap"][0, 0] = 1.0  # a claim may write into what it gets


def test_only_new_seeds_are_sent_after_a_doubling(tmp_path: Path) -> None:
    sent: list[Cell] = []

    class Recorder(InProcess):
        def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
            sent.extend(items)
            return super().map(function, items)

    cell = Cell(ts.problem("anisotropic_quadratic", dim=5, noise=1.0), ts.algorithm("sgd", lr=0.1), 20, 8)
    lab = Lab(store=Store(tmp_path), executor=Recorder())
    lab.run(cell)
    doubled = replace(lab, look=1).run(replace(cell, runs=16))
    assert sent == [cell, replace(cell, first_run=8)]
    assert_same([doubled], Lab().run_all([replace(cell, runs=16)]))


def test_closures_travel_with_their_lab_and_come_back_in_order(lab: Lab) -> None:
    offset = 0.5
    found = lab.map(lambda d: (offset + lab.build(ts.problem("bowl", dim=d)).constants["L"] * d, os.getpid()), range(2, 12))
    assert [value for value, _ in found] == [offset + d for d in range(2, 12)]
    assert os.getpid() not in {pid for _, pid in found}


def test_few_cells_are_on_their_way_and_nothing_stays_on_the_cluster(pair: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    send, flying = pair.send, []

    def watched(*given: Any) -> Any:
        flying.append(pair._traffic.flying)
        return send(*given)

    monkeypatch.setattr(pair, "send", watched)
    instance = ts.problem("anisotropic_quadratic", dim=2)
    Lab(executor=pair).run_all(Cell(instance, ts.algorithm("sgd", lr=k / 100), 1) for k in range(1, 31))
    assert len(flying) == 30 and max(flying) == 4
    deadline = time.monotonic() + 10
    while (
        left := pair.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
    ) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == 0


# ------------------------------------------------------------------------------------------------ many claims at once
def test_claims_are_looked_at_together_told_in_order_and_share_their_cells(pair: Cluster, lab: Lab, log: Path) -> None:
    begun: list[tuple[int, float]] = []

    def claim(which: int) -> tuple[int, list[Trace]]:
        begun.append((which, time.monotonic()))
        return which, lab.run_all(bowls([3, 4, 5]))

    expected = undisturbed(bowls([3, 4, 5]), log)
    found = list(pair.each(claim, range(4)))
    assert [which for which, _ in found] == [0, 1, 2, 3]
    assert max(when for _, when in begun) - min(when for _, when in begun) < 0.25  # less than the cells of one take
    assert built(log) == [3, 4, 5]
    for _, traces in found:
        assert_same(traces, expected)


def test_an_error_of_one_claim_ends_the_others_and_the_cluster_goes_on(pair: Cluster, lab: Lab, log: Path) -> None:
    def claim(which: int) -> list[Trace]:
        if which == 1:
            raise TheorysimError("claim 1 cannot be met")
        return lab.run_all(bowls([2]) if which == 0 else [bowls([3], steps)[0] for steps in range(5, 35)])

    log.unlink(missing_ok=True)
    told = []
    with pytest.raises(TheorysimError, match="claim 1"):
        for traces in pair.each(claim, range(3)):
            told.append(len(traces))
    assert told == [1] and pair._traffic.flying == 0
    assert len(built(log)) < 20
    assert len(lab.run_all(bowls([6]))) == 1


def test_progress_of_claims_at_once_is_that_of_all() -> None:
    heard: list[tuple[str, int, int]] = []
    told = Together("paper", lambda *news: heard.append(news))
    for news in (("a", 0, 2), ("b", 1, 4), ("a", 2, 2), ("a", 0, 3), ("b", 4, 4), ("a", 3, 3)):
        told(*news)
    assert heard == [("paper", 0, 2), ("paper", 1, 6), ("paper", 3, 6), ("paper", 3, 9), ("paper", 6, 9), ("paper", 9, 9)]


# ------------------------------------------------------------------------------------------------ faults
def test_the_cell_of_a_killed_worker_is_run_elsewhere(pair: Cluster, lab: Lab, log: Path) -> None:
    cells = bowls(range(2, 14))
    expected = undisturbed(cells, log)

    def killing(done: int, total: int) -> None:
        if done == 3:
            os.kill(pair.jobs.pids[0], signal.SIGKILL)  # type: ignore[union-attr]

    with pytest.warns(ClusterFault, match="1 worker process died"):
        found = replace(lab, progress=killing).run_all(cells)
    assert_same(found, expected)
    again = list(built(log))
    for dim in range(2, 14):
        again.remove(dim)
    assert len(again) <= 2  # the cell that was worked on, and one whose result was not fetched yet
    log.unlink()
    lab.run_all(cells)
    assert not log.exists()  # every result was kept


def test_a_cell_that_kills_every_worker_is_named_and_the_others_are_kept(lab: Lab, log: Path) -> None:
    expected, cells = undisturbed(bowls([3, 5]), log), bowls([3, FATAL, 5])
    with (
        pytest.warns(ClusterFault),
        pytest.raises(TheorysimError, match=rf"sgd\(lr=0.3\) on bowl\(dim={FATAL}.*ended its worker again and again"),
    ):
        lab.run_all(cells)
    assert 3 <= built(log).count(FATAL) <= 5
    kept, before = [], built(log)
    for cell in bowls([3, 5]):
        assert lab.store is not None
        kept += [trace] if (trace := lab.store.load(cell, "cpu")) is not None else []
    found = lab.run_all(bowls([3, 5]))
    assert_same(found, expected)
    assert len(built(log)) - len(before) == 2 - len(kept)


def test_errors_arrive_as_themselves(lab: Lab, tmp_path: Path) -> None:
    cells = [Cell(ts.problem("bowl", dim=3), ts.algorithm("sgd", lr=0.1), 5, measure=("no_such_measure",))]
    with pytest.raises(TheorysimError, match="no_such_measure"):
        lab.run_all(cells)

    def failing(x: int) -> float:
        return 1 / x

    with pytest.raises(ZeroDivisionError) as caught:
        lab.map(failing, [1, 0])
    assert "It was raised on" in caught.value.__notes__[0] and "in failing" in caught.value.__notes__[0]
    assert lab.map(failing, [2]) == [0.5]


def test_what_workers_do_not_have_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    typed: Any = lambda draws, dim=3, noise=0.0: None  # noqa: E731
    typed.__module__ = "__main__"
    with PROBLEMS.replaced("bowl", typed), pytest.raises(TheorysimError, match="at a prompt.*workers do not have it"):
        lab.run_all(bowls([3]))
    cell = bowls([3])[0]
    monkeypatch.setattr("theorysim.cluster.cell_key", lambda cell, device: "f" * 64)
    with pytest.raises(TheorysimError, match="another version of bowl or sgd"):
        lab.run(cell)
    monkeypatch.undo()
    monkeypatch.setattr("theorysim.cluster.sources", lambda: "0" * 64)
    with pytest.raises(TheorysimError, match="other sources of theorysim"):
        lab.run(cell)


def test_a_killed_client_goes_on_where_it_was_and_leaves_no_process(tmp_path: Path, log: Path) -> None:
    def finished() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/cells/*/*.cell")}

    whole = ts.check("bowl_paper", store=Store(tmp_path / "whole")).findings
    log.unlink(missing_ok=True)
    client = start(
        "check", "bowl_paper", "--jobs", "2", cwd=tmp_path, THEORYSIM_CACHE=str(tmp_path / "cache"), BOWL_SECONDS="0.03"
    )
    deadline = time.monotonic() + 60
    while len(finished()) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    processes = psutil.Process(client.pid).children()
    client.kill()
    client.communicate()
    kept = finished()
    assert len(processes) == 2 and 3 <= len(kept) < 10
    assert not psutil.wait_procs(processes, timeout=20)[1]
    assert len(built(log)) <= len(kept) + 4
    log.unlink()
    assert ts.check("bowl_paper", store=Store(tmp_path / "cache")).findings == whole
    assert len(built(log)) == 10 - len(kept) and kept.items() <= finished().items()


# ------------------------------------------------------------------------------------------------ a scheduler elsewhere
class Remote:
    """A scheduler and its workers, started by somebody else."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.begin("scheduler")

    def need_worker(self) -> None:
        """A scheduler and a worker that live, whatever was killed before."""
        if any(process.poll() is not None for process in self.processes):
            self.close()
            self.processes = []
            self.begin("scheduler")
        if len(self.processes) == 1:
            self.begin("worker")

    def begin(self, what: str, root: Path = ROOT) -> subprocess.Popen[bytes]:
        env = environment(OPENBLAS_NUM_THREADS="1", BOWL_SECONDS="0.01")
        env["PYTHONPATH"] = os.pathsep.join([str(root), str(ROOT / "tests" / "plugin")])
        own = ["--host", self.address] if what == "scheduler" else [self.address, "--nthreads", "1", "--no-nanny"]
        command = [sys.executable, "-P", "-m", f"distributed.cli.dask_{what}", *own, "--no-dashboard"]
        self.processes.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return self.processes[-1]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def remote(log: Path) -> Iterator[Remote]:
    started = Remote()
    yield started
    started.close()


def test_a_cluster_without_workers_is_not_waited_for_forever(remote: Remote) -> None:
    with pytest.raises(TheorysimError, match="has had no workers for 1 s"), workers(cluster=remote.address, patience=1.0):
        pass


def test_workers_with_other_sources_are_refused(remote: Remote, tmp_path: Path) -> None:
    for folder in ("theorysim", "problems", "analyses", "paper_checks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "paper_checks" / "mass.py").open("a") as file:
        file.write("# edited\n")
    stale = remote.begin("worker", tmp_path)
    with pytest.raises(TheorysimError, match="other sources of theorysim"), workers(cluster=remote.address):
        pass
    stale.kill()
    stale.wait()
    remote.processes.remove(stale)


def test_a_scheduler_may_be_restarted(remote: Remote, tmp_path: Path, log: Path) -> None:
    cells = bowls(range(2, 12))
    expected = undisturbed(cells, log)
    kept: dict[Path, int] = {}

    def restarting(done: int, total: int) -> None:
        if done == 3 and not kept:
            kept.update({path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/*.cell")})
            remote.close()
            remote.need_worker()

    remote.need_worker()
    with pytest.warns(ClusterFault, match="does not answer"), workers(cluster=remote.address) as executor:
        found = Lab(store=Store(tmp_path), executor=executor, progress=restarting).run_all(cells)
    assert_same(found, expected)
    assert len(kept) == 3 and kept.items() <= {p: p.stat().st_mtime_ns for p in tmp_path.glob("cells/*/*.cell")}.items()
    again = built(log)
    for dim in range(2, 12):
        again.remove(dim)
    assert len(again) <= 2


def test_when_all_workers_are_gone_a_new_one_is_waited_for(remote: Remote, log: Path) -> None:
    cells = bowls([2, 3, 4])
    expected = undisturbed(cells, log)

    def replacing(done: int, total: int) -> None:
        if done == 1:
            remote.processes.pop().kill()
            remote.begin("worker")

    remote.need_worker()
    with workers(cluster=remote.address) as executor:
        assert_same(Lab(executor=executor, progress=replacing).run_all(cells), expected)


def test_a_scheduler_that_stays_away_is_not_waited_for_forever(remote: Remote, log: Path) -> None:
    def killing(done: int, total: int) -> None:
        if done == 1:
            remote.close()

    remote.need_worker()
    with (
        pytest.warns(ClusterFault, match="does not answer"),
        pytest.raises(TheorysimError, match="has not returned for 0.5 s.*finished cells are kept"),
        workers(cluster=remote.address, patience=0.5) as executor,
    ):
        Lab(executor=executor, progress=killing).run_all(bowls(range(2, 12)))


# ------------------------------------------------------------------------------------------------ requests
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"jobs": 2, "cluster": "tcp://127.0.0.1:8786"}, "give one of them"),
        ({"jobs": 0}, "jobs"),
        ({"jobs": 1.5}, "jobs"),
        ({"cluster": "tcp://127.0.0.1:9"}, "no Dask scheduler answers at tcp://127.0.0.1:9"),
        ({"cluster": "nonsense"}, "'nonsense' is no address"),
        ({"cluster": "ftp://nonsense:1"}, "is no address"),
    ],
)
def test_a_wrong_request_says_so(request_: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("theorysim.cluster._CONNECT", 0.3)
    with pytest.raises(TheorysimError, match=message):
        ts.sweep("anisotropic_quadratic", "gradient_descent", {"dim": [2, 3]}, ts.final(), steps=2, **request_)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("theorysim.cluster.importlib.util.find_spec", lambda name: None)
    with pytest.raises(TheorysimError, match=r'pip install "theorysim\[cluster\]"'), workers(jobs=2):
        pass


def test_the_command_line_refuses_in_one_line(tmp_path: Path) -> None:
    done = theorysim("check", "bowl_paper", "--jobs", "0", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("Error: ") and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "theorysim-report").exists()


def test_an_error_that_cannot_travel_is_told_in_words() -> None:
    class Local(Exception):
        """Cannot be found where it arrives."""

    error = worker._portable(Local("no way"))
    assert isinstance(error, RuntimeError) and "Local: no way" in str(error)
    assert worker._portable(TheorysimError("no way")).args == ("no way",)


def test_gpus_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert visible_gpus() == ["2", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_an_answer_that_is_lost_with_its_worker_is_not_waited_for() -> None:
    """Nobody computes it anew while the client waits, for the client is who starts new workers."""

    class Future:
        def __init__(self, status: str, *answers: bytes | None) -> None:
            self.status, self.answers = status, list(answers)

        def result(self, timeout: float) -> bytes:
            found = self.answers.pop(0)
            if found is None:
                raise TimeoutError
            return found

    there, slow, lost = Future("finished", b"a"), Future("finished", None, b"b"), Future("pending", None)
    assert object.__new__(Cluster).fetch([there, slow, lost]) == [b"a", b"b", Fate.FORGOTTEN]
