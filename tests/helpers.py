"""Small things that tests share."""

import numpy as np
import torch

from objstress.symmetry.tensors import voigt_to_mandel


def polynomial_of_stiffness(polynomial, stiffness):
    """Coefficients of the quadratic invariants that give these elastic constants (6 x 6, GPa)."""
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = x.numpy() @ voigt_to_mandel(stiffness)
    design = polynomial.design(x).reshape(-1, len(polynomial.degrees))
    return np.linalg.lstsq(design, target.ravel(), rcond=None)[0]


def random_rotation(seed=0):
    from scipy.spatial.transform import Rotation

    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
