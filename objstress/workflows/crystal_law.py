"""From a structure file of any elements to its law, with the error bar of the potential."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.analysis.dimensionality import get_dimensionality_larsen
from pymatgen.analysis.graphs import StructureGraph
from pymatgen.core import Structure

from objstress.calculators.registry import make_calculator
from objstress.calculators.universal import UNIVERSAL, ready_potentials, universal_potential
from objstress.elasticity.bounds import rotated_stiffness
from objstress.errors import InputError
from objstress.io.files import check_writable, write_json, write_whole
from objstress.io.run_folder import fingerprint, keep_settings
from objstress.labels.labelling import label_strains
from objstress.labels.reading import read_labels
from objstress.labels.strains import sample_strains
from objstress.laws.check import check_law
from objstress.laws.learned import LearnedLaw
from objstress.properties.crystal import CrystalProperties, crystal_properties
from objstress.properties.plots import plot_properties
from objstress.properties.sources.calculator import CalculatorSource
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_structure
from objstress.training.laws.fit import fit_law
from objstress.training.laws.metrics import stress_errors
from objstress.training.laws.polynomial import count_coefficients

DEGREE = 4
"""Of the polynomial that the number of labels is meant for."""
FEWEST, MOST = 40, 300
CALLS = 4.0
"""Evaluations of the potential that a label costs, with relaxed ions."""
SECOND = 12
"""Strains at which a second potential is asked."""
NEIGHBOURS = 1.25
"""Atoms are bonded up to so many times the distance of the nearest."""
MAGNETIC = {"Cr", "Mn", "Fe", "Co", "Ni", "Ce", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "U"}


def law_of(
    structure: Structure | str | Path,
    out: str | Path,
    *,
    model: str | None = None,
    arguments: dict[str, Any] | None = None,
    max_strain: float = 0.05,
    budget: float | None = None,
    seed: int = 0,
    symprec: float = SYMPREC,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Make the law of a crystal with an interatomic potential, and say how far to trust it.

    1. The crystal is relaxed; its elastic constants and the stiffness of its ions are differenced.
    2. Strained cells are labelled, their ions relaxed.
    3. A polynomial law is fitted and checked.
    4. A second potential is asked for the elastic constants and for a few strains of its own
       crystal: how far the two are apart is the error bar of the first.

    The law goes to `out`, everything else to a folder of the same name without its ending:
    crystal.cif, labels.extxyz, report.md, report.json and pictures. The same call resumes an
    interrupted one.

    Args:
        structure: a crystal of any elements, or its file.
        out: the law file to write.
        model: name of a calculator; the best universal potential that is installed by default.
        arguments: keyword arguments of the calculator.
        max_strain: largest |E| of the labels.
        budget: minutes that labelling may take; it then takes fewer labels.
        seed: of the strains.
        symprec: distance in Angstrom under which sites are equivalent.
        workers: number of processes that label.
        say: takes each line of progress.

    Returns:
        The report, which is also in report.json and report.md.

    Raises:
        InputError: a disordered structure, elements that the potential does not know, a crystal
            that is not stable under it, labels that no law explains, too small a budget; `out`
            holds a law of other inputs.
    """
    begun, out = time.perf_counter(), Path(out)
    if out.suffix != ".law":
        raise InputError(f"{out}: the file of a law ends in .law")
    check_writable(out)
    if budget is not None and not budget > 0:
        raise InputError(f"budget = {budget}: give minutes above 0")
    name = model or universal_potential()
    crystal = read_structure(structure)
    sample_strains(1, max_strain, seed)
    source = replace(CalculatorSource.named(name, arguments), symprec=symprec)
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "structure": fingerprint([Path(structure)])
        if isinstance(structure, str | Path)
        else crystal.to_json(),
        "model": name,
        "arguments": arguments or {},
        "max_strain": max_strain,
        "budget": budget,
        "seed": seed,
        "symprec": symprec,
    }
    keep_settings(folder / "inputs.json", settings, "give another --out, or remove it")

    def stage(text: str) -> None:
        say(f"[{time.perf_counter() - begun:5.0f} s] {text}")

    stage(f"{crystal.composition.reduced_formula}: relaxing and differencing under {name}")
    known = crystal_properties(crystal, source)
    _check_stable(known, name)
    notes = _notes(known, name)
    relaxed = known.structure
    write_whole(folder / "crystal.cif", relaxed.to(fmt="cif"))
    plot_properties(known, folder / "elasticity.png")

    samples = _number_of_labels(known.point_group)
    if budget is not None:
        samples = _affordable(samples, budget, relaxed, source)
    stage(f"labelling {samples} strains up to |E| = {max_strain:.1%}")
    labels = folder / "labels.extxyz"
    common: dict[str, Any] = dict(symprec=symprec, seed=seed, max_strain=max_strain)
    if not labels.is_file():
        label_strains(
            relaxed,
            name if workers > 1 else source.calculator,
            out=labels,
            samples=samples,
            arguments=arguments if workers > 1 else None,
            workers=workers,
            **common,
        )
    stage("fitting")
    try:
        law = fit_law(
            labels, relaxed, use_network=False, symprec=symprec, say=lambda t: say(f"          {t}")
        )
    except InputError as error:
        why = str(error).partition(";")[0]  # what follows is advice on other labels
        raise InputError(
            f"no law of strains up to {max_strain:.1%}: {why}; a crystal near an instability, as "
            "ferroelectrics are, needs a smaller --max-strain"
        ) from None
    notes += law.metadata["notes"]
    claims = [
        Claim(
            "fit against the potential, held-out stresses, relative RMSE",
            100 * law.metadata["held_out"]["both"]["relative_rmse"],
            1.0,
            "%",
        ),
        *check_law(law),
    ]
    stage("asking a second potential")
    second = _second_opinion(law, known, name, folder, common)
    law.metadata |= {"model": name, "teacher_error": second, "notes": notes}
    law.save(out)
    c = law.stiffness()
    report = {
        "law": str(out),
        "formula": relaxed.composition.reduced_formula,
        "point_group": known.point_group.symbol,
        "model": {"name": name} | _facts(name),
        "labels": law.metadata["labels"],
        "max_strain": max_strain,
        "stiffness_GPa": c.tolist(),
        "stiffness_ieee_GPa": rotated_stiffness(c, known.to_ieee[None])[0].tolist(),
        "stiffness_by_differences_GPa": known.stiffness.tolist(),
        "bulk_and_shear_modulus_GPa": _moduli(known),
        "claims": [claim.to_dict() for claim in claims],
        "second_potential": second,
        "notes": notes,
        "seconds": time.perf_counter() - begun,
        "environment": environment(),
    }
    write_json(folder / "report.json", report)
    write_whole(folder / "report.md", _markdown(report, claims))
    for note in notes:
        say(f"note: {note}")
    stage(f"law written to {out}, report to {folder / 'report.md'}")
    return report


def _notes(known: CrystalProperties, name: str) -> list[str]:
    """What a reader of the law has to be told of its crystal."""
    notes = []
    symbols = {site.specie.symbol for site in known.structure}
    magnetic = sorted(symbols & MAGNETIC)
    if magnetic:
        notes.append(
            f"{', '.join(magnetic)}: {name} knows no magnetic order; the constants are those of "
            "whatever order its training data had"
        )
    dimension = _dimension(known.structure)
    if dimension < 3:
        what = {0: "molecules", 1: "chains", 2: "layers"}[dimension]
        notes.append(
            f"bonds join the atoms to {what} only; what holds these together are mostly "
            f"dispersion forces, of which {name} knows little: constants across are doubtful"
        )
    softest = known.least_ion_stiffness
    if softest is not None and softest < 0:
        notes.append(
            f"under {name} the ions leave their sites along a mode of {softest:.2f} eV/Angstrom^2; "
            f"the law is that of the crystal held at its symmetry, {known.point_group.symbol}"
        )
    return notes


def _dimension(crystal: Structure) -> int:
    """3 for a framework, 2 for layers, 1 for chains, 0 for molecules."""
    reach = NEIGHBOURS * crystal.lattice.abc[0]
    first, second, image, distance = crystal.get_neighbor_list(reach)
    while len(np.unique(first)) < len(crystal):
        reach *= 1.5
        first, second, image, distance = crystal.get_neighbor_list(reach)
    nearest = np.full(len(crystal), np.inf)
    np.minimum.at(nearest, first, distance)
    bonded = distance < NEIGHBOURS * nearest[first]
    edges = {
        (int(i), int(j), (0, 0, 0), tuple(int(x) for x in t)): None
        for i, j, t in zip(first[bonded], second[bonded], image[bonded], strict=True)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bonds that are named from both ends
        return int(get_dimensionality_larsen(StructureGraph.from_edges(crystal, edges)))


def _check_stable(known: CrystalProperties, name: str) -> None:
    if known.stability.stable:
        return
    least = known.stability.eigenvalues[0]
    raise InputError(
        f"{known.structure.composition.reduced_formula} is not stable under {name}: a strain "
        f"lowers its energy (eigenvalue {least:.1f} GPa of its elastic constants); it has no law "
        "as a solid of this structure"
    )


def _number_of_labels(group: PointGroup) -> int:
    """Three equations for each coefficient of a polynomial, and a fifth held out."""
    return int(np.clip(np.ceil(3 * count_coefficients(group, DEGREE) / 6 / 0.8), FEWEST, MOST))


def _affordable(wanted: int, budget: float, crystal: Structure, source: CalculatorSource) -> int:
    atoms = crystal.to_ase_atoms(msonable=False)
    atoms.calc = source.calculator
    begun = time.perf_counter()
    atoms.get_stress()
    seconds = time.perf_counter() - begun
    number = min(wanted, int(60 * budget / (CALLS * max(seconds, 1e-6))))
    least = wanted // 3
    if number < least:
        raise InputError(
            f"budget = {budget:g}: {number} labels of about {CALLS * seconds:.1f} s fit in, too "
            f"few for a law; {least} need {least * CALLS * seconds / 60:.1f} minutes"
        )
    return number


def _second_opinion(
    law: LearnedLaw, known: CrystalProperties, name: str, folder: Path, common: dict[str, Any]
) -> dict[str, Any]:
    """Elastic constants and stresses of another potential, each about its own crystal at rest."""
    others = [other for other in ready_potentials() if other != name]
    if not others:
        return {"name": None, "reason": "no second potential is installed"}
    other = others[0]
    try:
        calculator = make_calculator(other)
        there = crystal_properties(known.structure, calculator, symprec=common["symprec"])
        if there.point_group.symbol != known.point_group.symbol:
            raise InputError(f"its crystal has point group {there.point_group.symbol}")
        file = folder / f"labels-{other}.extxyz"
        if not file.is_file():
            label_strains(there.structure, calculator, out=file, samples=SECOND, **common)
        labels = read_labels(file, there.structure)
        strained = labels.subset(np.linalg.norm(labels.strain, axis=(1, 2)) > 1e-6)
        apart = stress_errors(law, strained)["relative_rmse"]
    except (InputError, RuntimeError) as error:
        return {"name": other, "reason": str(error)}
    return {
        "name": other,
        **_facts(other),
        "stiffness_GPa": there.stiffness.tolist(),
        "bulk_and_shear_modulus_GPa": _moduli(there),
        "constants_apart": float(
            np.linalg.norm(there.stiffness - known.stiffness) / np.linalg.norm(known.stiffness)
        ),
        "stresses_apart": float(apart),
    }


def _moduli(known: CrystalProperties) -> list[float] | None:
    means = known.averages
    return None if means is None else [means.hill.bulk, means.hill.shear]


def _facts(name: str) -> dict[str, Any]:
    potential = UNIVERSAL.get(name)
    if potential is None:
        return {}
    return {
        "functional": potential.functional,
        "citation": potential.citation,
        "faults": potential.faults,
    }


def _markdown(report: dict[str, Any], claims: list[Claim]) -> str:
    def matrix(c: list[list[float]]) -> list[str]:
        names = ["xx", "yy", "zz", "yz", "xz", "xy"]
        numbers = np.round(c, 1) + 0.0  # no minus before a zero
        rows = [
            f"| {name} | " + " | ".join(f"{x:.1f}" for x in row) + " |"
            for name, row in zip(names, numbers, strict=True)
        ]
        return ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * 6, *rows, ""]

    model, second = report["model"], report["second_potential"]
    lines = [
        f"# Law of {report['formula']}, point group {report['point_group']}",
        "",
        f"{report['labels']} labels of {model['name']} up to |E| = {report['max_strain']:.1%}, "
        f"ions relaxed, in {report['seconds']:.0f} s.",
        "",
        "Stiffness, GPa (Voigt, standard frame):",
        "",
        *matrix(report["stiffness_ieee_GPa"]),
        claims_table(claims),
        "",
        "## How far to trust it",
        "",
    ]
    if "citation" in model:
        lines += [
            f"{model['name']}: {model['functional']}, {model['citation']}. {model['faults']}.",
            "",
        ]
    if "stresses_apart" in second:
        (k1, g1), (k2, g2) = (
            report["bulk_and_shear_modulus_GPa"],
            second["bulk_and_shear_modulus_GPa"] or (np.nan, np.nan),
        )
        lines += [
            f"{second['name']} ({second['functional']}), each about its own crystal at rest:",
            "",
            f"| | {model['name']} | {second['name']} | apart |",
            "| --- | ---: | ---: | ---: |",
            f"| bulk modulus, GPa | {k1:.1f} | {k2:.1f} | {abs(k2 / k1 - 1):.1%} |",
            f"| shear modulus, GPa | {g1:.1f} | {g2:.1f} | {abs(g2 / g1 - 1):.1%} |",
            f"| elastic constants, norm | | | {second['constants_apart']:.1%} |",
            f"| stresses at {SECOND} strains | | | {second['stresses_apart']:.1%} |",
            "",
        ]
    else:
        lines += [f"No second opinion: {second['reason']}.", ""]
    lines += [f"- {note}" for note in report["notes"]]
    lines += ["", "![Young's modulus, sound, elastic constants](elasticity.png)"]
    return "\n".join(lines) + "\n"
