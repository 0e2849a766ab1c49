"""Would a paper's checks notice a broken implementation? Deliberate faults, put into what a paper's claims use."""

from theorysim.mutation.mutants import MutationReport
from theorysim.mutation.selftest import run_selftest

__all__ = ["MutationReport", "run_selftest"]
