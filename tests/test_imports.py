"""What people wait for loads no more than it needs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from objstress.laws.learned import LearnedLaw
from objstress.laws.loading import load_law
from objstress.laws.polynomial import PolynomialLaw
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.crystal import primitive_cell
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_structure

SILICON = Path(__file__).parents[1] / "data" / "silicon" / "silicon.cif"
NEVER = ("lightning", "torch_geometric", "e3nn", "dask", "matplotlib", "pandas")


def loaded_after(code: str, names: tuple[str, ...]) -> set[str]:
    """Those of the packages that a process of its own has loaded after it ran the code."""
    code += f"\nimport sys\nprint(*(set({names!r}) & set(sys.modules)), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def laws(tmp_path_factory) -> dict[str, Path]:
    """Files of a learned and a polynomial law of silicon."""
    cell = primitive_cell(read_structure(SILICON))
    group = PointGroup.of_primitive_cell(cell)
    polynomial = InvariantPolynomial(group, 3)
    polynomial.set_coefficients(np.arange(100.0, 100.0 + len(polynomial.degrees)))
    folder = tmp_path_factory.mktemp("laws")
    made = {
        "learned": LearnedLaw(cell, group, polynomial, domain=100 * np.eye(6)),
        "polynomial": PolynomialLaw(polynomial, group, 100 * np.eye(6), structure=cell),
    }
    for name, law in made.items():
        law.save(folder / f"{name}.law")
    return {name: folder / f"{name}.law" for name in made}


@pytest.mark.parametrize("kind", ["learned", "polynomial"])
def test_a_stress_loads_neither_structures_nor_networks(laws, kind):
    code = f"""
import numpy as np
import objstress.laws
law = objstress.laws.load_law({str(laws[kind])!r})
assert law.kind == {kind!r}
assert law.stress(1.01 * np.eye(3)).shape == (3, 3)
"""
    assert not loaded_after(code, (*NEVER, "pymatgen", "ase", "spglib", "scipy"))


@pytest.mark.parametrize("kind", ["learned", "polynomial"])
def test_the_structure_of_a_law_is_there_when_asked_for(laws, kind):
    law = load_law(laws[kind])
    cell = primitive_cell(read_structure(SILICON))
    assert np.array_equal(law.structure.lattice.matrix, cell.lattice.matrix)
    assert law.structure is law.structure
    assert law.structure.composition == cell.composition


def test_a_law_is_saved_alike_whether_its_structure_was_asked_for(laws, tmp_path):
    law = load_law(laws["learned"])
    law.save(tmp_path / "before.law")
    assert law.structure is not None
    law.save(tmp_path / "after.law")
    assert (tmp_path / "before.law").read_bytes() == (tmp_path / "after.law").read_bytes()


def test_the_point_group_of_a_file_needs_neither_torch_nor_networks():
    code = f"""
from objstress.symmetry import PointGroup, TensorForm
group = PointGroup.from_structure({str(SILICON)!r})
assert group.symbol == "m-3m" and TensorForm(group, "elastic").independent == 3
"""
    assert not loaded_after(code, (*NEVER, "torch", "ase", "pandas"))


def test_algebra_of_elastic_constants_needs_no_torch():
    code = """
from objstress import elasticity
C = elasticity.cubic_stiffness(165.7, 63.9, 79.6)
elasticity.youngs_modulus(C, [1, 1, 1]), elasticity.isotropic_bounds(C)
elasticity.random_orientations(3), elasticity.sound_waves(C, 2.3, [1, 0, 0])
"""
    assert not loaded_after(code, (*NEVER, "torch", "pymatgen"))
