"""The standard frame of a crystal's tensors, and the crystal turned into it."""

from __future__ import annotations

import warnings

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.core.tensors import Tensor


def ieee_rotation(structure: Structure) -> np.ndarray:
    """Q with v_IEEE = Q v: rows are the standard axes in the structure's own frame, det Q = 1.

    Cubic, tetragonal and orthorhombic: along the conventional axes; hexagonal and trigonal: z along
    c, x along a; monoclinic: y along b, z along c; triclinic: z along c, x across b and c. By
    pymatgen, IEEE Standard on Piezoelectricity, ANSI/IEEE Std 176-1987; the conventional cell is
    spglib's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(Tensor.get_ieee_rotation(structure, refine_rotation=True))


def turned_structure(structure: Structure, q: np.ndarray) -> Structure:
    """The structure turned by q: lattice vectors q a."""
    lattice = Lattice(structure.lattice.matrix @ np.asarray(q).T)
    return Structure(lattice, [site.specie for site in structure], structure.frac_coords)
