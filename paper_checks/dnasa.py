"""Problem-parameter-free decentralized nonconvex stochastic optimization (Li, Chen, Ma, Hong, 2024): the claims, the headline
first.

The paper and the notation are in _dnasa_paper.py. Importing a part registers its claims, so the order here is the report's.
"""

# isort: off
from theorysim.paper_checks import _dnasa_untuned  # noqa: F401
from theorysim.paper_checks import _dnasa_rates  # noqa: F401
from theorysim.paper_checks import _dnasa_bound  # noqa: F401
from theorysim.paper_checks import _dnasa_schedule  # noqa: F401
from theorysim.paper_checks import _dnasa_heterogeneity  # noqa: F401
from theorysim.paper_checks import _dnasa_assumptions  # noqa: F401
from theorysim.paper_checks._dnasa_paper import PAPER

__all__ = ["PAPER"]
