"""AdaGrad under anisotropic smoothness: the paper, and the settings that several of its claims share.

Letters: w_1 is the start, step t takes w_t to w_{t+1}, T steps use g_1..g_T; wbar is the mean of w_1..w_T; D_inf the largest
coordinate error max_{t<=T} |w_t - w*|_inf; L and sigma are vectors over coordinates; M is the batch size; eta the step size.
Evidence marks in each claim's source: *source* (read in the paper), *recalled*, *derived* (proved for this check).
"""

from __future__ import annotations

from theorysim.model import Paper

PAPER = Paper(
    name="adagrad_anisotropic",
    title="AdaGrad under Anisotropic Smoothness",
    authors="Yuxing Liu, Rui Pan, Tong Zhang",
    year=2025,
    venue="ICLR 2025",
    arxiv="2406.15244",
    summary="AdaGrad's rate depends on the l1 norm of the smoothness and the largest coordinate error, not on the dimension.",
    bibtex="""@inproceedings{liu2025adagrad,
  title     = {AdaGrad under Anisotropic Smoothness},
  author    = {Liu, Yuxing and Pan, Rui and Zhang, Tong},
  booktitle = {International Conference on Learning Representations},
  year      = {2025},
  note      = {arXiv:2406.15244}
}""",
)

# Pathwise bound of the convex theorem for any step size, with c = 1/(2 theta) + theta and theta = eta / D_inf.
CONVEX = "2*(D_inf/(2*eta) + eta/D_inf)**2*L_1norm*D_inf**2/T + eps*dim*D_inf**2/(eta*T)"
CONVEX_TERMS = {"D_inf": "max_distance:inf", "eta": "lr"}
