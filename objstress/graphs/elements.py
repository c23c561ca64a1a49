"""Properties of the elements, for networks that meet more of them than they have data for."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

import numpy as np
from pymatgen.core import Element, Structure

LAST = 94
"""Plutonium."""
NAMES = (
    "period", "group", "electronegativity", "atomic radius", "mass", "melting point",
    "boiling point", "molar volume", "bulk modulus", "ionization energy", "electron affinity",
    "Mendeleev number", "s electrons", "p electrons", "d electrons", "f electrons",
)  # fmt: skip


@lru_cache(maxsize=1)
def element_descriptors() -> np.ndarray:
    """Properties of the elements 1 to 94 by pymatgen, (94, 16), mean 0 and deviation 1 each.

    Those named in `NAMES`; radius, mass, temperatures, volume and bulk modulus by their
    logarithms. What is not known of an element is the mean of all.
    """
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of what is not known
        for z in range(1, LAST + 1):
            e = Element.from_Z(z)
            outer = e.electronic_structure.rpartition("]")[2]  # "[Ar].3d10.4s1" without the core
            shells = dict.fromkeys("spdf", 0)
            for l, count in re.findall(r"\d([spdf])(\d+)", outer):
                shells[l] += int(count)
            sizes = (
                e.atomic_radius, float(e.atomic_mass), e.melting_point, e.boiling_point,
                e.molar_volume, e.bulk_modulus,
            )  # fmt: skip
            logarithms = [np.log(float(x)) if x else np.nan for x in sizes]
            rows.append(
                [
                    e.row,
                    e.group,
                    e.X,
                    *logarithms,
                    e.ionization_energy,
                    e.electron_affinity,
                    e.mendeleev_no,
                    *shells.values(),
                ]
            )
    table = np.array(rows, dtype=np.float64)
    table = (table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0)
    table = np.nan_to_num(table, nan=0.0)
    table.setflags(write=False)
    return table


def crystal_descriptors(structure: Structure) -> np.ndarray:
    """Mean `element_descriptors` of the atoms and the logarithm of the volume of an atom.

    Args:
        structure: a crystal of elements up to plutonium.

    Returns:
        Shape (17,), the last one ln of Angstrom^3.
    """
    table = element_descriptors()[[site.specie.Z - 1 for site in structure]]
    return np.append(table.mean(axis=0), np.log(structure.volume / len(structure)))
