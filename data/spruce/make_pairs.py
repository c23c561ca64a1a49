"""Make `pairs.csv`, strains and stresses of spruce wood: `python data/spruce/make_pairs.py`.

Nine constants of Sitka spruce at 12 % moisture from the Wood Handbook (Forest Products
Laboratory, FPL-GTR-282, 2021), tables 5-1 (ratios of moduli), 5-2 (Poisson's ratios) and 5-3
(bending modulus 10.8 GPa, of which the longitudinal one is 1.1 times). The pairs stand for
measured ones: each stress component carries a random error of 0.5 % of the pair's largest.
"""

from pathlib import Path

import numpy as np

from objstress.io.files import write_whole
from objstress.labels.strains import sample_strains
from objstress.symmetry.voigt import VOIGT_PAIRS, from_mandel, to_mandel, voigt_to_mandel

HERE = Path(__file__).parent
E_L = 11.9
"""GPa."""
E_R, E_T = 0.078 * E_L, 0.043 * E_L
G_LR, G_LT, G_RT = 0.064 * E_L, 0.061 * E_L, 0.003 * E_L
NU_LR, NU_LT, NU_RT = 0.372, 0.467, 0.435


def stiffness() -> np.ndarray:
    """6 x 6 Voigt, GPa; x along the grain (L), y radial (R), z tangential (T)."""
    compliance = np.diag([1 / E_L, 1 / E_R, 1 / E_T, 1 / G_RT, 1 / G_LT, 1 / G_LR])
    for (i, j), value in {(0, 1): NU_LR / E_L, (0, 2): NU_LT / E_L, (1, 2): NU_RT / E_R}.items():
        compliance[i, j] = compliance[j, i] = -value
    return np.linalg.inv(compliance)


def pairs(count: int = 60, max_strain: float = 0.005, noise: float = 0.005) -> str:
    strains = sample_strains(count, max_strain)
    stresses = from_mandel(to_mandel(strains) @ voigt_to_mandel(stiffness()))
    largest = np.abs(stresses).max(axis=(1, 2), keepdims=True)
    error = np.random.default_rng(0).normal(size=stresses.shape) * noise * largest
    stresses = stresses + 0.5 * (error + error.transpose(0, 2, 1))
    lines = [
        "# Sitka spruce, 12 % moisture: Green-Lagrange strain and second Piola-Kirchhoff stress",
        "# (GPa), 1 along the grain, 2 radial, 3 tangential. Constants: Wood Handbook (2021),",
        "# tables 5-1 to 5-3; 0.5 % of random error, see make_pairs.py.",
        ",".join([f"{kind}{i + 1}{j + 1}" for kind in "ES" for i, j in VOIGT_PAIRS]),
    ]
    for e, s in zip(strains, stresses, strict=True):
        lines.append(",".join(f"{t[i, j]:.9g}" for t in (e, s) for i, j in VOIGT_PAIRS))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_whole(HERE / "pairs.csv", pairs().encode())
