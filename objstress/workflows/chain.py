"""The chain from a DFT set: potential -> strained cells -> law -> finite elements."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from objstress.errors import InputError
from objstress.io.files import write_json, write_whole
from objstress.io.run_folder import fingerprint, keep_settings
from objstress.labels.differences import elastic_differences, elastic_strains
from objstress.labels.labelling import label_strains
from objstress.labels.reading import read_labels
from objstress.labels.relaxation import relaxed_crystal
from objstress.labels.strains import sample_strains
from objstress.laws.check import check_law
from objstress.models.potential import load_potential
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_structure
from objstress.training.laws.fit import fit_law
from objstress.training.potential.evaluate import evaluate_potential
from objstress.training.potential.fit import fit_potential
from objstress.training.potential.frames import read_frames
from objstress.training.potential.settings import settings_from
from objstress.workflows.silicon import miller

DIRECTION = (1, 1, 0)


def run_chain(
    data: str | Path,
    structure: str | Path,
    out: str | Path,
    *,
    test: str | Path | None = None,
    minutes: float = 20.0,
    samples: int = 150,
    max_strain: float = 0.06,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the chain from labelled supercells to a pulled plate with a hole.

    1. A potential is fitted to energy, forces and stress of `data`: model.potential.
    2. The crystal is relaxed under it: crystal.cif.
    3. The potential labels strained cells with relaxed ions: labels.extxyz.
    4. A law is fitted: crystal.law.
    5. FEniCSx pulls a plate with a hole by 3 % along [110]: plate.bp, plate.png, force.png.

    The same call resumes an interrupted one.

    Args:
        data: extxyz with energies (eV), forces (eV/Angstrom) and stresses (eV/Angstrom^3).
        structure: structure file of the crystal.
        out: folder for the results of all steps.
        test: labelled structures that are not fitted, to measure the potential's errors.
        minutes: of fitting the potential.
        samples: number of strained cells.
        max_strain: largest |E| of the strained cells.
        seed: of the random numbers.
        say: takes each line of progress.

    Returns:
        The report, which is also in report.json and report.md.

    Raises:
        InputError: see the functions of each step; `out` holds a chain of other inputs.
    """
    from objstress.fem.verification import pulled_plate
    from objstress.workflows.plots import deformed, forces

    begun, out = time.perf_counter(), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}

    def stage(name: str, text: str) -> None:
        seconds[name] = time.perf_counter() - begun
        say(f"[{seconds[name]:5.0f} s] {text}")

    keys = {"energy": "energy", "forces": "forces", "stress": "stress"}
    # What later steps would refuse is refused before the long fit.
    group = PointGroup.from_structure(structure)
    sample_strains(samples, max_strain, seed, group)
    if test is not None:
        read_frames(test, keys)
    known = {z for frame in read_frames(data, keys) for z in frame.atoms.numbers}
    missing = {s.symbol for s in read_structure(structure).elements if s.Z not in known}
    if missing:
        raise InputError(f"{data}: holds no {', '.join(sorted(missing))}, which {structure} needs")
    keep_settings(
        out / "inputs.json",
        {
            "data": fingerprint([Path(data)]),
            "structure": fingerprint([Path(structure)]),
            "minutes": minutes,
            "samples": samples,
            "max_strain": max_strain,
            "seed": seed,
        },
        "give another --out, or remove it",
    )
    model, calculator = out / "model.potential", "potential"
    arguments = {"potential": str(model)}
    stage("training", "fitting the potential")
    if not model.is_file():
        potential = fit_potential(
            settings_from(
                {
                    "data": str(data),
                    "keys": keys,
                    "model": {"channels": 32},
                    "balancing": {"weights": {"energy": 1.0, "forces": 10.0, "stress": 10.0}},
                    "training": {"max_minutes": minutes, "epochs": 10_000, "seed": seed},
                }
            ),
            workdir=out / "training",
            say=lambda t: say(f"          {t}"),
        )
        potential.save(model)

    stage("relaxing", "relaxing the crystal under the potential")
    crystal = relaxed_crystal(structure, calculator, arguments)
    write_whole(out / "crystal.cif", crystal.to(fmt="cif"))
    stage("labelling", "labelling strained cells, ions relaxed")
    common: dict[str, Any] = dict(arguments=arguments, ions="relaxed", seed=seed)
    small, large = out / "elastic.extxyz", out / "labels.extxyz"
    for file, cells in (
        (small, {"strains": elastic_strains(2e-3)}),
        (large, {"samples": samples, "max_strain": max_strain}),
    ):
        if not file.is_file():
            label_strains(crystal, calculator, out=file, **cells, **common)

    stage("fitting", "fitting the law")
    law = fit_law(large, crystal, say=lambda t: say(f"          {t}"))
    law.save(out / "crystal.law")
    c = law.stiffness()
    differences = elastic_differences(read_labels(small, crystal))

    stage("pulling", "FEniCSx: a plate with a hole")
    body = pulled_plate(law, DIRECTION, steps=4)
    body.write(out / "plate.bp")
    deformed({miller(DIRECTION): body}, out / "plate.png")
    forces({miller(DIRECTION): body.history}, out / "force.png")

    held_out = law.metadata["held_out"]["both"]["relative_rmse"]
    claims = [
        Claim("held-out stresses of the law, relative RMSE", 100 * held_out, 1.0, "%"),
        Claim(
            "law's elastic constants against the potential's own differences, of the largest",
            100 * float(np.abs(c - differences).max() / np.abs(differences).max()),
            1.0,
            "%",
        ),
        *check_law(law),
    ]
    report = {
        "claims": [claim.to_dict() for claim in claims],
        "point_group": PointGroup.from_structure(crystal).symbol,
        "lattice_A": crystal.lattice.matrix.tolist(),
        "stiffness_GPa": c.tolist(),
        "stiffness_of_the_potential_GPa": differences.tolist(),
        "plate": [step.to_dict() for step in body.history],
        "seconds": seconds | {"all": time.perf_counter() - begun},
        "environment": environment(),
    }
    if test is not None:
        report["errors_of_the_potential"] = evaluate_potential(load_potential(model), test, keys)
    write_json(out / "report.json", report)
    write_whole(out / "report.md", _markdown(report, claims))
    return report


def _markdown(report: dict[str, Any], claims: list[Claim]) -> str:
    rows = "\n".join(
        "| " + " | ".join(f"{x:.2f}" for x in row) + " |" for row in report["stiffness_GPa"]
    )
    lines = [
        "# From a DFT set to a plate with a hole",
        "",
        claims_table(claims),
        "",
        "Stiffness of the law, GPa (Voigt xx yy zz yz xz xy):",
        "",
        "| xx | yy | zz | yz | xz | xy |\n|" + " --- |" * 6,
        rows,
        "",
    ]
    if "errors_of_the_potential" in report:
        lines += ["Errors of the potential on frames it never saw:", ""]
        lines += ["| target | RMSE | unit |", "| --- | --- | --- |"]
        for name, error in report["errors_of_the_potential"]["targets"].items():
            lines.append(f"| {name} | {error['rmse']:.4g} | {error['unit']} |")
        lines.append("")
    lines += [
        "Plate with a hole (4 x 4 x 0.4, radius 0.5), stretched by 3 % along x:",
        "",
        "![plate](plate.png)",
        "![force over elongation](force.png)",
    ]
    return "\n".join(lines) + "\n"
