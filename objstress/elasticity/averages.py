"""What follows from elastic constants for a polycrystal, and whether the crystal is stable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from objstress.symmetry.voigt import from_mandel, voigt_to_mandel

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class Moduli:
    """Isotropic moduli of one average.

    Attributes:
        bulk: K, GPa.
        shear: G, GPa.
        young: Young's modulus E, GPa.
        poisson: Poisson's ratio.
    """

    bulk: float
    shear: float
    young: float
    poisson: float

    @classmethod
    def of(cls, bulk: float, shear: float) -> Moduli:
        r"""Moduli of a bulk and a shear modulus.

        .. math:: E = 9 K G / (3 K + G), \qquad \nu = (3 K - 2 G) / (6 K + 2 G)

        Args:
            bulk: K, GPa.
            shear: G, GPa.
        """
        return cls(
            bulk,
            shear,
            9 * bulk * shear / (3 * bulk + shear),
            (3 * bulk - 2 * shear) / (6 * bulk + 2 * shear),
        )


@dataclass(frozen=True)
class Stability:
    """Born's condition: every strain costs energy.

    Attributes:
        stable: whether all eigenvalues of C are positive.
        eigenvalues: of C in Mandel form, GPa, rising.
        softest_strain: that of the least one, unit length, 3 x 3: along it an unstable crystal
            fails.
    """

    stable: bool
    eigenvalues: tuple[float, ...]
    softest_strain: np.ndarray


def born_stability(stiffness: np.ndarray) -> Stability:
    """Mechanical stability of a crystal by the eigenvalues of C.

    Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014).

    Args:
        stiffness: 6 x 6 Voigt, GPa.
    """
    values, vectors = np.linalg.eigh(voigt_to_mandel(np.asarray(stiffness)))
    softest = from_mandel(vectors[:, 0])
    # One sign for all: that of the largest component.
    softest = softest * np.sign(softest.ravel()[np.abs(softest).argmax()])
    return Stability(bool(values[0] > 0), tuple(map(float, values)), softest)


@dataclass(frozen=True)
class PolycrystalAverages:
    """A polycrystal without texture, by the elastic constants of its grains.

    Attributes:
        voigt: moduli at equal strain, GPa.
        reuss: moduli at equal stress, GPa.
        hill: the mean of both, GPa.
        universal_anisotropy: 5 G_V / G_R + K_V / K_R - 6 (Ranganathan and Ostoja-Starzewski, Phys.
            Rev. Lett. 101, 055504 (2008)); 0 if isotropic.
        pugh_ratio: K / G (Hill); above 1.75 metals tend to be ductile (Pugh, Phil. Mag. 45, 823
            (1954)).
        hardness_GPa: estimates of Vickers's hardness by author, from Hill's K and G: Teter (MRS
            Bull. 23, 22 (1998)) 0.151 G; Chen (Intermetallics 19, 1275 (2011)) 2 (G^3 / K^2)^0.585
            - 3; Tian (Int. J. Refract. Met. Hard Mater. 33, 93 (2012)) 0.92 (G / K)^1.137 G^0.708;
            Miao (Comput. Mater. Sci. 50, 1559 (2011)) (1 - 2 nu) E / (6 (1 + nu)). They are fitted
            to hard ceramics and mean little for soft metals.
    """

    voigt: Moduli
    reuss: Moduli
    hill: Moduli
    universal_anisotropy: float
    pugh_ratio: float
    hardness_GPa: dict[str, float]


def polycrystal_averages(stiffness: np.ndarray) -> PolycrystalAverages:
    """Averages of a polycrystal without texture, and what follows from them.

    Args:
        stiffness: C of a stable crystal, 6 x 6 Voigt, GPa, any frame.
    """
    from pymatgen.analysis.elasticity import ElasticTensor

    tensor = ElasticTensor.from_voigt(np.asarray(stiffness, dtype=np.float64))
    voigt, reuss, hill = (
        Moduli.of(float(k), float(g))
        for k, g in (
            (tensor.k_voigt, tensor.g_voigt),
            (tensor.k_reuss, tensor.g_reuss),
            (tensor.k_vrh, tensor.g_vrh),
        )
    )
    k, g = hill.bulk, hill.shear
    hardness = {
        "Teter": 0.151 * g,
        "Chen": 2 * (g**3 / k**2) ** 0.585 - 3,
        "Tian": 0.92 * (g / k) ** 1.137 * g**0.708,
        "Miao": (1 - 2 * hill.poisson) * hill.young / (6 * (1 + hill.poisson)),
    }
    return PolycrystalAverages(
        voigt, reuss, hill, float(tensor.universal_anisotropy), k / g, hardness
    )


def zener_ratio(stiffness: np.ndarray) -> float:
    """Zener's ratio 2 C44 / (C11 - C12) of a cubic crystal; 1 if isotropic.

    Zener, Elasticity and Anelasticity of Metals (1948).

    Args:
        stiffness: 6 x 6 Voigt, GPa, cube axes along x, y, z.
    """
    c = np.asarray(stiffness)
    return float(2 * c[3, 3] / (c[0, 0] - c[0, 1]))


def cauchy_pressures(stiffness: np.ndarray) -> dict[str, float]:
    """Cauchy pressures C12 - C66, C13 - C55 and C23 - C44.

    Zero where forces are central and every atom is a centre of symmetry, negative where bonds
    resist bending.

    Args:
        stiffness: 6 x 6 Voigt, GPa.

    Returns:
        {"C12 - C66": value, ...} in GPa, in the frame of C.
    """
    c = np.asarray(stiffness)
    return {
        "C12 - C66": float(c[0, 1] - c[5, 5]),
        "C13 - C55": float(c[0, 2] - c[4, 4]),
        "C23 - C44": float(c[1, 2] - c[3, 3]),
    }


@dataclass(frozen=True)
class ThermalProperties:
    """Sound, heat capacity and thermal conductivity of a polycrystal, from C and the density.

    Attributes:
        density: g/cm^3.
        longitudinal: sound speed by Hill's moduli, km/s.
        transverse: sound speed by Hill's moduli, km/s.
        mean: sound speed v_m, km/s, 3 / v_m^3 = 1 / v_l^3 + 2 / v_t^3 (Anderson, J. Phys. Chem.
            Solids 24, 909 (1963)).
        debye_temperature: (h / k_B) (3 N / 4 pi V)^(1/3) v_m, K.
        clarke_limit: least thermal conductivity, W/(m K), Clarke (Surf. Coat. Technol. 163, 67
            (2003)).
        cahill_limit: the same by Cahill, Watson and Pohl (Phys. Rev. B 46, 6131 (1992)).
    """

    density: float
    longitudinal: float
    transverse: float
    mean: float
    debye_temperature: float
    clarke_limit: float
    cahill_limit: float


def thermal_properties(stiffness: np.ndarray, structure: Structure) -> ThermalProperties:
    """Sound speeds, Debye temperature and minimum thermal conductivity of a polycrystal.

    Args:
        stiffness: of a stable crystal, 6 x 6 Voigt, GPa.
        structure: the crystal, for density and number of atoms.
    """
    from pymatgen.analysis.elasticity import ElasticTensor

    tensor = ElasticTensor.from_voigt(np.asarray(stiffness, dtype=np.float64))
    density = float(structure.density)
    k, g = float(tensor.k_vrh), float(tensor.g_vrh)
    longitudinal, transverse = np.sqrt((k + 4 * g / 3) / density), np.sqrt(g / density)
    mean = (3 / (1 / longitudinal**3 + 2 / transverse**3)) ** (1 / 3)
    return ThermalProperties(
        density,
        float(longitudinal),
        float(transverse),
        float(mean),
        float(tensor.debye_temperature(structure)),
        float(tensor.clarke_thermalcond(structure)),
        float(tensor.cahill_thermalcond(structure)),
    )


def plain_record(record: Any) -> dict[str, Any]:
    """A result's dataclass as plain numbers and lists.

    Args:
        record: a dataclass; arrays of it become lists.
    """
    return {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in asdict(record).items()
    }
