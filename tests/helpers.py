"""Small things that tests share."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from ase.spacegroup import crystal
from pymatgen.core import Structure

from objstress.symmetry.voigt import voigt_to_mandel

MPIEXEC = Path(sys.executable).with_name("mpiexec")


def printed_on(module, ranks):
    """What `on_ranks` of a module prints last, JSON, on this number of ranks."""
    program = f"from {module} import on_ranks; on_ranks()"
    run = [sys.executable, "-W", "ignore", "-c", program]
    if ranks > 1:
        run = [str(MPIEXEC), "-n", str(ranks), *run]
    root = Path(__file__).parents[1]
    done = subprocess.run(run, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def polynomial_of_stiffness(polynomial, stiffness):
    """Coefficients of the quadratic invariants that give these elastic constants (6 x 6, GPa)."""
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = x.numpy() @ voigt_to_mandel(stiffness)
    design = polynomial.design(x).reshape(-1, len(polynomial.degrees))
    return np.linalg.lstsq(design, target.ravel(), rcond=None)[0]


def conventional_cell(number, lattice, species, sites):
    """As pymatgen's `Structure.from_spacegroup`, which takes two seconds for a cubic group."""
    atoms = crystal(list(species), sites, spacegroup=number, cellpar=lattice.parameters)
    return Structure(lattice, atoms.get_chemical_symbols(), atoms.get_scaled_positions())


def random_rotation(seed=0):
    from scipy.spatial.transform import Rotation

    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()


def read_vtx(path, step=-1):
    """What a VTX file holds at one of its times: {name: (n, k)}, rank after rank.

    With it `times`, `connectivity` (cells, k) and, as `places`, {name: "PointData" or ...}.
    """
    adios2 = pytest.importorskip("adios2")
    alone = ("step", "types", "NumberOfNodes", "NumberOfEntities")
    with adios2.FileReader(str(path)) as file:
        variables = file.available_variables()
        steps = int(variables["step"]["AvailableStepsCount"])
        step %= steps
        ranks = range(len(file.all_blocks_info("geometry")[step]))

        def pieces(name):
            return [file.read(name, block_id=k, step_selection=[step, 1]) for k in ranks]

        found = {name: np.concatenate(pieces(name)) for name in set(variables) - set(alone)}
        # Each rank counts its nodes from 0; the first column is their number.
        first = np.cumsum([0] + [len(x) for x in pieces("geometry")])
        cells = [c[:, 1:] + n for c, n in zip(pieces("connectivity"), first, strict=False)]
        found["connectivity"] = np.concatenate(cells)
        found["times"] = np.atleast_1d(file.read("step", step_selection=[0, steps]))
        schema = file.available_attributes()["vtk.xml"]["Value"].strip('"')
    found["places"] = {
        array.get("Name"): place.tag
        for place in ElementTree.fromstring(schema).iter()
        for array in place.findall("DataArray")
    }
    return found
