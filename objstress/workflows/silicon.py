"""The demonstration: from silicon's structure file to a plate with a hole, each claim measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import objstress
from objstress.elasticity.moduli import youngs_modulus
from objstress.errors import InputError
from objstress.graphs.lone_nodes import host_of
from objstress.io.files import write_json, write_whole
from objstress.labels.reading import read_labels
from objstress.laws.base import MaterialLaw
from objstress.laws.check import check_law, material_symmetry, random_deformations
from objstress.laws.learned import LearnedLaw
from objstress.models.conformance import exactness
from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.point_group import PointGroup
from objstress.training.laws.fit import fit_law

DIRECTIONS = ((1, 0, 0), (1, 1, 0), (1, 1, 1))


def data_folder() -> Path:
    """The folder `data/silicon`, of the installed package or of the source tree.

    Raises:
        InputError: neither is there.
    """
    package = Path(objstress.__file__).parent
    for folder in (package / "data" / "silicon", package.parent / "data" / "silicon"):
        if (folder / "labels.extxyz").is_file():
            return folder
    raise InputError("the silicon data set is missing: data/silicon/labels.extxyz")


def miller(direction: tuple[int, int, int]) -> str:
    """The Miller symbol of a direction: [110] for (1, 1, 0)."""
    return "[" + "".join(str(n) for n in direction) + "]"


def random_law(group: PointGroup) -> LearnedLaw:
    """A law of a point group on a lone node, with random weights of its network.

    Args:
        group: the point group.
    """
    structure = host_of(group)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ConstitutiveNetwork(
            structure, group, NetworkSettings(channels=4, energy_scale=10.0)
        )
    return LearnedLaw(structure, group, network=network)


def group_claims(progress: Callable[[Any], Any] = lambda x: x) -> list[Claim]:
    """Claims that networks of random weights have exactly their group's symmetry.

    All 32 groups are checked, each against its minimal supergroups.

    Args:
        progress: wraps the groups, as `tqdm` does.
    """
    rng = np.random.default_rng(0)
    f = random_deformations(20, 0.1, rng)
    symmetry, layer, energy, pairs = 0.0, np.inf, np.inf, 0
    for group in progress(PointGroup.all()):
        symmetry = max(symmetry, material_symmetry(random_law(group), f, group.operations))
        exact = exactness(group)
        layer, energy = min(layer, exact.convolution), min(energy, exact.energy)
        pairs += exact.supergroups
    return [
        Claim("material symmetry, 32 groups, random weights", symmetry, 1e-12),
        Claim(
            f"convolution breaks every extra operation, {pairs} supergroups in their frames",
            layer,
            1e-4,
            "-",
            True,
        ),
        Claim("energy breaks every supergroup of another Laue class", energy, 1e-4, "-", True),
    ]


def elastic_constants_of_labels(file: Path, structure: Path) -> dict[str, float]:
    """C11, C12 and C44 in GPa by central differences of labels' stresses S in the strain E.

    S = J F^-1 sigma F^-T is the second Piola-Kirchhoff stress.

    Args:
        file: labels of small normal strains E_xx and shear strains E_yz, both signs of each.
        structure: structure file of the crystal.
    """
    labels = read_labels(file, structure)
    second = np.linalg.inv(labels.F) @ labels.piola
    strain = labels.strain
    normal = sorted(np.flatnonzero(np.abs(strain[:, 0, 0]) > 1e-4), key=lambda k: strain[k, 0, 0])
    shear = sorted(np.flatnonzero(np.abs(strain[:, 1, 2]) > 1e-4), key=lambda k: strain[k, 1, 2])
    step = strain[normal[1], 0, 0] - strain[normal[0], 0, 0]
    slip = strain[shear[1], 1, 2] - strain[shear[0], 1, 2]
    change = second[normal[1]] - second[normal[0]]
    return {
        "C11": float(change[0, 0] / step),
        "C12": float((change[1, 1] + change[2, 2]) / 2 / step),
        "C44": float((second[shear[1]] - second[shear[0]])[1, 2] / (2 * slip)),
    }


def run_demo(out: str | Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run the demonstration on silicon and measure each of its claims.

    Args:
        out: folder for report.json, report.md, the law, the plots and the fields of the plates.
        say: takes each line of progress.

    Returns:
        The report.

    Raises:
        InputError: silicon's data are not there, or `out` cannot be written to.
    """
    from tqdm import tqdm

    from objstress.fem import verification
    from objstress.workflows import plots

    begun = time.perf_counter()
    out, data = Path(out), data_folder()
    out.mkdir(parents=True, exist_ok=True)
    structure = data / "silicon.cif"

    def stage(text: str) -> None:
        say(f"[{time.perf_counter() - begun:5.0f} s] {text}")

    stage(f"reading {structure.name}")
    group = PointGroup.from_structure(structure)
    say(f"          point group {group.symbol} ({group.schoenflies}), {group.order} operations")

    stage("fitting the law to DFT stresses")
    labels = read_labels(data / "labels.extxyz", structure)
    law = fit_law(labels, say=lambda t: say(f"          {t}"))
    law.save(out / "silicon.law")
    held_out = law.metadata["held_out"]["both"]["relative_rmse"]

    stage("checking the law")
    claims = check_law(law)
    stage("checking that the networks have exactly their group, all 32")
    claims += group_claims(lambda groups: tqdm(groups, desc="groups"))
    claims.append(Claim("held-out DFT stresses, relative RMSE", 100 * held_out, 1.5, "%"))
    c = law.stiffness()
    fresh = elastic_constants_of_labels(data / "elastic-relaxed.extxyz", structure)
    for name, learned in {"C11": c[0, 0], "C12": c[0, 1], "C44": c[3, 3]}.items():
        claims.append(
            Claim(f"{name} against differences of DFT labels", abs(learned - fresh[name]), 2, "GPa")
        )

    stage("FEniCSx: assembly against UFL, patch test, bars")
    gaps = [verification.assembly_against_ufl(c, kind) for kind in ("hexahedron", "tetrahedron")]
    claims += [
        Claim("assembled residual against UFL", max(g[0] for g in gaps), 1e-12),
        Claim("assembled Jacobian against UFL", max(g[1] for g in gaps), 1e-12),
        Claim("patch test, irregular mesh", verification.patch_test(law), 1e-12),
    ]
    moduli = {}
    for direction in DIRECTIONS:
        closed = float(youngs_modulus(c, np.array(direction)))
        bar = verification.bar_modulus(law, direction)
        moduli[miller(direction)] = {"bar_GPa": bar, "closed_form_GPa": closed}
        claims.append(
            Claim(f"E{miller(direction)} of a bar", 100 * abs(bar / closed - 1), 0.2, "%")
        )

    bodies = {}
    for direction in DIRECTIONS:
        stage(f"FEniCSx: plate with a hole pulled along {miller(direction)}")
        bodies[miller(direction)] = verification.pulled_plate(law, direction)
    stage("FEniCSx: the same in four steps, for the force over the elongation")
    curves = {miller(d): verification.pulled_plate(law, d, steps=4).history for d in DIRECTIONS}
    orders = [verification.newton_order(law, direction) for direction in DIRECTIONS]
    claims.append(
        Claim("Newton's observed order, least of three bars", min(orders), 1.8, "-", True)
    )
    for name, body in bodies.items():
        body.write(out / f"plate-{name.strip('[]')}.bp")

    stage("drawing")
    labels = labels.rereferenced(np.array(law.metadata["reference_stretch"]))
    unseen = np.zeros(len(labels), dtype=bool)
    unseen[law.metadata["held_out"]["index"]] = True
    plots.modulus_surface(law, out / "modulus.png")
    plots.parity(law, labels.subset(~unseen), labels.subset(unseen), held_out, out / "stress.png")
    plots.newton(
        {name: body.history[-1].residuals for name, body in bodies.items()}, out / "newton.png"
    )
    plots.deformed(bodies, out / "plate.png")
    plots.forces(curves, out / "force.png")

    report = {
        "claims": [claim.to_dict() for claim in claims],
        "law": {
            "file": "silicon.law",
            "stiffness_GPa": c.tolist(),
            "dft_constants_GPa": fresh,
            "youngs_moduli": moduli,
            **law.metadata,
        },
        "plates": {name: [r.to_dict() for r in body.history] for name, body in bodies.items()},
        "seconds": time.perf_counter() - begun,
        "environment": environment(),
    }
    write_json(out / "report.json", report)
    write_whole(out / "report.md", _markdown(report, claims, law))
    stage("done: " + ("every claim met" if all(x.ok for x in claims) else "A CLAIM WAS MISSED"))
    return report


def _markdown(report: dict[str, Any], claims: list[Claim], law: MaterialLaw) -> str:
    facts = report["law"]
    poly, network, held = facts["polynomial"], facts["network"], facts["held_out"]
    tried = f"not tried: {network.get('reason')}"
    if "weights" in network:
        tried = (
            f"{network['weights']} weights, filters {network['filters']}, validation "
            f"{100 * network['error_before']:.2f} -> {100 * network['error_after']:.2f} %"
            f"{'' if network['kept'] else ', dropped'}"
        )
    dft = facts["dft_constants_GPa"]
    c = law.stiffness()
    plates = "\n".join(
        f"| {name} | {steps[-1]['reactions']['right'][0]:.3f} | {steps[-1]['energy']:.4f} "
        f"| {steps[-1]['min_J']:.4f} | {steps[-1]['outside']} of {steps[-1]['points']} "
        f"| {steps[-1]['order'] or float('nan'):.2f} |"
        for name, steps in report["plates"].items()
    )
    moduli = "\n".join(
        f"| E{name} | {m['bar_GPa']:.3f} | {m['closed_form_GPa']:.3f} |"
        for name, m in facts["youngs_moduli"].items()
    )
    return f"""# Silicon: from the structure file to a simulation

{facts["labels"]} strained cells of point group {facts["point_group"]}, {facts["ions"]} ions,
labelled by {facts["source"].split(":")[0]}. The stress-free reference is stretched by
{100 * facts["reference_shift"]:.3f} % from the given structure.

{claims_table(claims)}

## The law

| part | what | held-out relative RMSE |
| --- | --- | --- |
| polynomial | degree {poly["degree"]}, {poly["invariants"]} invariants, leave-one-out \
{100 * poly["leave_one_out"]:.2f} % | {100 * held["polynomial"]["relative_rmse"]:.2f} % |
| + network | {tried} | {100 * held["both"]["relative_rmse"]:.2f} % |

Relative errors are |dP| / max(|P|, 1e-3 x the largest C_ij). Energies, not fitted, agree to
{held["energy"].get("rmse_meV_per_atom", float("nan")):.3f} meV/atom after one offset.

| GPa | C11 | C12 | C44 |
| --- | --- | --- | --- |
| law | {c[0, 0]:.2f} | {c[0, 1]:.2f} | {c[3, 3]:.2f} |
| differences of DFT labels | {dft["C11"]:.2f} | {dft["C12"]:.2f} | {dft["C44"]:.2f} |

![E(n)](modulus.png)
![stress](stress.png)

## The simulation

| GPa | FEniCSx bar at 1e-5 | closed form of the law's C |
| --- | --- | --- |
{moduli}

Plate with a hole (4 x 4 x 0.4, radius 0.5), stretched by 3 % along x in one step. The order is
that of Newton's corrections in the last three iterates; next to a notch their ratio is still
settling when round-off ends them, so the claim above is measured on bars under dead traction.

| along x | force, GPa length^2 | energy, GPa length^3 | min J | outside training | Newton order |
| --- | --- | --- | --- | --- | --- |
{plates}

![plate](plate.png)
![force over elongation, in four steps](force.png)
![Newton](newton.png)

{report["seconds"]:.0f} s on {report["environment"]["processor"]}, \
{report["environment"]["cores"]} cores.
"""
