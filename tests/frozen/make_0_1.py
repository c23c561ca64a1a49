"""Files as version 0.1 writes them, small ones of each kind, and what they give.

    python make_0_1.py FOLDER [--checkpoints OTHER_FOLDER]

run with version 0.1.0 of objstress and the data of its repository. Runs that can go on are
stopped half-way. What the files give is in FOLDER/expected.json: of those that are loaded by
loading them, of runs that go on by a run that was never stopped. Checkpoints of trainings are
pickled; they are left out, or put into another folder.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import read_0_1 as numbers
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from pymatgen.io.ase import AseAtomsAdaptor
from read_0_1 import Stopped

import objstress

DATA = Path(objstress.__file__).parents[1] / "data"

TRAINING = """\
# A tiny potential of water.
data: water.extxyz
keys: {energy: energy, forces: forces, dipole: dipole, polarizability: polarizability}
validation: 0.25
references: {H: -13.5, O: -2042.0}
model: {cutoff: 3.0, channels: 2, layers: 2, edge_lmax: 2, later_lmax: 2, correlation: 2,
        bessel: 3, radial: 2, readout: 2}
balancing: {weights: {energy: 1, forces: 10}}
training: {epochs: 4, batch_size: 3, seed: 1, accelerator: cpu}
"""

CASES = {
    "grains": """\
law: [../../laws/svk-cubic.law, ../../laws/neo-hooke.law]
mesh: {shape: box, size: [1, 1, 1], cells: [2, 2, 2]}
grains:
  voronoi: {number: 5, seed: 3, periodic: true}
  orientations: {component: [35, 45, 0], spread: 10, seed: 2}
displacements:
  - {where: x=min, value: [0, 0, 0], name: wall}
  - {where: x=max, value: [0.05, null, null], name: end}
steps: 3
""",
    "orientations": """\
law: ../../laws/svk-cubic.law
mesh: {shape: box, size: [1, 1, 1], cells: [2, 2, 2], kind: tetrahedron}
grains:
  voronoi: {number: 3}
  orientations: {file: orientations.txt}
displacements: [{where: z=min, value: [0, 0, 0]}, {where: z=max, value: [0.01, 0.02, 0]}]
steps: 1
""",
    "direction": """\
law: ../../laws/polynomial-cubic.law
mesh: {shape: box, size: [2, 1, 1], cells: [2, 1, 1]}
orientation: {direction: [1, 1, 1], along: [0, 0, 1]}
displacements: [{where: x=min, value: [0, 0, 0], name: wall}]
tractions: [{where: x=max, value: [0.5, 0, 0.1]}]
body_force: [0, 0, -0.1]
assembly: ufl
petsc_options: {snes_max_it: 30}
outside: ignore
restart: false
steps: 2
""",
    "matrix": """\
law: ../../laws/learned-both.law
mesh: {shape: file, file: mesh.xdmf, name: mesh}
orientation: {matrix: [[0, -1, 0], [1, 0, 0], [0, 0, 1]]}
mean_deformation: [[1.01, 0.02, 0], [0, 1, 0], [0, 0, 1]]
steps: 1
""",
    "contacts": """\
law: ../../laws/svk-cubic.law
mesh: {shape: box, size: [1, 1, 1], cells: [2, 2, 2]}
symmetry: [x=min, y=min, z=min]
pressures: [{where: y=max, value: 0.5}]
contacts:
  - {shape: plane, where: x=max, motion: [-0.02, 0, 0], point: [1, 0, 0], normal: [-1, 0, 0],
     stiffness: 1.0e+5, name: wall}
  - {shape: sphere, where: z=max, motion: [0, 0, -0.02], centre: [0, 0, 3], radius: 2}
steps: 2
""",
    "plane": """\
law: ../../laws/neo-hooke.law
mesh: {shape: rectangle, size: [2, 1], cells: [2, 1], kind: triangle}
symmetry: [x=min, y=min, y=max]
displacements: [{where: x=max, value: [0.4, null], name: end}]
degree: 2
outside: error
steps: 3
""",
    "plate": """\
law: ../../laws/decoupled-neo-hooke.law
mesh: {shape: plate-with-hole, width: 4, radius: 0.5, thickness: 0.4, cells: [2, 2, 1]}
displacements:
  - {where: x=min, value: [0, 0, 0], name: left}
  - {where: x=max, value: [0.1, null, null], name: right}
steps: 1
""",
}


# -- inputs ---------------------------------------------------------------------------------------


def write_inputs() -> None:
    """Structures, labelled frames, crystals with tensors, cases."""
    for folder in ("laws", "potentials", "tensors", "labels", "md", "records", "fem/cases",
                   "training", "properties", "docking/complexes", "chain"):  # fmt: skip
        Path(folder).mkdir(parents=True)
    for name, atoms in (("copper", bulk("Cu", a=3.59)), ("silicon", bulk("Si", a=5.431))):
        AseAtomsAdaptor.get_structure(atoms).to(f"labels/{name}.cif")
    copper = bulk("Cu", a=3.6, cubic=True)
    copper.rattle(0.02, seed=1)
    write("md/copper.xyz", copper, format="extxyz")
    write("md/water.xyz", numbers.structure("water"), format="extxyz")
    frames = read(DATA / "molecules" / "water-train.extxyz", ":12")
    write("training/water.extxyz", frames)
    Path("training/water.yaml").write_text(TRAINING)
    elastic = json.loads((DATA / "tensors" / "elastic.json").read_text())
    response = json.loads((DATA / "tensors" / "response.json").read_text())
    small = [row for row in elastic if len(row["structure"]["sites"]) <= 2]
    polar = [row for row in response if len(row["structure"]["sites"]) == 2]
    for name, rows in (
        ("elastic", small[:4]),
        ("response", polar[:3]),
        ("crystals", [small[5], polar[4], response[0]]),
    ):
        if name == "crystals":
            rows = [{"structure": row["structure"]} for row in rows]
        Path(f"tensors/{name}.json").write_text(json.dumps(rows, separators=(",", ":")) + "\n")
    write("properties/many.extxyz", [bulk(s) for s in ("Cu", "Al", "Ni", "Si", "Ag")])
    for name, text in CASES.items():
        Path(f"fem/cases/{name}.yaml").write_text(text)
    Path("fem/cases/orientations.txt").write_text("# degrees\n10 20 30\n40, 50, 60\n0 0 0 1.5\n")


# -- what is loaded -------------------------------------------------------------------------------


def write_labels() -> None:
    from objstress import label_strains

    label_strains("labels/copper.cif", "emt", out="labels/copper.extxyz", samples=6,
                  ions="clamped", progress=False)  # fmt: skip
    label_strains("labels/silicon.cif", "stillinger-weber", out="labels/silicon.extxyz",
                  samples=24, progress=False)  # fmt: skip


def write_laws() -> None:
    from objstress import NeoHooke, SaintVenantKirchhoff, fit_ensemble, fit_law
    from objstress.laws.analytic import DecoupledNeoHooke
    from objstress.laws.elasticity import cubic_stiffness
    from objstress.laws.ensemble import EnsembleLaw
    from objstress.laws.learned import LearnedLaw
    from objstress.models.constitutive import NetworkSettings
    from objstress.symmetry.point_group import O3
    from objstress.training.network_fit import TrainingSettings

    def save(law, name: str) -> None:
        law.save(f"laws/{name}.law")

    copper = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")
    save(copper, "svk-cubic")
    bent = cubic_stiffness(168.4, 121.4, 75.4)
    bent[0, 3] = bent[3, 0] = 7.0
    bent[1, 5] = bent[5, 1] = -4.0
    save(SaintVenantKirchhoff(bent), "svk-triclinic")
    save(SaintVenantKirchhoff(cubic_stiffness(107.0, 61.0, 23.0), O3), "svk-isotropic")
    save(NeoHooke(20.0, 30.0), "neo-hooke")
    save(DecoupledNeoHooke(20.0, 50.0), "decoupled-neo-hooke")

    # Fits to relaxed cells, which say where the ions go.
    data = ("labels/silicon.extxyz", "labels/silicon.cif")
    size = NetworkSettings(**numbers.NETWORK)
    short = dict(network=size, training=TrainingSettings(epochs=1, iterations=3), progress=False)
    polynomial = fit_law(*data, use_network=False, progress=False)
    network = fit_law(*data, polynomial=False, **short)
    isotropic = fit_law(*data, polynomial=False, filters=O3, **short)
    save(polynomial, "learned-polynomial")
    save(network, "learned-network")
    save(isotropic, "learned-isotropic-filters")

    def both(a, b):
        """The polynomial of one and the network of the other, which have the same reference."""
        return LearnedLaw(a.structure, a.point_group, a.polynomial, b.network, a.domain,
                          a.metadata | {"network": b.metadata["network"]},
                          a.displacements)  # fmt: skip

    save(both(polynomial, network), "learned-both")
    save(fit_ensemble(*data, members=2, use_network=False, progress=False), "ensemble")
    pair = [both(polynomial, network), deepcopy(both(polynomial, isotropic))]
    domain = polynomial.domain.clone()
    save(EnsembleLaw(pair, 1.5, domain, {"members": 2}), "ensemble-networks")

    # A material without listed atoms.
    pairs_of(copper, "pairs.csv")
    lone = fit_law("pairs.csv", point_group="mmm", use_network=False, progress=False)
    save(lone, "learned-lone")
    alone = fit_law("pairs.csv", point_group="mmm", polynomial=False, **short)
    save(both(lone, alone), "learned-lone-both")
    Path("pairs.csv").unlink()

    save(copper.compile(), "polynomial-cubic")
    save(polynomial.compile(), "polynomial")
    save(NeoHooke(20.0, 30.0).compile(1e-2), "polynomial-isotropic")
    save(both(polynomial, network).compile(kind="torch"), "fused")
    save(polynomial.guarded(), "guarded")
    save(polynomial.guarded().compile(), "guarded-polynomial")


def pairs_of(law, path: str) -> None:
    from objstress.laws.conformance import random_deformations

    F = random_deformations(40, 0.04, np.random.default_rng(0))
    P, W = law.stress(F).numpy(), law.energy(F).numpy()
    index = [f"{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3)]
    header = ",".join([f"{name}{ij}" for name in "FP" for ij in index] + ["W"])
    table = np.column_stack([F.reshape(-1, 9), P.reshape(-1, 9), W])
    np.savetxt(path, table, delimiter=",", header=header, comments="", fmt="%.12g")


def write_potentials() -> None:
    from objstress import Potential, PotentialSettings

    Path("training/default.yaml").write_text(command("settings", "potential"))
    command("train", "training/water.yaml", "--out", "potentials/water.potential")
    shutil.rmtree("potentials/water.potential.train")
    tiny = dict(channels=2, layers=2, edge_lmax=2, later_lmax=2, correlation=2, bessel=3,
                radial=2, readout=2)  # fmt: skip
    torch.manual_seed(0)
    heads = ("energy", "dipole", "polarizability", "pseudoscalar")
    handed = PotentialSettings(elements=(1, 6, 8, 9, 17), heads=heads, group="SO(3)",
                               cutoff=3.0, **tiny)  # fmt: skip
    Potential(handed, torch.float32).save("potentials/handed.potential")
    crystal = PotentialSettings(elements=(29,), group="mmm", cutoff=4.0, **tiny)
    Potential(crystal).save("potentials/orthorhombic.potential")


def command(*words: str) -> str:
    """What a command of objstress prints."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "objstress", *words],
                          stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
    return done.stdout


def write_tensors() -> None:
    from objstress.models.crystal_tensor import CrystalTensorSettings
    from objstress.training.tensor_data import read_tensors
    from objstress.training.tensor_fit import TensorTraining, fit_tensor_ensemble

    for kind, file, key, members, dtype in (
        ("elastic", "elastic", "elastic_tensor_voigt", 2, torch.float64),
        ("dielectric", "response", "dielectric", 1, torch.float32),
        ("piezoelectric", "response", "piezoelectric", 2, torch.float32),
        ("born charges", "response", "born_charges", 2, torch.float64),
    ):
        rows = read_tensors(f"tensors/{file}.json", kind, key)
        found = fit_tensor_ensemble(
            *rows, CrystalTensorSettings(kind=kind, **numbers.TENSOR),
            TensorTraining(members=members, epochs=2), dtype=dtype, progress=False,
        )  # fmt: skip
        found.save(f"tensors/{kind.replace(' ', '-')}.tensor")


def write_docking() -> None:
    from rdkit import Chem

    from objstress.docking.complexes import complexes_in
    from objstress.docking.fit import PoseTraining, fit_pose_energy
    from objstress.docking.ligand import read_ligand
    from objstress.docking.synthetic import packed_pocket, write_complex
    from objstress.models.pose_energy import PoseEnergySettings

    ligand = read_ligand("CC(=O)Nc1ccccc1")
    Path("docking/site.pdb").write_text(packed_pocket(ligand, np.random.default_rng(0), 12, 0))
    indole = read_ligand("c1ccc2[nH]ccc2c1")  # no bond turns
    Path("docking/indole.sdf").write_text(Chem.SDWriter.GetText(indole.mol))
    Path("docking/many.smi").write_text("CCO ethanol\nc1ccccc1O\nrubbish\nCC(=O)N\n")
    assert write_complex(Path("docking/complexes"), "made-00000000", 0)
    known = [one for _, one in complexes_in("docking/complexes")]
    model = fit_pose_energy(known, PoseEnergySettings(**numbers.POSE),
                            PoseTraining(epochs=1, decoys=4), progress=False)  # fmt: skip
    model.save("docking/tiny.pose")


def write_mesh() -> None:
    from dolfinx.io import XDMFFile

    from objstress.fem import meshes

    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    with XDMFFile(mesh.comm, "fem/cases/mesh.xdmf", "w") as file:
        file.write_mesh(mesh)


def write_records() -> None:
    """Of one run, and of two replicas."""
    from objstress import run_replicas

    numbers.md("water", "finished")
    shutil.copy("finished/record.npz", "records/run.npz")
    shutil.rmtree("finished")
    found = run_replicas(
        numbers.structure("water"), "potentials/water.potential", 2, time=0.01, timestep=0.5,
        temperature=30.0, record=("dipole", "velocities"), progress=False,
    )  # fmt: skip
    found.save("records/replicas.npz")


# -- what goes on ---------------------------------------------------------------------------------


@contextmanager
def stopping(of: type, name: str, when: Callable[..., bool]) -> Iterator[None]:
    """A method that stops the run as soon as `when(its object)`, before it does anything."""
    original = getattr(of, name)

    def method(self, *arguments, **keywords):
        if when(self):
            raise Stopped
        return original(self, *arguments, **keywords)

    setattr(of, name, method)
    try:
        with suppress(Stopped, SystemExit):  # Lightning exits where it is interrupted
            yield
            raise AssertionError(f"{of.__name__}.{name} did not stop the run")
    finally:
        setattr(of, name, original)


def lines_in(path: str) -> int:
    return len(Path(path).read_text().splitlines()) if Path(path).is_file() else 0


def grown(path: str, lines: int) -> Callable[[object], bool]:
    """When a file has as many lines."""
    return lambda _: lines_in(path) >= lines


def grown_and_later(path: str, lines: int, calls: int) -> Callable[[object], bool]:
    """The same, and some calls later."""
    left = [calls]

    def when(_: object) -> bool:
        left[0] -= lines_in(path) >= lines
        return left[0] < 0

    return when


def at_epoch(epoch: int) -> Callable[[Any], bool]:
    return lambda module: module.current_epoch == epoch


def stopped_labels() -> dict:
    from matscipy.calculators.manybody import Manybody

    from objstress import label_adaptively

    found = {}
    for out, calculator, atoms, frames in (
        ("labels/copper-half.extxyz", EMT, 1, 3),
        ("labels/silicon-half.extxyz", Manybody, 2, 2),
    ):
        found[out] = numbers.labelled(out)
        Path(out).unlink()
        enough = grown(f"{out}.partial", frames * (atoms + 2))
        with stopping(calculator, "calculate", enough):
            numbers.labelled(out)
        found[out]["resumed"] = frames
    out = "labels/adaptive-half.extxyz"
    found[out] = numbers.labelled_adaptively(out)
    Path(out).unlink()
    with stopping(EMT, "calculate", grown(f"{out}.partial", 20 * 3)):
        label_adaptively(**numbers.ADAPTIVE, out=out, progress=False)
    found[out]["resumed"] = 20
    return found


def stopped_md() -> dict:
    from objstress import PotentialCalculator
    from objstress.dynamics import md

    found = {}
    for kind in numbers.MD:
        found[kind] = numbers.md(kind, "whole")
        shutil.rmtree("whole")
        calculator = PotentialCalculator if kind == "water" else EMT
        # Two evaluations after the third state was stored.
        with stopping(calculator, "calculate", grown_and_later(f"md/{kind}/log.csv", 4, 2)):
            numbers.md(kind, f"md/{kind}")
        found[kind]["resumed"] = 8 if kind == "water" else 10
    with stopping(md._Run, "store", lambda _: True):
        numbers.md("nve", "md/begun")
    found["begun"] = found["nve"] | {"resumed": 0}
    return found


def stopped_fem() -> dict:
    from objstress.fem import StaticProblem

    found = {}
    for name, run in (("fem/static", numbers.static), ("fem/dynamic", numbers.dynamic)):
        found[name] = run(None)
        with suppress(Stopped):
            run(name, stop=2)
        found[name]["restored"] = 2
    for out in numbers.CHECKPOINTED:
        found[out] = numbers.simulated("whole", out)
        shutil.rmtree("whole")
        with stopping(StaticProblem, "_step", lambda problem: len(problem.history) == 2):
            numbers.simulated(out)
        found[out]["restored"] = 2
    return found


def stopped_tables() -> dict:
    from objstress.docking import library
    from objstress.properties.screening import structures_in

    found = {}
    for out in numbers.TABLES:
        found[out] = numbers.screened(out)
        Path(out).unlink()

        def two() -> Iterator[tuple]:
            given = structures_in(["properties/many.extxyz"])
            yield next(given)
            yield next(given)
            raise Stopped

        with suppress(Stopped):
            numbers.screened(out, two())
        found[out]["resumed"] = 2
    out = "docking/rows.csv"
    found[out] = numbers.docked(out)
    for path in (out, "docking/rows.sdf"):
        Path(path).unlink()
    row = library._Row
    with stopping(row, "__call__", grown(f"{out}.partial", 3)):
        numbers.docked(out)
    found[out]["resumed"] = 2
    return found


def stopped_chain() -> dict:
    from objstress import PotentialCalculator
    from objstress.demo import chain

    rng = np.random.default_rng(0)
    frames = []
    for k in range(24):
        atoms = bulk("Cu", a=3.59, cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), True)
        atoms.rattle(0.03, seed=k)
        atoms.calc = EMT()
        atoms.get_stress()
        atoms.get_forces()
        frames.append(atoms)
    write("chain/train.extxyz", frames)
    AseAtomsAdaptor.get_structure(bulk("Cu", a=3.59, cubic=True)).to("chain/copper.cif")
    train = chain.train_potential

    def small(settings, **keywords):
        """A smaller network than the chain's, for some epochs instead of some minutes."""
        size = {"channels": 2, "edge_lmax": 2, "cutoff": 4.4, "correlation": 2, "bessel": 4}
        model = settings.model.model_copy(update=size)
        how = settings.training.model_copy(update={"max_minutes": None, "epochs": 30})
        return train(settings.model_copy(update={"model": model, "training": how}), **keywords)

    chain.train_potential = small
    out = "chain/run"
    numbers.chain(out, "fitting the law")
    chain.train_potential = train
    shutil.rmtree(f"{out}/training")
    found = numbers.chained(out)
    Path(out, "labels.extxyz").unlink()
    with stopping(PotentialCalculator, "calculate", grown(f"{out}/labels.extxyz.partial", 6 * 3)):
        numbers.chain(out, "fitting the law")
    return {out: found}


def stopped_fits(checkpoints: Path | None) -> dict:
    from objstress.docking.fit import PoseFit
    from objstress.training.network_fit import NetworkFit
    from objstress.training.potential_fit import PotentialFit
    from objstress.training.tensor_fit import TensorFit

    found = {}
    for kind, module, epoch in (
        ("law", NetworkFit, 1),
        ("potential", PotentialFit, 2),
        ("tensor", TensorFit, 22),
        ("pose", PoseFit, 2),
    ):
        folder = Path("training") / f"{kind}-half"
        with stopping(module, "training_step", at_epoch(epoch)):
            numbers.fit(kind, str(folder))
        if checkpoints is not None:
            shutil.copytree(folder, checkpoints / folder.name, dirs_exist_ok=True)
        left = list(folder.rglob("*.ckpt"))
        assert any(path.name == "last.ckpt" for path in left)
        for path in left:
            path.unlink()
        (mark,) = folder.rglob("fingerprint.txt")
        found[kind] = {"mark": mark.read_text(), "again": mark.read_text()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoints", type=Path)
    given = parser.parse_args()
    if objstress.__version__ != "0.1.0":
        sys.exit(f"objstress {objstress.__version__}: these are files of 0.1.0")
    checkpoints = given.checkpoints and given.checkpoints.resolve()
    given.folder.mkdir(parents=True)
    os.chdir(given.folder)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for make in (write_inputs, write_labels, write_laws, write_potentials, write_tensors,
                 write_docking, write_mesh, write_records):  # fmt: skip
        print(make.__name__, flush=True)
        make()
    expected = {"version": objstress.__version__, "loaded": numbers.loaded()}
    stopped = {"labels": stopped_labels, "md": stopped_md, "fem": stopped_fem,
               "tables": stopped_tables, "chain": stopped_chain}  # fmt: skip
    expected["gone_on"] = {}
    for name, make in stopped.items():
        print(make.__name__, flush=True)
        expected["gone_on"][name] = make()
    print("stopped_fits", flush=True)
    expected["gone_on"]["fits"] = stopped_fits(checkpoints)
    text = json.dumps(numbers.plain(expected), separators=(",", ":"), allow_nan=False)
    Path("expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
