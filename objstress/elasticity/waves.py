"""Sound in crystals: speeds, polarisations and the direction in which the energy runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from objstress.errors import InputError
from objstress.symmetry.voigt import voigt_to_tensor


@dataclass(frozen=True)
class SoundWaves:
    """The three waves of each direction, slowest first.

    Attributes:
        directions: n, (..., 3).
        speed: phase velocities, km/s, (..., 3).
        polarization: unit displacement vectors, (..., 3 waves, 3).
        group_velocity: of the energy, km/s, (..., 3 waves, 3).
    """

    directions: np.ndarray
    speed: np.ndarray
    polarization: np.ndarray
    group_velocity: np.ndarray

    @property
    def longitudinal(self) -> np.ndarray:
        """Longitudinal part |e . n| of each wave, (..., 3): 1 longitudinal, 0 transverse."""
        return np.abs(np.einsum("...wi,...i->...w", self.polarization, self.directions))


def sound_waves(stiffness: np.ndarray, density: float, directions: np.ndarray) -> SoundWaves:
    r"""Sound waves of a crystal along given directions, by Christoffel's equation.

    .. math::

        (C_{ijkl} n_j n_l - \rho v^2 \delta_{ik}) e_k &= 0 \\
        v_{g,j} = C_{ijkl} e_i e_k n_l / (\rho v), &\qquad v_g \cdot n = v

    Musgrave, Crystal Acoustics (1970), chapters 3 and 7.

    Args:
        stiffness: 6 x 6 Voigt, GPa.
        density: g/cm^3.
        directions: (..., 3), any length.

    Raises:
        InputError: a density that is not positive, or a crystal in which some wave does not
            propagate (C n n is not positive).
    """
    if not density > 0:
        raise InputError(f"density = {density}: give g/cm^3")
    n = np.asarray(directions, dtype=np.float64)
    n = n / np.linalg.norm(n, axis=-1, keepdims=True)
    c = voigt_to_tensor(stiffness)
    values, vectors = np.linalg.eigh(np.einsum("ijkl,...j,...l->...ik", c, n, n))
    if (values <= 0).any():
        raise InputError("the crystal is unstable: in some direction a wave does not propagate")
    speed = np.sqrt(values / density)  # sqrt(GPa cm^3 / g) = km/s
    e = np.swapaxes(vectors, -1, -2)
    flow = np.einsum("ijkl,...wi,...wk,...l->...wj", c, e, e, n, optimize=True)
    return SoundWaves(n, speed, e, flow / (density * speed[..., None]))
