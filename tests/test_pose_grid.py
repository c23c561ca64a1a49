"""The energy on a grid: near the exact one, with its own exact gradient, the same for a batch."""

import pytest
import torch

from objstress.docking.energy import PoseEnergy, PoseEnergySettings
from objstress.docking.grid import SPACING, GridField

pytest.importorskip("rdkit")
pytest.importorskip("gemmi")

from objstress.docking.box import Box
from objstress.docking.complex import make_complex
from objstress.docking.protein import read_protein
from objstress.docking.search import Search


@pytest.fixture(scope="module")
def fields(pocket):
    """The exact energy, the grid's, and poses that do not overlap much."""
    path, ligand = pocket
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PoseEnergy(PoseEnergySettings(channels=4, scores=4, bessel=4, readout=4))
    box = Box.around(ligand.positions, 3.0)
    with torch.no_grad():
        exact = model.field(make_complex(ligand, read_protein(path)))
        search = Search(exact, box, 1)
        x, energy = search.descend(search.random_poses(24))
        grid = GridField(exact, torch.tensor(box.centre), torch.tensor(box.size))
    return exact, grid, x[energy.argsort()[:12]]


@torch.no_grad()
def test_it_is_the_exact_energy_but_for_its_spacing(fields):
    exact, grid, x = fields
    energy = exact(x)[0]
    error = (grid(x)[0] - energy).abs()
    # Half the largest curvature, 2 (CORE + log 2), times the square of half the spacing, for each
    # of three directions and of some ten contacts of each atom.
    assert error.max() < 10 * 3 * x.shape[1] * 1.7 * (SPACING / 2) ** 2
    # Overlaps are convex: all poses are too high, by nearly the same.
    assert error.max() - error.min() < 0.25 * energy.std()
    # What is not interpolated is the same.
    for one, two in zip(grid.strain(x), exact.strain(x), strict=True):
        assert torch.equal(one, two)


@torch.no_grad()
def test_at_points_of_the_grid_it_is_exact(fields):
    exact, grid, x = fields
    point = ((x - grid.low) / SPACING).round()
    on_grid = ((point >= 0) & (point < grid.points)).flatten(1).all(1)
    assert on_grid.sum() > 6
    there = point[on_grid] * SPACING + grid.low
    for one, two in zip(grid.site_energy(there)[0], exact.site_energy(there)[0], strict=True):
        assert float(one) == pytest.approx(float(two), rel=1e-4, abs=1e-3)


@torch.no_grad()
def test_gradient_is_that_of_the_interpolation(fields):
    _, grid, x = fields
    tree = grid.complex.tree
    slopes = tree.slopes(x, grid(x)[1])
    for k in range(slopes.shape[1]):
        step = torch.zeros_like(slopes)
        step[:, k] = 1e-6
        ahead, back = tree.moved(x, step), tree.moved(x, -step)
        error = ((grid(ahead)[0] - grid(back)[0]) / 2e-6 - slopes[:, k]).abs()
        # But where a step crosses from one cell into the next.
        cells = [((y - grid.low) / SPACING).floor() for y in (ahead, back)]
        same = (cells[0] == cells[1]).flatten(1).all(1)
        assert same.sum() > 0.8 * len(x)
        assert error[same].max() < 1e-5 * slopes.abs().max()


@torch.no_grad()
def test_batch_gives_what_single_poses_give_and_far_away_is_finite(fields):
    _, grid, x = fields
    x = torch.cat([x, x[:1] + 100.0])
    energy, forces = grid(x)
    assert torch.isfinite(energy).all()
    for k in range(len(x)):
        e, f = grid(x[k : k + 1])
        assert torch.allclose(e[0], energy[k], rtol=1e-12)
        assert torch.allclose(f[0], forces[k], rtol=1e-10, atol=1e-10)
    assert grid.site_energy(x[-1:])[1].abs().max() == 0
