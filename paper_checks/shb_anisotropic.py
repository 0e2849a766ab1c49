"""SHB with step decay under anisotropic gradient noise (Pan, Liu, Wang, Zhang; ICLR 2024): the claims, the headline first.

The paper and the notation are in _shb_paper.py. Importing a part registers its claims, so the order here is the report's.
"""

# isort: off
from theorysim.paper_checks import _shb_split  # noqa: F401
from theorysim.paper_checks import _shb_bias  # noqa: F401
from theorysim.paper_checks import _shb_variance  # noqa: F401
from theorysim.paper_checks import _shb_constant  # noqa: F401
from theorysim.paper_checks import _shb_bound  # noqa: F401
from theorysim.paper_checks import _shb_batch  # noqa: F401
from theorysim.paper_checks import _shb_schedules  # noqa: F401
from theorysim.paper_checks import _shb_assumptions  # noqa: F401
from theorysim.paper_checks import _shb_recursion  # noqa: F401
from theorysim.paper_checks import _shb_simulation  # noqa: F401
from theorysim.paper_checks._shb_paper import PAPER

__all__ = ["PAPER"]
