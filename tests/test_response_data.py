"""The tensors by DFPT in data/tensors have their crystals' symmetry."""

from pathlib import Path

import numpy as np
import pytest

from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import TensorForm
from objstress.training.tensors.data import read_crystal_tensors

DATA = Path(__file__).parents[1] / "data" / "tensors" / "response.json"


@pytest.mark.parametrize("kind", ["dielectric", "piezoelectric"])
def test_tensors_have_the_form_of_the_point_group(kind):
    structures, tensors = read_crystal_tensors(DATA, kind, kind)
    assert len(structures) >= 40
    for structure, tensor in zip(structures, tensors, strict=True):
        form = TensorForm(PointGroup.of_primitive_cell(structure), kind)
        # k points of a finite mesh leave a little.
        np.testing.assert_allclose(form.project(tensor), tensor, atol=0.02 * max(1, tensor.max()))


def test_born_charges_sum_to_zero():
    for tensor in read_crystal_tensors(DATA, "born charges", "born_charges")[1]:
        np.testing.assert_allclose(tensor.sum(0), 0, atol=1e-4)
