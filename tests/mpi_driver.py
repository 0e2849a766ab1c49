"""Run by ``mpiexec -n m python mpi_driver.py JOBS OUT``: many cells by one launch, and a record of who spoke to whom.

JOBS: JSON, a list of [[problem, parameters], [algorithm, parameters], steps, runs, seed]. OUT: an .npz file with the points of
job i as ``points_i`` and, as ``log``, JSON: for every job and process the calls of MPI, ``[name, partner]`` in order.
"""

from __future__ import annotations

import json
import sys
import traceback

import numpy as np

from theorysim.distributed import run_agents, world
from theorysim.model import Cell
from theorysim.registry import algorithm, problem


class Recorder:
    """A communicator that can do what it lists here and nothing else, and writes down every message and every collective call."""

    def __init__(self, real):
        self.real, self.log = real, []
        self.Get_rank, self.Get_size = real.Get_rank, real.Get_size

    def Isend(self, buffer, dest):
        self.log.append(("Isend", dest))
        return self.real.Isend(buffer, dest=dest)

    def Irecv(self, buffer, source):
        self.log.append(("Irecv", source))
        return self.real.Irecv(buffer, source=source)

    def gather(self, value, root):
        self.log.append(("gather", root))
        return self.real.gather(value, root=root)

    def allgather(self, value):
        self.log.append(("allgather", None))
        return self.real.allgather(value)


def main(jobs, out):
    """Every job in turn; the first process writes what came of it."""
    real, found, logs = world(), {}, []
    with open(jobs, encoding="utf-8") as file:
        listed = json.load(file)
    for i, ((what, of), (how, by), steps, runs, seed) in enumerate(listed):
        recorder = Recorder(real)
        cell = Cell(problem(what, **of), algorithm(how, **by), steps, runs=runs, record="all", seed=seed)
        gathered = run_agents(cell, recorder)
        logs.append(real.gather(recorder.log))
        if gathered is not None:
            found |= {f"points_{i}": gathered.points, f"sent_{i}": gathered.sent, f"messages_{i}": gathered.calls["messages"]}
    if real.Get_rank() == 0:
        np.savez(out, log=json.dumps(logs), **found)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        world().Abort(70)
