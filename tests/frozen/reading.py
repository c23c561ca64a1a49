"""What the frozen files of version 0.1 give, by the present names.

`read_0_1.py` is the same by the names of version 0.1: with it the files and `expected.json` were
made. Each function works in the folder of the files, all paths are relative to it.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import read
from pymatgen.core import Structure

RTOL = 1e-10
"""Of the largest number of an array; a group of numbers may have its own, `rtol`."""

DEFORMATIONS = {
    "small": [[1.01, 0.004, 0.0], [-0.002, 0.99, 0.006], [0.003, 0.0, 1.005]],
    "larger": [[0.97, -0.01, 0.02], [0.015, 1.02, -0.01], [0.0, 0.01, 0.99]],
    "outside": [[1.3, 0.1, 0.0], [0.0, 0.85, 0.05], [-0.05, 0.0, 1.1]],
}
"""F that laws are asked with; the last one is far outside of what they were trained on."""

STRUCTURES = {
    "water": {
        "numbers": [8, 1, 1],
        "positions": [[0.0, 0.0, 0.12], [0.02, 0.76, -0.47], [-0.01, -0.74, -0.49]],
    },
    "fluorochloromethanol": {
        "numbers": [6, 9, 17, 8, 1, 1],
        "positions": [
            [0.0, 0.02, 0.36],
            [-0.52, 1.19, 0.74],
            [-0.77, -1.21, -0.62],
            [1.36, 0.05, 0.32],
            [-0.27, -0.42, 1.32],
            [1.66, 0.71, -0.31],
        ],
    },
    "copper": {
        "numbers": [29, 29],
        "positions": [[0.05, 0.0, 0.0], [1.9, 1.7, 0.1]],
        "cell": [[3.6, 0.1, 0.0], [0.0, 3.5, 0.2], [0.1, 0.0, 3.7]],
    },
}

MODELS = {
    "potentials/water.potential": "water",
    "potentials/handed.potential": "fluorochloromethanol",
    "potentials/orthorhombic.potential": "copper",
}
"""Potentials, and the structures that they are asked with."""


def structure(name: str) -> Atoms:
    given = STRUCTURES[name]
    return Atoms(given["numbers"], given["positions"], cell=given.get("cell"), pbc="cell" in given)


# -- files that are loaded ------------------------------------------------------------------------


def law(path: str) -> dict:
    from objstress import load_law
    from objstress.laws.polynomial import PolynomialLaw

    found = load_law(path, outside="ignore")
    numbers = {
        "kind": found.kind,
        "point_group": found.point_group.symbol,
        "metadata": dict(getattr(found, "metadata", {})),
    }
    inner = getattr(found, "law", found)
    ions = getattr(inner, "displacements", None) is not None or "ensemble" in path
    # One by one: stresses far outside are larger by orders of magnitude.
    for name, F in DEFORMATIONS.items():
        numbers[name] = {
            "energy": found.energy(F),
            "stress": found.stress(F),
            "tangent": np.einsum("ijkl,kl->ij", found.tangent(F), F),
            "outside": found.outside(F),
        }
        if (bar := found.stress_error(F)) is not None:
            numbers[name]["stress_error"] = bar
        if ions:
            numbers[name]["internal_displacements"] = found.internal_displacements(F)
    if (crystal := getattr(inner, "structure", None)) is not None:
        numbers["lattice"] = crystal.lattice.matrix
        numbers["species"] = [site.species_string for site in crystal]
    if isinstance(found, PolynomialLaw):
        orders = range(2, min(found.degree, 3) + 1)
        numbers["constants"] = {str(k): found.elastic_constants(k) for k in orders}
    return numbers


def potential(path: str) -> dict:
    from objstress import PotentialCalculator, load_potential
    from objstress.graphs.atoms import atom_graph
    from objstress.models.potential import OUTPUTS

    stored, exact = load_potential(path), load_potential(path, torch.float64)
    atoms = structure(MODELS[path])
    s = exact.settings
    wanted = [
        name
        for name, head in OUTPUTS.items()
        if head in s.heads and (name != "stress" or atoms.pbc.all())
    ]
    found = exact(atom_graph(atoms, s.elements, s.cutoff), wanted)
    atoms.calc = PotentialCalculator(exact)
    return {
        "dtype": str(stored.dtype),
        "elements": list(s.elements),
        "heads": list(s.heads),
        "metadata": stored.metadata,
        "of_the_calculator": {"energy": atoms.get_potential_energy()},
        **{name: value.detach() for name, value in found.items()},
    }


def tensor(path: str) -> dict:
    from objstress.models.tensor_ensemble import TensorEnsemble, load_tensors

    found = load_tensors(path)
    if not isinstance(found, TensorEnsemble):
        return corrected(found)
    dtype = str(found.members[0].dtype)
    for member in found.members:  # single precision would leave seven digits
        member.double()
    rows = json.loads(Path("tensors/crystals.json").read_text())
    said = found.predict([Structure.from_dict(row["structure"]) for row in rows])
    return {
        "kind": found.kind,
        "dtype": dtype,
        "members": len(found.members),
        "metadata": found.metadata,
        "unit": said[0].unit,
        "tensors": [one.tensor for one in said],
        "deviations": [one.deviation for one in said if one.deviation is not None],
        # Of a crystal that is like none of the training set it is any large number.
        "distances": [min(one.distance, 1e6) for one in said],
    }


def corrected(found) -> dict:
    """Of a stable crystal and of one that its calculator has unstable."""
    from objstress.elasticity.moduli import cubic_stiffness
    from objstress.symmetry.voigt import voigt_to_tensor

    row = json.loads(Path("tensors/crystals.json").read_text())[0]
    crystal = Structure.from_dict(row["structure"])
    priors = [cubic_stiffness(170.0, 120.0, 75.0), cubic_stiffness(120.0, 130.0, 75.0)]
    said = [found.correct(crystal, voigt_to_tensor(c)) for c in priors]
    return {
        "prior": found.prior,
        "metadata": found.metadata,
        "tensors": [one.tensor for one in said],
        "deviations": [one.deviation for one in said],
        "notes": [one.note for one in said],
    }


def pose(path: str) -> dict:
    from objstress.docking import load_pose_energy, make_complex, read_ligand, read_protein

    model = load_pose_energy(path)
    ligand = read_ligand("docking/indole.sdf", placed=True)
    complex_ = make_complex(ligand, read_protein("docking/site.pdb"))
    shifts = torch.tensor([[0.0, 0, 0], [0.6, -0.3, 0.2], [0.0, 1.5, 1.0]], dtype=torch.float64)
    energy, gradient = model.field(complex_)(complex_.native + shifts[:, None])
    return {
        "dtype": str(model.dtype),
        "metadata": model.metadata,
        "energy": energy.detach(),
        "gradient": gradient.detach(),
    }


def labels(path: str, crystal: str) -> dict:
    from objstress.labels import read_labels

    found = read_labels(path, crystal)
    return {
        "number": len(found),
        "ions": found.ions,
        "source": found.source,
        "energy": found.energy,
        # Some of them are enough.
        "F": found.F[1::5],
        "cauchy": found.cauchy[1::5],
        "moves": None if found.moves is None else found.moves[1::5],
    }


def frames(path: str) -> dict:
    """Labelled cells as ASE reads them."""
    found = read(path, ":")
    return {
        "index": [int(a.info["strain_index"]) for a in found],
        "calculator": [a.info["calculator"] for a in found],
        "F": [a.info["deformation_gradient"] for a in found],
        "energy": [a.get_potential_energy() for a in found],
        "stress": [a.get_stress() for a in found],
        "rtol": 1e-7,
    }


def record(path: str) -> dict:
    from objstress.io import read_recording

    found = read_recording(path)
    return {
        "time_step": found.time_step,
        "temperature": found.temperature,
        "verlet_step": found.verlet_step,
        "volume": found.volume,
        "masses": found.masses,
        "shapes": {name: list(array.shape) for name, array in found.arrays.items()},
        "last": {name: array[..., -1] for name, array in found.arrays.items()},
    }


def case(path: str) -> dict:
    """What a case says; a later version may say more."""
    from objstress.fem import read_case

    return {"content": read_case(path).model_dump(mode="json")}


def solved_case(path: str) -> dict:
    """The last step of a case."""
    from objstress.fem import simulate

    with tempfile.TemporaryDirectory() as folder:
        return {"last_step": step(simulate(path, folder, progress=False)["steps"][-1])}


def step(record: dict) -> dict:
    """Of a step of a problem what does not depend on the round-off of its solver."""
    left_out = ("residuals", "corrections", "order")
    return {k: v for k, v in record.items() if k not in left_out} | {"rtol": 1e-8}


def settings(path: str) -> dict:
    """What the settings of a training say; a later version may say more."""
    from objstress.training import read_settings

    return {"content": read_settings(path).model_dump(mode="json")}


def complexes(folder: str) -> dict:
    from objstress.docking import complexes_in, make_complexes

    made = make_complexes(Path(folder), 1)  # is there: nothing is made
    found = dict(complexes_in(folder))
    return {
        name: {"made": name in made, "native": one.native, "atoms": len(one.site.pos)}
        for name, one in found.items()
    }


# -- runs that go on ------------------------------------------------------------------------------

CALCULATORS = {
    "labels/copper-half.extxyz": dict(
        structure="labels/copper.cif", calculator="emt", samples=6, ions="clamped"
    ),
    "labels/silicon-half.extxyz": dict(
        structure="labels/silicon.cif", calculator="stillinger-weber", samples=4, ions="relaxed"
    ),
}
"""Arguments of `label_strains`."""
ADAPTIVE = dict(
    structure="labels/copper.cif", calculator="emt", samples=32, ions="clamped", target=0.5
)
"""Arguments of `label_adaptively`."""


def labelled(out: str) -> dict:
    from objstress import label_strains

    given = CALCULATORS[out]
    told = label_strains(**given, out=out, progress=False)
    return of_labels(told, out, given["structure"])


def labelled_adaptively(out: str) -> dict:
    from objstress import label_adaptively

    told = label_adaptively(**ADAPTIVE, out=out, progress=False)
    return of_labels(told, out, ADAPTIVE["structure"])


def of_labels(told: dict, out: str, crystal: str) -> dict:
    # Relaxed ions come to rest within a tolerance; where, round-off has a say in.
    return {"resumed": told["resumed"], "labels": labels(out, crystal) | {"rtol": 1e-7}}


MD = {
    "nve": dict(ensemble="nve"),
    "nvt": dict(ensemble="nvt", thermostat_time=20.0),
    "npt": dict(ensemble="npt", cell="shape", pressure=1.0, barostat_time=100.0),
    "npt-volume": dict(ensemble="npt", cell="volume", barostat_time=100.0),
    "water": dict(ensemble="nvt", timestep=0.5, temperature=30.0, every=4,
                  record=("dipole", "polarizability", "velocities"), record_every=2),
}  # fmt: skip
"""Arguments of `run_md`; all runs take 20 steps."""


def md(kind: str, out: str, calculator=None) -> dict:
    """The end of a run; `calculator` is EMT, or the potential of water."""
    from objstress import run_md

    settings = dict(timestep=2.0, temperature=300.0, seed=3, every=5) | MD[kind]
    if calculator is None:
        calculator = "potentials/water.potential" if kind == "water" else EMT()
    run = run_md(
        "md/water.xyz" if kind == "water" else "md/copper.xyz", calculator, out,
        time=20 * settings["timestep"] / 1000, progress=False, **settings,
    )  # fmt: skip
    numbers = {
        "resumed": run.resumed,
        "steps": run.steps,
        "columns": list(run.log),
        # EMT's energies are written as np.float64(...), which is read as no number.
        "last_row": {k: column[-1] for k, column in run.log.items() if column[-1] == column[-1]},
        "positions": run.atoms.positions,
        "momenta": run.atoms.get_momenta(),
        "cell": run.atoms.cell.array,
        "frames": len(read(Path(out) / "trajectory.extxyz", ":")),
        "rtol": 1e-8,
    }
    if "record" in settings:
        numbers["record"] = record(str(Path(out) / "record.npz")) | {"rtol": 1e-8}
    return numbers


def static_problem():
    """A block of copper under pressure, into which a ball is pressed."""
    import objstress.fem as fe
    from objstress import SaintVenantKirchhoff
    from objstress.elasticity.moduli import cubic_stiffness
    from objstress.fem import meshes

    copper = SaintVenantKirchhoff(cubic_stiffness(168.4, 121.4, 75.4), "m-3m")
    ball = fe.RigidSphere("z=max", (0, 0, -0.1), centre=(0.0, 0.0, 3.0), radius=2.0)
    sliding = [fe.symmetry_plane(f"{axis}=min") for axis in "xyz"]
    mesh = meshes.box((1, 1, 1), (2, 2, 2))
    return fe.StaticProblem(mesh, copper, [*sliding, ball, fe.Pressure("x=max", 1.0)])


def dynamic_problem():
    """A bar that is held at one end, pulled at the other, and moves to begin with."""
    import objstress.fem as fe
    from objstress import NeoHooke
    from objstress.fem import meshes

    wall = fe.Displacement("x=min", (0.0, 0.0, 0.0), "wall")
    pull = fe.Traction("x=max", (0.5, 0.1, 0.0))
    return fe.DynamicProblem(
        meshes.box((10.0, 1.0, 1.0), (2, 1, 1)), NeoHooke(50.0, 20.0), [wall, pull],
        density=2500.0, spectral_radius=0.9,
        velocity=lambda x: np.array([0.01 * x[0], 0 * x[0], 0 * x[0]]),
    )  # fmt: skip


@contextmanager
def kept(folder: str) -> Iterator[list[str]]:
    """The states in a folder that a run does not write again."""

    def stamps() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in Path(folder).glob("0*.safetensors")}

    before, names = stamps(), []
    yield names
    names += [name for name, stamp in stamps().items() if before.get(name) == stamp]


def static(checkpoint: str) -> dict:
    return of_problem(static_problem(), checkpoint, steps=4)


def dynamic(checkpoint: str) -> dict:
    return of_problem(dynamic_problem(), checkpoint, steps=4, duration=2.0)


def of_problem(problem, checkpoint: str, **run) -> dict:
    """All steps of a run."""
    with kept(checkpoint) as restored:
        history = problem.solve(**run, progress=False, checkpoint=checkpoint)
    return {
        "restored": len(restored),
        "steps": [step(record.to_dict()) for record in history],
        "end": {name: np.sort(f.x.array) for name, f in problem.state().items()} | {"rtol": 1e-8},
    }


CHECKPOINTED = {"fem/grains": "fem/cases/grains.yaml", "fem/plane": "fem/cases/plane.yaml"}
"""Cases that go on, by the folder of their results."""


def simulated(out: str) -> dict:
    """A case that goes on from out/states."""
    from objstress.fem import simulate

    with kept(f"{out}/states") as restored:
        result = simulate(CHECKPOINTED[out], out, progress=False)
    return {"restored": len(restored), "steps": [step(one) for one in result["steps"]]}


TABLES = {
    "properties/emt.csv": dict(model="emt"),
    "properties/networks.csv": dict(model="tensors/elastic.tensor"),
}


def screened(out: str) -> dict:
    import pandas as pd

    from objstress.properties import screen, structures_in

    structures = structures_in(["properties/many.extxyz"])
    told = screen(structures, out=out, progress=False, **TABLES[out])
    table = pd.read_csv(out).drop(columns="seconds")
    return {
        "resumed": told["resumed"],
        "failed": [row["name"] for row in told["failed"]],
        "columns": list(table),
        "names": table["name"].tolist(),
        "C11_GPa": table["C11_GPa"].fillna(0.0).tolist(),
        "rtol": 1e-5 if "networks" in out else 1e-8,  # single precision
    }


def docked(table: str) -> dict:
    import pandas as pd

    from objstress.docking import Box, dock_library

    told = dock_library(
        "docking/site.pdb", "docking/many.smi", Path(table).with_suffix(".sdf"), table,
        "docking/tiny.pose", box=Box(np.zeros(3), np.full(3, 14.0)), starts=2, hops=0,
        progress=False,
    )  # fmt: skip
    rows = pd.read_csv(table).drop(columns="seconds")
    return {
        "resumed": told["resumed"],
        "failed": [row["name"] for row in told["failed"]],
        "columns": list(rows),
        "names": rows["name"].tolist(),
        "heavy_atoms": rows["heavy_atoms"].fillna(0).tolist(),
        # Those that were docked before; conformers and searches of the others may differ.
        "energies": rows["energy_kcal_per_mol"].tolist()[:2],
    }


class Stopped(KeyboardInterrupt):
    """The run was to be stopped here."""


CHAIN = dict(data="chain/train.extxyz", structure="chain/copper.cif", minutes=1.0, samples=12,
             max_strain=0.03)  # fmt: skip
"""Arguments of `run_chain`."""


def chain(out: str, until: str) -> None:
    """A chain until it says so."""
    from objstress.workflows import run_chain

    def say(text: str) -> None:
        if text.endswith(until):
            raise Stopped

    with suppress(Stopped):
        run_chain(**CHAIN, out=out, say=say)
        raise AssertionError(f"the chain did not say {until!r}")


def chained(out: str) -> dict:
    """The strained cells of a chain that goes on with the potential that is there."""
    from objstress.errors import InputError

    with suppress(InputError):
        from objstress.workflows import run_chain

        run_chain(**CHAIN | {"samples": 13}, out=out, say=lambda text: None)
        raise AssertionError("a chain of other inputs went on")
    before = Path(out, "model.potential").read_bytes()
    chain(out, "fitting the law")
    assert Path(out, "model.potential").read_bytes() == before
    return {
        "inputs": json.loads(Path(out, "inputs.json").read_text()),
        "elastic": frames(f"{out}/elastic.extxyz"),
        "labels": frames(f"{out}/labels.extxyz"),
    }


FITS = ("law", "potential", "tensor", "pose")


def fit(kind: str, folder: str) -> None:
    """A training in a folder of its own."""
    if kind == "law":
        from objstress import fit_law
        from objstress.models.constitutive import NetworkSettings
        from objstress.training import NetworkTraining

        fit_law("labels/silicon.extxyz", "labels/silicon.cif", polynomial=False,
                stress_free=False, network=NetworkSettings(**NETWORK),
                training=NetworkTraining(epochs=3, iterations=3), workdir=folder,
                progress=False)  # fmt: skip
    elif kind == "potential":
        from objstress import fit_potential

        fit_potential("training/water.yaml", folder, progress=False)
    elif kind == "tensor":
        from objstress.models.crystal_tensor import CrystalTensorSettings
        from objstress.training import TensorTraining, fit_tensors, read_crystal_tensors

        rows = read_crystal_tensors("tensors/response.json", "born charges", "born_charges")
        settings = CrystalTensorSettings(kind="born charges", **TENSOR)
        fit_tensors(*rows, settings, TensorTraining(members=1, epochs=30), folder, progress=False)
    else:
        from objstress.docking import (
            PoseEnergySettings,
            PoseTraining,
            complexes_in,
            fit_pose_energy,
        )

        known = [one for _, one in complexes_in("docking/complexes")]
        training = PoseTraining(epochs=3, decoys=4)
        fit_pose_energy(known, PoseEnergySettings(**POSE), training, folder, progress=False)


NETWORK = dict(channels=2, layers=2, hidden_lmax=1, edge_lmax=2, radial=2, readout=2)
TENSOR = dict(cutoff=4.0, channels=2, kinds=2, layers=2, bessel=2, radial=2, readout=2,
              edge_lmax=4, hidden_lmax=1, later_lmax=4)  # fmt: skip
POSE = dict(channels=2, layers=2, scores=2, bessel=2, radial=2, readout=2, edge_lmax=1,
            later_lmax=1, correlation=2)  # fmt: skip
"""Sizes of tiny networks."""


def fingerprint(kind: str) -> dict:
    """Of a training that stopped: the text of its mark, and whether a training there would go on.

    Checkpoints themselves are not kept: they are pickled. A training of other data or settings
    would write another mark.
    """
    folder = Path("training") / f"{kind}-half"
    (mark,) = folder.rglob("fingerprint.txt")
    text = mark.read_text()
    stop_at_once(kind, str(folder))
    return {"mark": text, "again": mark.read_text()}


def stop_at_once(kind: str, folder: str) -> None:
    """Begin a training, and stop it before its first epoch."""
    import lightning

    def stop(*_, **__):
        raise Stopped

    original, lightning.Trainer.fit = lightning.Trainer.fit, stop
    try:
        with suppress(Stopped):
            fit(kind, folder)
    finally:
        lightning.Trainer.fit = original


# -- all of them ----------------------------------------------------------------------------------

LABELS = {
    "labels/copper.extxyz": "labels/copper.cif",
    "labels/silicon.extxyz": "labels/silicon.cif",
}
LOADED = {
    "laws": law,
    "potentials": potential,
    "tensors": tensor,
    "poses": pose,
    "labels": lambda path: labels(path, str(Path(path).with_suffix(".cif"))),
    "records": record,
    "settings": settings,
    "complexes": complexes,
    "cases": lambda path: (
        case(path) | (solved_case(path) if path not in CHECKPOINTED.values() else {})
    ),
}
"""Functions that load the files of each kind, which "loaded" in expected.json names."""


def resumed(kind: str, name: str) -> dict:
    """A run that goes on, by its names in "gone_on" of expected.json; changes the folder."""
    adaptive = name == "labels/adaptive-half.extxyz"
    functions = {
        "labels": labelled_adaptively if adaptive else labelled,
        "md": lambda kind: md("nve" if kind == "begun" else kind, f"md/{kind}"),
        "fem": {"fem/static": static, "fem/dynamic": dynamic}.get(name, simulated),
        "tables": docked if name == "docking/rows.csv" else screened,
        "chain": chained,
        "fits": fingerprint,
    }
    return functions[kind](name)


def plain(value):
    """Numbers and texts that JSON holds."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def differences(found, expected, place: str = "", rtol: float = RTOL) -> list[str]:
    """Where `found` is not what was expected; it may hold more keys."""
    if isinstance(expected, dict) and isinstance(found, dict):
        rtol = expected.get("rtol", rtol)
        lacking = [f"{place}/{k}: is not there" for k in expected if k not in found]
        return lacking + [
            line
            for k, value in expected.items()
            if k in found
            for line in differences(found[k], value, f"{place}/{k}", rtol)
        ]
    try:
        a, b = (np.array(x, dtype=float) for x in (found, expected))
    except (TypeError, ValueError):
        if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
            return [
                line
                for k, (x, y) in enumerate(zip(found, expected, strict=True))
                for line in differences(x, y, f"{place}/{k}", rtol)
            ]
        return [] if found == expected else [f"{place}: {found!r:.80}, not {expected!r:.80}"]
    if a.shape != b.shape:
        return [f"{place}: shape {a.shape}, not {b.shape}"]
    off = np.abs(a - b).max(initial=0.0)
    largest = np.abs(b).max(initial=0.0)
    if off <= rtol * largest + 1e-14 or np.array_equal(a, b, equal_nan=True):
        return []
    return [f"{place}: off by {off:.2e} of {largest:.2e}"]
