"""Silicon and molybdenum from DFT: objstress and mace-torch, trained side by side as long.

`python -m benchmarks.dft_solids --mace PYTHON` (the interpreter of an environment that has
mace-torch) trains both on energy, forces and stress of the same frames, one thread each, and
compares errors by groups of frames, lattice and elastic constants and the vacancy:
dft_solids.json and .md. In part of the sheared cells of molybdenum the set has two shear stresses
in each other's place: which, `objstress.training.shear_order` decides frame by frame; both codes
are trained and tested on mended labels.
What lies trained in `--work` is not trained again; rows of elements that `--elements` leaves out
stay as they are. Data: Zuo et al., J. Phys. Chem. A 124, 731 (2020), in the folder `--data`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.units import GPa

from benchmarks import mace_runs, solid_properties
from benchmarks.stored import made
from objstress.calculators.potential import PotentialCalculator
from objstress.io.files import write_json
from objstress.models.potential import load_potential
from objstress.reports import environment
from objstress.training.potential.fit import fit_potential
from objstress.training.potential.settings import settings_from
from objstress.training.shear_order import ORDERS, contradictions, order_in_file

CHANNELS, CUTOFF, BATCH = 32, 5.0, 4
KEYS = {"energy": "energy", "forces": "forces", "stress": "stress"}
ELEMENTS = ("Si", "Mo")
QUANTITIES = ("energy_meV_per_atom", "forces_meV_per_A", "stress_GPa")
CRYSTAL = ("lattice_constant_A", "C11_GPa", "C12_GPa", "C44_GPa", "vacancy_eV")


def mended(data: Path, symbol: str, folder: Path) -> dict[str, Any]:
    """Training and test frames with the shear stresses in order, in the folder; what was mended."""
    parts = {part: read(data / f"{symbol}-{part}.extxyz", ":") for part in ("train", "test")}
    frames = [atoms for part in parts.values() for atoms in part]
    index, places = contradictions(frames)
    for k, place in zip(index, places, strict=True):
        results = dict(frames[k].calc.results)
        stress = results["stress"].copy()
        stress[3:] = stress[[3 + n for n in ORDERS[place]]]
        frames[k].calc = SinglePointCalculator(frames[k], **(results | {"stress": stress}))
    for part, own in parts.items():
        write(folder / f"{part}.extxyz", own)
    wrong = places[places > 0]
    return {
        "strained_crystals": len(index),
        "mended": len(wrong),
        "order_in_file": sorted({order_in_file(place) for place in wrong}),
    }


def train_both(python: str, folder: Path, minutes: float, epochs: int):
    """The potential; mace-torch leaves its model in the folder."""
    file = folder / "model.potential"
    if not file.is_file():
        train = folder / "train.extxyz"
        other = mace_runs.start_training(
            python,
            train,
            folder,
            channels=CHANNELS,
            cutoff=CUTOFF,
            batch_size=BATCH,
            epochs=epochs,
            loss="stress",
            stress_key="stress",
            compute_stress=True,
            stress_weight=1000,
            swa_stress_weight=100,
        )
        potential = fit_potential(
            settings_from(
                {
                    "data": str(train),
                    "keys": KEYS,
                    "validation": 0.05,
                    "model": {"channels": CHANNELS, "cutoff": CUTOFF},
                    "balancing": {"weights": {"energy": 10.0, "forces": 10.0, "stress": 1.0}},
                    "training": {
                        "max_minutes": minutes, "epochs": 100_000, "batch_size": BATCH
                    },
                }
            ),
            workdir=folder / "training",
            say=print,
        )  # fmt: skip
        potential.save(file)
        if other.wait() != 0:
            raise SystemExit(f"mace-torch failed, see {folder / 'log.txt'}")
    return load_potential(file)


def errors(frames: list[dict[str, Any]], labels: list) -> dict[str, dict[str, float]]:
    """RMSE by group of frames, and of all."""
    rows: dict[str, dict[str, float]] = {}
    groups = [a.info["group"] for a in labels]
    for group in ("all", *sorted(set(groups))):
        own = [k for k, name in enumerate(groups) if group in ("all", name)]
        gaps = [
            [1e3 * (frames[k]["energy"] - labels[k].get_potential_energy()) / len(labels[k])
             for k in own],
            [1e3 * x for k in own for x in np.ravel(frames[k]["forces"] - labels[k].get_forces())],
            [x / GPa
             for k in own for x in frames[k]["stress"] - labels[k].get_stress()],
        ]  # fmt: skip
        rms = [float(np.sqrt(np.mean(np.square(g)))) for g in gaps]
        rows[group] = {"frames": len(own)} | dict(zip(QUANTITIES, rms, strict=True))
    return rows


def row(found: dict[str, Any], labels: list, **more: Any) -> dict[str, Any]:
    """What is reported of one code."""
    known = {"errors": errors(found["frames"], labels)} | {k: found[k] for k in CRYSTAL}
    return known | more | made()


def compare(python: str, symbol: str, data: Path, work: Path, minutes: float, epochs: int):
    """{code: row} of one element."""
    folder = work / symbol
    folder.mkdir(parents=True, exist_ok=True)
    labels_mended = mended(data, symbol, folder)
    potential = train_both(python, folder, minutes, epochs)
    test = folder / "test.extxyz"
    labels = read(test, ":")
    ours = solid_properties.properties(PotentialCalculator(potential), test, symbol)
    model, out = mace_runs.trained_model(folder), folder / "mace.json"
    script = Path(solid_properties.__file__)
    mace_runs.run([python, "-W", "ignore", *map(str, (script, model, test, symbol, out))])
    return {
        "objstress": row(
            ours,
            labels,
            weights=sum(p.numel() for p in potential.parameters()),
            minutes=potential.metadata["minutes"],
            epochs=potential.metadata["epochs"],
            mended=labels_mended,
        ),
        "mace-torch": row(
            json.loads(out.read_text()),
            labels,
            weights=mace_runs.number_of_weights(python, model),
            minutes=mace_runs.minutes_of(folder),
            epochs=epochs,
            versions=mace_runs.versions(python),
        ),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Errors by group, then the crystals."""
    lines = ["| test frames | code | E, meV/atom | F, meV/Å | stress, GPa |", "|" + " --- |" * 5]
    for symbol, codes in rows.items():
        for group in codes["objstress"]["errors"]:
            for code, own in codes.items():
                e = own["errors"][group]
                cells = [f"{e[QUANTITIES[0]]:.1f}", f"{e[QUANTITIES[1]]:.0f}"]
                cells.append(f"{e[QUANTITIES[2]]:.2f}")
                name = f"{symbol}, {group} ({e['frames']})"
                lines.append(f"| {name} | {code} | " + " | ".join(cells) + " |")
    lines += ["", "| crystal | code | a, Å | C11 | C12 | C44, GPa | vacancy, eV | minutes |"]
    lines.append("|" + " --- |" * 8)
    for symbol, codes in rows.items():
        for code, own in codes.items():
            cells = [f"{own[CRYSTAL[0]]:.3f}", *(f"{own[k]:.0f}" for k in CRYSTAL[1:4])]
            cells += [f"{own[CRYSTAL[4]]:.2f}", f"{own['minutes']:.1f}"]
            lines.append(f"| {symbol} | {code} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="silicon and molybdenum, against mace-torch")
    parser.add_argument("--mace", required=True, help="Python with mace-torch")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/dft-solids"))
    parser.add_argument("--elements", nargs="+", default=list(ELEMENTS), choices=ELEMENTS)
    parser.add_argument("--epochs", type=int, default=18, help="of mace-torch")
    parser.add_argument("--minutes", type=float, default=15, help="of objstress, each element")
    parser.add_argument("--work", type=Path, default=Path("out/bench/dft_solids"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, work = arguments.data.resolve(), arguments.work.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "dft_solids.json"
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else {}
    for symbol in arguments.elements:
        rows[symbol] = compare(
            arguments.mace, symbol, data, work, arguments.minutes, arguments.epochs
        )
        content = {
            "claims": [],
            "rows": rows,
            "environment": environment() | {"training_dtype": "float32"},
        }
        write_json(path, content)
    title = "# Silicon and molybdenum from DFT, trained side by side"
    (arguments.out / "dft_solids.md").write_text(f"{title}\n\n{table(rows)}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
