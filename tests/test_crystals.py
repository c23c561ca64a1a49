"""The seven crystal systems: data, laws and what the ions do inside the cell."""

import numpy as np
import pytest

from objstress import InputError, PointGroup, fit_law, load_law
from objstress.elasticity.strain import right_stretch
from objstress.labels.differences import elastic_differences
from objstress.labels.reading import read_labels
from objstress.labels.strains import fundamental, sample_strains
from objstress.laws.strain_energy import third_order_stiffness
from objstress.symmetry.crystal import site_operations
from objstress.symmetry.voigt import from_mandel, to_mandel
from objstress.training.laws.third_order import third_order_differences
from tests.conftest import DATA

CRYSTALS = DATA.parent / "crystals"
SYSTEMS = {
    "copper": "m-3m",
    "magnesium": "6/mmm",
    "gallium-nitride": "6mm",
    "gallium-phosphide": "6mm",
    "quartz": "32",
    "stishovite": "4/mmm",
    "forsterite": "mmm",
    "coesite": "2/m",
    "kyanite": "-1",
}


def labels_of(name, kind=""):
    return read_labels(CRYSTALS / f"{name}{kind}.extxyz", CRYSTALS / f"{name}.cif")


@pytest.fixture(scope="module")
def quartz():
    return fit_law(
        CRYSTALS / "quartz.extxyz", CRYSTALS / "quartz.cif", use_network=False, progress=False
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_its_labels(name):
    group = PointGroup.from_structure(CRYSTALS / f"{name}.cif")
    assert group.symbol == SYSTEMS[name]
    labels = labels_of(name)
    assert labels.ions == "relaxed"
    # The axes are those of the standard setting, so that the group fits the file without atoms.
    standard = PointGroup(SYSTEMS[name]).operations
    gap = np.abs(group.operations[:, None] - standard[None]).max(axis=(2, 3)).min(axis=1)
    assert gap.max() < 1e-6
    # Free of stress at F = I, and drawn from one image of the strain ball alone.
    assert np.abs(labels.cauchy[0]).max() < (0.1 if name == "gallium-phosphide" else 1e-3)
    x = to_mandel(labels.strain[1:])
    assert fundamental(x, group).all()
    assert np.linalg.matrix_rank(x) == 6


@pytest.mark.parametrize("name", ["copper", "magnesium", "stishovite"])
def test_laws_meet_their_bars(name):
    law = fit_law(
        CRYSTALS / f"{name}.extxyz", CRYSTALS / f"{name}.cif", use_network=False, progress=False
    )
    assert law.metadata["held_out"]["both"]["relative_rmse"] < 0.01
    teacher, ours = elastic_differences(labels_of(name, "-elastic")), law.stiffness()
    large = np.abs(teacher) > 0.01 * teacher.max()
    assert np.abs(ours[large] / teacher[large] - 1).max() < 0.01
    # What symmetry forbids is zero, not small.
    allowed = np.abs(ours) > 1e-3 * ours.max()
    assert np.abs(ours[~allowed]).max(initial=0) < 1e-12 * ours[0, 0]


def test_quartz_has_c14_and_its_sign(quartz):
    c = quartz.stiffness()
    # Two-fold axis along x, c along z: in this setting of P3_2 21 C14 is positive.
    assert c[0, 3] == pytest.approx(16.8, abs=0.2)
    assert c[1, 3] == pytest.approx(-c[0, 3], rel=1e-12)
    assert c[4, 5] == pytest.approx(c[0, 3], rel=1e-12)
    teacher = elastic_differences(labels_of("quartz", "-elastic"))
    assert np.sign(teacher[0, 3]) == np.sign(c[0, 3])


def test_third_order_constants_of_copper():
    labels = labels_of("copper", "-third")
    law = fit_law(
        CRYSTALS / "copper.extxyz", CRYSTALS / "copper.cif", use_network=False, progress=False
    )
    teacher = third_order_differences(labels, law.point_group)
    ours = third_order_stiffness(law)
    assert np.abs(ours - teacher).max() < 0.05 * np.abs(teacher).max()
    for a, b in (((0, 0, 1), (0, 1, 0)), ((0, 4, 4), (0, 5, 5)), ((0, 0, 0), (2, 2, 2))):
        assert teacher[a] == pytest.approx(teacher[b], rel=1e-9)
        assert ours[a] == pytest.approx(ours[b], rel=1e-6)


def test_internal_displacements_follow_the_labels_and_the_symmetry(quartz):
    labels = labels_of("quartz")
    u = quartz.internal_displacements(labels.F)
    assert np.sqrt(((u - labels.moves) ** 2).sum(-1).mean()) < 1e-3
    assert np.linalg.norm(labels.moves, axis=-1).max() > 0.1  # there is something to follow
    assert np.abs(u.sum(axis=1)).max() < 1e-9
    # u of the turned strain is the turned u, its sites permuted.
    strains = 0.03 * np.random.default_rng(0).normal(size=(4, 6)) / np.sqrt(6)
    plain = quartz.internal_displacements(right_stretch(from_mandel(strains)))
    for g, p in zip(*site_operations(quartz.structure), strict=True):
        turned = g @ from_mandel(strains) @ g.T
        moved = quartz.internal_displacements(right_stretch(turned))
        assert np.abs(moved[:, p] - plain @ g.T).max() < 1e-9


def test_internal_displacements_survive_the_file_or_are_refused(quartz, quick_law, tmp_path):
    quartz.save(tmp_path / "quartz.law")
    f = right_stretch(sample_strains(3, 0.03))
    again = load_law(tmp_path / "quartz.law")
    assert np.array_equal(again.internal_displacements(f), quartz.internal_displacements(f))
    with pytest.raises(InputError, match="no internal displacements"):
        quick_law.internal_displacements(f)


def test_equivalent_atoms_have_equivalent_energies():
    """Site symmetry on the graph of a whole cell: nine atoms of quartz, random weights."""
    import torch

    from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
    from objstress.symmetry.crystal import primitive_cell
    from objstress.symmetry.reading import read_structure
    from objstress.symmetry.voigt import mandel_rotations

    structure = primitive_cell(read_structure(CRYSTALS / "quartz.cif"))
    group = PointGroup.from_structure(structure)
    torch.manual_seed(0)
    network = ConstitutiveNetwork(structure, group, NetworkSettings(channels=4))
    seen = {}
    network.readout.register_forward_pre_hook(
        lambda module, args: seen.update(scalars=args[0][(0, 1)].detach())
    )
    x = 0.05 * torch.randn(1, 6, dtype=torch.float64)
    network(x)
    plain = seen["scalars"]
    rotations, permutations = site_operations(structure)
    for m, p in zip(mandel_rotations(rotations), permutations, strict=True):
        network(x @ torch.tensor(m).T)
        torch.testing.assert_close(seen["scalars"][p], plain, rtol=1e-9, atol=1e-9)
    # Silicon and oxygen differ, and so do oxygens once the strain has told them apart.
    assert (plain[0] - plain[3]).abs().max() > 1e-3


def test_strains_are_drawn_from_one_image_alone():
    group = PointGroup("m-3m")
    e = sample_strains(120, 0.08, group=group)
    assert len(e) == 120
    x = to_mandel(e)
    assert fundamental(x, group).all()
    # Every strain has an image there, and a generic one has no more than one.
    from objstress.symmetry.voigt import mandel_rotations

    rotations = np.unique(np.round(mandel_rotations(group.operations), 12), axis=0)
    assert len(rotations) == 24
    some = np.random.default_rng(3).normal(size=(50, 6))
    inside = np.array([fundamental(some @ m.T, group) for m in rotations])
    assert (inside.sum(axis=0) == 1).all()
    assert np.array_equal(e[:50], sample_strains(50, 0.08, group=group))
