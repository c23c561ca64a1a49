"""Laws, losses and networks on another device, held against the CPU: `python -m tests.on_device`.

In a process of its own, because a device is a device of the whole process. On a GPU where there is
one. Prints {name of the case: what went wrong, or ""} as JSON.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

CASES: dict[str, Callable[[torch.device], None]] = {}
FROZEN = Path(__file__).parent / "frozen"
FILES = [f"0.1/laws/{k}.law" for k in ("ensemble", "fused", "learned-both", "polynomial-cubic")]
FILES += [f"0.2/laws/{k}.law" for k in ("bazant", "guarded-slope", "learned-density")]


def case(function: Callable[[torch.device], None]) -> Callable[[torch.device], None]:
    CASES[function.__name__] = function
    return function


def laws() -> dict[str, Any]:
    from objstress import PointGroup, load_law
    from objstress.elasticity.moduli import cubic_stiffness
    from objstress.elasticity.orientations import from_bunge
    from objstress.graphs.lone_nodes import host_of
    from objstress.laws.analytic import DecoupledNeoHooke, NeoHooke, SaintVenantKirchhoff
    from objstress.laws.learned import LearnedLaw
    from objstress.laws.rotated import RotatedLaw
    from objstress.models.strain_network import StrainNetwork

    stiffness = cubic_stiffness(168.0, 121.0, 75.0)
    learned = {Path(name).stem: load_law(FROZEN / name) for name in FILES}
    for law in learned.values():
        law.outside_action = "ignore"
    group = PointGroup("m-3")
    torch.manual_seed(0)
    network = LearnedLaw(host_of(group), group, network=StrainNetwork(group))
    rotated = RotatedLaw(learned["learned-both"], from_bunge([[35, 45, 10]])[0])
    return learned | {
        "rotated": rotated,
        "network of strain": network,
        "saint venant": SaintVenantKirchhoff(stiffness),
        "neo-hooke": NeoHooke(40.0, 80.0),
        "decoupled": DecoupledNeoHooke(40.0, 80.0),
    }


def strains(n: int = 10, size: float = 0.15) -> Tensor:
    f = np.eye(3) + size * np.random.default_rng(0).uniform(-1, 1, (n, 3, 3))
    return torch.tensor(f)


def same(there: Tensor, here: Tensor, device: torch.device, what: str) -> None:
    assert there.device.type == device.type, f"{what} lies on {there.device}"
    assert torch.allclose(there.detach().cpu(), here.detach(), rtol=1e-9, atol=1e-9), what


@case
def energy_stress_and_tangent(device: torch.device) -> None:
    f = strains()
    for name, law in laws().items():
        here, there = law.response(f, 2), law.response(f.to(device), 2)
        for order, (a, b) in enumerate(zip(there, here, strict=True)):
            same(a, b, device, f"derivative {order} of {name}")
        same(law.cauchy_stress(f.to(device)), law.cauchy_stress(f), device, f"sigma of {name}")
        # The law is as it was: on the CPU, for files and finite elements.
        for a, b in zip(law.response(f, 2), here, strict=True):
            assert torch.equal(a, b), name


@case
def domain_and_stability(device: torch.device) -> None:
    f = strains(12, 0.08)
    direction = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    for name, law in laws().items():
        same(law.outside(f.to(device)), law.outside(f), device, f"outside of {name}")
        q = law.acoustic_tensor(f.to(device), direction)
        same(q, law.acoustic_tensor(f, direction), device, f"acoustic tensor of {name}")
        if law.stress_error(f) is not None:
            same(law.stress_error(f.to(device)), law.stress_error(f), device, f"bar of {name}")
    same(law.ellipticity(f.to(device))[0], law.ellipticity(f)[0], device, "ellipticity")


@case
def warnings_outside(device: torch.device) -> None:
    import warnings

    from objstress.errors import OutsideDomainWarning

    law, f = laws()["polynomial-cubic"], strains()
    law.outside_action = "warn"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        law.stress(f)
        law.stress(f.to(device))
    texts = [str(w.message) for w in caught if w.category is OutsideDomainWarning]
    assert len(texts) == 2, texts
    assert texts[0] == texts[1], texts


@case
def constitutive_training(device: torch.device) -> None:
    from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
    from objstress.training.laws.network import NetworkFit, Targets
    from objstress.training.laws.settings import NetworkTraining

    law = laws()["learned-both"]
    f = strains(10, 0.05)
    p = law.response(f, 1)[1]
    targets = Targets(
        f, p, law.response(f, 0)[0], torch.ones(10, dtype=torch.float64), torch.zeros(10, 0)
    )
    settings = NetworkSettings(channels=2, layers=1)

    def gradients(device: torch.device) -> list[Tensor]:
        torch.manual_seed(0)
        network = ConstitutiveNetwork(law.structure, law.point_group, settings)
        fit = NetworkFit(network, NetworkTraining(energy_weight=0.1), 0.1).to(device)
        batch = [x.to(device) for x in next(iter(targets.loader()))]
        loss = fit._loss(batch)
        loss.backward()
        return [loss.detach(), *(w.grad for w in fit.parameters() if w.grad is not None)]

    here, there = gradients(torch.device("cpu")), gradients(device)
    assert len(here) > 5, len(here)
    for k, (a, b) in enumerate(zip(there, here, strict=True)):
        same(a, b, device, f"gradient {k} of the constitutive network")


@case
def tensor_training(device: torch.device) -> None:
    from pymatgen.core import Lattice
    from torch_geometric.data import Batch

    from objstress.models.crystal_tensor import CrystalTensorNetwork, CrystalTensorSettings
    from objstress.models.tensor_ensemble import species_graph
    from tests.helpers import conventional_cell

    crystals = [
        conventional_cell(225, Lattice.cubic(a), [x, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        for x, a in (("Mg", 4.2), ("Ca", 4.8))
    ]
    for kind in ("elastic", "born charges"):
        settings = CrystalTensorSettings(kind=kind, channels=4, kinds=4, neighbours=20.0)
        results = []
        for where in (torch.device("cpu"), device):
            torch.manual_seed(0)
            network = CrystalTensorNetwork(settings).to(where)
            graphs = [
                species_graph(c.get_primitive_structure(), settings.cutoff, torch.float64)
                for c in crystals
            ]
            x, features = network(Batch.from_data_list(graphs).to(where))
            tensors = network.tensors(x)
            x.square().sum().backward()
            weights = [w.grad for w in network.parameters() if w.grad is not None]
            results.append([x, features, tensors, *weights])
        for k, (a, b) in enumerate(zip(results[1], results[0], strict=True)):
            same(a, b, device, f"{kind}: result {k}")


def main() -> None:
    if torch.cuda.is_available():
        device = torch.device("cuda", 0)
    else:
        from tests.pretend_device import make_device

        device = make_device()
    results = {}
    for name, check in CASES.items():
        try:
            check(device)
            results[name] = ""
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            lines = [f"{Path(x.filename).name}:{x.lineno}" for x in where]
            results[name] = f"{type(error).__name__}: {error} ({' > '.join(lines[-8:])})"
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
