"""One potential, evaluated whenever a line comes in; answers with the seconds that it took.

`PYTHON -m benchmarks.speed_workers CODE ATOMS_FILE` or, where objstress is not installed,
`PYTHON benchmarks/speed_workers.py CODE ATOMS_FILE`, CODE one of objstress, objstress_pairs, mace,
nequip: energy, forces and stress from a graph made beforehand; random weights, 64x0e + 64x1o
features, two layers, harmonics up to l = 3, cutoff 5 Angstrom, float64, one thread.
"""

import json
import sys
import time

import torch

CHANNELS, LMAX, CUTOFF, LAYERS, BESSEL = 64, 3, 5.0, 2, 8


def objstress(atoms, neighbours, correlation=3):
    from objstress.graphs.atoms import atom_graph
    from objstress.models.potential import Potential, PotentialSettings

    elements = tuple(sorted(set(atoms.numbers.tolist())))
    settings = PotentialSettings(
        elements, channels=CHANNELS, edge_lmax=LMAX, cutoff=CUTOFF, layers=LAYERS,
        bessel=BESSEL, neighbours=neighbours, correlation=correlation,
    )  # fmt: skip
    model = Potential(settings).eval()
    graph = atom_graph(atoms, elements, CUTOFF)
    return model, lambda: model(graph, ("energy", "forces", "stress"))


def objstress_pairs(atoms, neighbours):
    """Messages of pairs, not multiplied with each other: the body order of nequip's layers."""
    return objstress(atoms, neighbours, correlation=1)


def mace(atoms, neighbours):
    import numpy as np
    from e3nn import o3
    from mace import data, modules
    from mace.tools import torch_geometric, utils

    torch.set_default_dtype(torch.float64)
    elements = sorted(set(atoms.numbers.tolist()))
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=BESSEL,
        num_polynomial_cutoff=6,
        max_ell=LMAX,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=LAYERS,
        num_elements=len(elements),
        hidden_irreps=o3.Irreps(f"{CHANNELS}x0e + {CHANNELS}x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(elements)),
        avg_num_neighbors=neighbours,
        atomic_numbers=elements,
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        radial_type="bessel",
    )
    configuration = data.config_from_atoms(atoms)
    table = utils.AtomicNumberTable(elements)
    graph = data.AtomicData.from_config(configuration, z_table=table, cutoff=CUTOFF)
    batch = next(iter(torch_geometric.dataloader.DataLoader([graph], batch_size=1)))
    return model, lambda: model(batch.to_dict(), compute_force=True, compute_stress=True)


def nequip(atoms, neighbours):
    from nequip.data import AtomicDataDict, from_ase
    from nequip.data._nl import compute_neighborlist_
    from nequip.model import FullNequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    symbols = sorted(set(atoms.get_chemical_symbols()))
    hidden = f"{CHANNELS}x0e + {CHANNELS}x1o"
    model = FullNequIPGNNModel(
        seed=0,
        model_dtype="float64",
        r_max=CUTOFF,
        type_names=symbols,
        radial_mlp_depth=[2] * LAYERS,
        radial_mlp_width=[CHANNELS] * LAYERS,
        feature_irreps_hidden=[hidden] * (LAYERS - 1) + [f"{CHANNELS}x0e"],
        irreps_edge_sh=f"0e + 1o + 2e + {LMAX}o",
        type_embed_num_features=CHANNELS,
        num_bessels=BESSEL,
        avg_num_neighbors=neighbours,
    ).double()
    data = from_ase(atoms)
    data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor(
        [symbols.index(s) for s in atoms.get_chemical_symbols()]
    )
    data = compute_neighborlist_(data, r_max=CUTOFF)
    return model.eval(), lambda: model(dict(data))


def main() -> None:
    torch.set_num_threads(1)
    from ase.io import read

    code, path = sys.argv[1:]
    atoms = read(path)
    codes = {f.__name__: f for f in (objstress, objstress_pairs, mace, nequip)}
    model, evaluate = codes[code](atoms, float(atoms.info["neighbours"]))
    model.requires_grad_(False)
    for _ in range(3):
        found = evaluate()
    facts = {
        "weights": sum(p.numel() for p in model.parameters()),
        "outputs": sorted(k for k in found if k in ("energy", "forces", "stress", "total_energy")),
    }
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        evaluate()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
