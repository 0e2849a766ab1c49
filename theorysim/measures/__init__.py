"""What can be recorded of a run; importing a file registers its measures."""

from theorysim.measures import agents, gradients, iterates, matrices, states  # noqa: F401
from theorysim.measures.measure import MEASURES, Measure, View, build_measure, register_measure

__all__ = ["MEASURES", "Measure", "View", "build_measure", "register_measure"]
