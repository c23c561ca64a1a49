"""Graphs, filters, convolutions and the constitutive network."""

import itertools

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from torch_geometric.data import Batch

from objstress import O3, SO3, InputError, PointGroup
from objstress.graphs.crystals import crystal_graph, shell_cutoff
from objstress.graphs.lone_nodes import lone_node
from objstress.graphs.pairs import EdgePairs
from objstress.models.conformance import energy_violation, exactness
from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
from objstress.nn.convolution import ChannelLinear, Gate, GroupConvolution
from objstress.nn.filters import GroupFilter
from objstress.nn.radial import BesselBasis, smooth_cutoff
from objstress.symmetry.irreps import character, representation, spherical_harmonics
from objstress.symmetry.voigt import mandel_rotations
from tests.conformance import assert_equivariant, turned
from tests.helpers import conventional_cell, random_rotation

ALL = PointGroup.all()
IRREPS = [(l, p) for l in range(3) for p in (1, -1)]


def brute_force_edges(structure, cutoff, reach=4):
    edges = []
    cell, x = structure.lattice.matrix, structure.cart_coords
    for s in itertools.product(range(-reach, reach + 1), repeat=3):
        for i in range(len(x)):
            for j in range(len(x)):
                d = x[j] + np.array(s) @ cell - x[i]
                if 1e-8 < np.linalg.norm(d) < cutoff:
                    edges.append((j, i, *np.round(d, 6) + 0.0))
    return sorted(edges)


@pytest.mark.parametrize("cutoff", [2.5, 4.1, 6.0])
def test_graph_is_right_for_cells_smaller_than_the_cutoff(silicon, cutoff):
    skew = Structure(
        Lattice.from_parameters(3, 4, 5, 70, 100, 110), ["Cu", "S"], [[0, 0, 0], [0.3, 0.4, 0.55]]
    )
    for structure in (silicon, skew):
        graph = crystal_graph(structure, cutoff)
        found = sorted(
            (int(j), int(i), *np.round(d, 6) + 0.0)
            for (j, i), d in zip(graph.edge_index.T, graph.edge_vec.numpy(), strict=True)
        )
        assert np.allclose(found, brute_force_edges(structure, cutoff), atol=1e-5)
        rebuilt = (
            graph.pos[graph.edge_index[0]]
            + graph.edge_shift.double() @ graph.cell[0]
            - graph.pos[graph.edge_index[1]]
        )
        assert torch.allclose(rebuilt, graph.edge_vec, atol=1e-10)


def test_graphs_batch_without_mixing(silicon):
    a, b = crystal_graph(silicon, 4.1), crystal_graph(lone_node("cubic"), 1.5)
    batch = Batch.from_data_list([a, b])
    assert batch.num_nodes == 3
    assert batch.num_edges == a.num_edges + b.num_edges
    assert int(batch.edge_index[:, a.num_edges :].min()) == 2


def test_graph_refuses_what_has_no_neighbours(silicon):
    with pytest.raises(InputError, match="larger cutoff"):
        crystal_graph(silicon, 1.0)
    with pytest.raises(InputError, match="positive"):
        crystal_graph(silicon, 0.0)


def test_default_cutoff_lies_between_shells(silicon):
    cutoff = shell_cutoff(silicon)
    lengths = crystal_graph(silicon, 8.0).edge_vec.norm(dim=1)
    assert (lengths - cutoff).abs().min() > 0.09
    assert int((lengths < cutoff).sum()) == 2 * 16


def test_default_cutoff_is_found_for_every_kind_of_crystal():
    for number, lattice, species, sites in (
        (194, Lattice.hexagonal(3.2, 5.2), ["Mg"], [[1 / 3, 2 / 3, 0.25]]),
        (14, Lattice.monoclinic(5.1, 5.2, 5.3, 99), ["Zr", "O", "O"],
         [[0.276, 0.041, 0.208], [0.07, 0.33, 0.34], [0.45, 0.76, 0.48]]),
        (1, Lattice.from_parameters(4, 5, 6, 80, 95, 105), ["Cu"], [[0, 0, 0]]),
    ):  # fmt: skip
        structure = conventional_cell(number, lattice, species, sites)
        cutoff = shell_cutoff(structure)
        graph = crystal_graph(structure, cutoff)
        assert torch.bincount(graph.edge_index[1]).min() >= 12
        wide = crystal_graph(structure, 1.3 * cutoff).edge_vec.norm(dim=1)
        assert (wide - cutoff).abs().min() > 0.01


def test_pairs_hold_every_edge_once(silicon):
    graph = crystal_graph(silicon, 4.1)
    pairs = EdgePairs(graph)
    kept = pairs.vectors[pairs.mask.bool()].numpy()
    assert int(pairs.mask.sum()) == graph.num_edges
    assert np.allclose(
        np.array(sorted(kept.round(6).tolist())),
        np.array(sorted(graph.edge_vec.numpy().round(6).tolist())),
    )


def test_cutoff_is_smooth():
    r = torch.linspace(4.9, 5.1, 2001, dtype=torch.float64, requires_grad=True)
    u = smooth_cutoff(r, 5.0)
    (du,) = torch.autograd.grad(u.sum(), r, create_graph=True)
    (ddu,) = torch.autograd.grad(du.sum(), r)
    for values in (u, du, ddu):
        assert (values[1:] - values[:-1]).abs().max() < 1e-2
        assert values[-1] == 0
    basis = BesselBasis(4, 5.0)(torch.tensor([1.0, 5.0], dtype=torch.float64))
    assert basis[1].abs().max() < 1e-14  # every function ends at the cutoff


@pytest.mark.parametrize("group", [*ALL, O3, SO3], ids=lambda g: g.symbol)
def test_filter_basis_is_complete_by_the_character_formula(group):
    for lmax in (0, 2):
        sizes = GroupFilter(group, [(l, p) for l in range(3) for p in (1, -1)], lmax).sizes
        for l, p in itertools.product(range(3), (1, -1)):
            if isinstance(group, PointGroup):
                g = group.operations
                count = sum(
                    (character((l1, (-1) ** l1), g) * character((l, p), g)).mean()
                    for l1 in range(lmax + 1)
                )
            else:
                natural = p == (-1) ** l or group is SO3
                count = float(l <= lmax and natural)
            assert sizes.get((l, p), 0) == round(float(count))


def test_filter_functions_are_independent():
    group = PointGroup("32")
    filters = GroupFilter(group, [(2, 1)], 3)
    r = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = filters(r)[(2, 1)].permute(1, 0, 2).reshape(filters.sizes[(2, 1)], -1)
    assert torch.linalg.matrix_rank(values) == filters.sizes[(2, 1)]


@pytest.mark.parametrize("group", [*ALL, O3, SO3], ids=lambda g: g.symbol)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_filter_is_equivariant(group, dtype, tolerance):
    filters = GroupFilter(group, IRREPS, 3, dtype)
    r = torch.randn(5, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    if isinstance(group, PointGroup):
        operations = group.operations[:: max(1, group.order // 12)]
    else:
        q = random_rotation(3)
        operations = np.stack([q, q @ q] if group is SO3 else [q, -q])
    plain = filters(r)
    for g in operations:
        moved = filters(r @ torch.tensor(g, dtype=dtype).T)
        expected = turned(plain, g)
        for o in plain:
            assert moved[o].dtype == dtype
            assert (moved[o] - expected[o]).abs().max() <= tolerance * 10


def test_so3_filter_tells_left_from_right():
    r = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    filters = GroupFilter(SO3, [(1, 1)], 1)
    assert filters.sizes == {(1, 1): 1}  # a pseudovector along r: no O(3) filter is one
    assert GroupFilter(O3, [(1, 1)], 1).sizes == {}
    assert torch.allclose(filters(-r)[(1, 1)], -filters(r)[(1, 1)])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_convolution_over_a_moved_graph_is_equivariant(silicon, dtype, tolerance):
    """O(3) and SO(3): turn edges and features together, any rotation."""
    graph = crystal_graph(silicon, 4.1)
    graph.edge_vec = graph.edge_vec.to(dtype)
    pairs = EdgePairs(graph)
    for group, operations in (
        (O3, [random_rotation(1), -random_rotation(2)]),
        (SO3, [random_rotation(1), random_rotation(2)]),
    ):
        filters = GroupFilter(group, [(l, p) for l in range(5) for p in (1, -1)], 4, dtype)
        torch.manual_seed(0)
        layer = GroupConvolution(IRREPS, filters.sizes, IRREPS, 3, 4, 5, 16.0, dtype=dtype)
        length = pairs.vectors.norm(dim=-1)
        radial = BesselBasis(5, 4.1, dtype)(length) * smooth_cutoff(length, 4.1)[..., None]
        radial = (radial * pairs.mask[..., None])[:, None]
        x = {(l, p): torch.randn(2, 1, 3, 2 * l + 1, dtype=dtype) for l, p in IRREPS}
        plain = layer(x, radial, filters(pairs.vectors), pairs)
        for q in operations:
            vectors = pairs.vectors @ torch.tensor(q, dtype=dtype).T
            moved = layer(turned(x, q), radial, filters(vectors), pairs)
            expected = turned(plain, q)
            for o in plain:
                assert (moved[o] - expected[o]).abs().max() <= tolerance * plain[o].abs().max()


@pytest.mark.parametrize("group", ALL, ids=lambda g: g.symbol)
def test_convolution_and_energy_have_exactly_their_group(group):
    """On lattices more symmetric than G: all of G, and no operation of a minimal supergroup."""
    found = exactness(group)
    assert found.kept <= 2e-12
    assert found.convolution >= 1e-4
    assert found.energy >= 1e-4
    # What only adds the inversion an energy of C cannot see; the convolution does.
    assert found.unseen <= 2e-12
    assert found.supergroups > 0 or group.symbol in ("m-3m", "6/mmm")


def test_o3_filters_already_have_the_symmetry_of_the_edges(silicon, silicon_group):
    assert energy_violation(O3, silicon, silicon_group.operations).max() <= 1e-10


def test_linear_and_gate_are_equivariant():
    torch.manual_seed(0)
    irreps = [(0, 1), (0, -1), (1, -1), (2, 1)]
    gate = Gate(irreps, 3)
    linear = ChannelLinear(irreps, 2, dict.fromkeys(irreps, 3) | {(0, 1): gate.scalar_channels})
    x = {(l, p): torch.randn(2, 4, 2, 2 * l + 1, dtype=torch.float64) for l, p in irreps}
    q = random_rotation(5)
    assert_equivariant(lambda f: gate(linear(f)), x, [q, -q], 1e-12)


def test_network_energy_is_invariant_batched_and_differentiable(silicon, silicon_group):
    torch.manual_seed(0)
    network = ConstitutiveNetwork(silicon, silicon_group, NetworkSettings(channels=4))
    x = 0.05 * torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    w = network(x)
    for m in torch.tensor(mandel_rotations(silicon_group.operations)):
        assert torch.allclose(network(x @ m.T), w, rtol=1e-12, atol=1e-13)
    for k in range(6):
        assert torch.allclose(network(x[k : k + 1])[0], w[k], rtol=1e-12)
    assert torch.autograd.gradcheck(network, x[:2].requires_grad_(), atol=1e-7)
    assert torch.autograd.gradgradcheck(network, x[:1].detach().requires_grad_(), atol=1e-6)


def test_network_does_not_care_about_the_order_of_atoms_or_the_cell(silicon_group):
    conventional = conventional_cell(227, Lattice.cubic(5.38), ["Si"], [[0, 0, 0]])
    primitive = conventional.get_primitive_structure()
    shuffled = Structure(
        conventional.lattice,
        conventional.species,
        np.random.default_rng(0).permutation(conventional.frac_coords),
    )
    x = 0.03 * torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    energies = []
    for structure in (conventional, shuffled):
        torch.manual_seed(0)
        energies.append(ConstitutiveNetwork(structure, O3, NetworkSettings(cutoff=4.1))(x))
    assert len(primitive) == 2
    assert torch.allclose(*energies, rtol=1e-10)


def test_network_in_float32_follows_float64(silicon, silicon_group):
    nets = []
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(0)
        nets.append(ConstitutiveNetwork(silicon, silicon_group, NetworkSettings(), dtype))
    nets[1].load_state_dict({k: v.float() for k, v in nets[0].state_dict().items()})
    x = 0.05 * torch.randn(4, 6, dtype=torch.float64)
    assert nets[1](x.float()).dtype == torch.float32
    assert torch.allclose(nets[1](x.float()).double(), nets[0](x), rtol=1e-4, atol=1e-4)


def test_building_networks_leaves_global_settings_alone(silicon):
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed())
    ConstitutiveNetwork(silicon, O3)
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed()) == before


def test_harmonics_match_the_representation():
    q = random_rotation(7)
    r = np.random.default_rng(0).normal(size=(4, 3))
    for l in range(9):
        d = representation((l, (-1) ** l), q[None])[0]
        assert (
            np.abs(spherical_harmonics(l, r @ q.T) - spherical_harmonics(l, r) @ d.T).max() < 1e-12
        )
