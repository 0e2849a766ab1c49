"""MaSS: Accelerating SGD with Momentum for Over-parameterized Learning (Liu, Belkin; ICLR 2020): the claims, the headline first.

The paper and the notation are in _mass_paper.py. Importing a part registers its claims, so the order here is the report's.
"""

# isort: off
from theorysim.paper_checks import _mass_rate  # noqa: F401
from theorysim.paper_checks import _mass_transient  # noqa: F401
from theorysim.paper_checks import _mass_iteration  # noqa: F401
from theorysim.paper_checks import _mass_momentum  # noqa: F401
from theorysim.paper_checks import _mass_batches  # noqa: F401
from theorysim.paper_checks import _mass_strong_growth  # noqa: F401
from theorysim.paper_checks import _mass_practice  # noqa: F401
from theorysim.paper_checks._mass_paper import PAPER

__all__ = ["PAPER"]
