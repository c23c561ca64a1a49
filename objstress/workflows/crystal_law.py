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
from objstress.labels.labelling import StrainLabels, label_strains
from objstress.labels.reading import labels_of, read_labels
from objstress.labels.strain_labels import Labels
from objstress.labels.strains import sample_strains
from objstress.laws.check import check_law
from objstress.laws.learned import LearnedLaw
from objstress.properties.crystal import CrystalProperties, crystal_properties
from objstress.properties.plots import plot_properties
from objstress.properties.sources.calculator import CalculatorSource
from objstress.reports import Claim, environment
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_structure
from objstress.training.laws.fit import fit_law
from objstress.training.laws.metrics import stress_errors
from objstress.training.laws.polynomial import count_coefficients
from objstress.workflows.crystal_report import law_report

DEGREE = 4
"""Of the polynomial that the number of labels is meant for."""
FEWEST, MOST = 40, 300
ACCURATE = 0.01
"""Leave-one-out error below which a law needs no more labels: each of them predicted by a
law that all others are fitted to."""
CALLS = 4.0
"""Evaluations of the potential that a label costs, with relaxed ions."""
PLAIN = 0.003
"""The same, below which no higher degree is taken: the potential itself is off by more, every
degree makes the law slower, and what few labels can correct is then hidden among coefficients
that these small differences have left open."""
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
    2. Strained cells are labelled, their ions relaxed, and a polynomial law is fitted: to twice as
       many as long as it predicts labels that are left out worse than by 1 %.
    3. The law is checked.
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
        budget: minutes that labelling may take.
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

    samples, most = _number_of_labels(known.point_group), MOST
    if budget is not None:
        samples, most = _affordable(samples, budget, relaxed, source)
    common: dict[str, Any] = dict(symprec=symprec, seed=seed, max_strain=max_strain)
    law = _labelled_law(
        relaxed,
        name if workers > 1 else source.calculator,
        folder / "labels.extxyz",
        (samples, most),
        stage,
        arguments=arguments if workers > 1 else None,
        workers=workers,
        **common,
    )
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
    write_whole(folder / "report.md", law_report(report, claims))
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
            f"under {name} the ions leave their sites along a mode of {softest:.2g} eV/Angstrom^2 "
            f"({known.unstable_mode}); the law is that of the crystal held at its symmetry, "
            f"{known.point_group.symbol}"
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
    if known.driven:
        fault = (
            "strains drive its ions along a mode of negative stiffness "
            f"({known.least_ion_stiffness:.2g} eV/Angstrom^2; {known.unstable_mode})"
        )
    elif not known.stability.stable:
        least = known.stability.eigenvalues[0]
        fault = f"a strain lowers its energy (eigenvalue {least:.1f} GPa of its elastic constants)"
    else:
        return
    raise InputError(
        f"{known.structure.composition.reduced_formula} is not stable under {name}: {fault}; it "
        "has no law as a solid of this structure"
    )


def _number_of_labels(group: PointGroup) -> int:
    """Three equations for each coefficient of a polynomial, and a fifth held out."""
    return int(np.clip(np.ceil(3 * count_coefficients(group, DEGREE) / 6 / 0.8), FEWEST, MOST))


def _affordable(
    wanted: int, budget: float, crystal: Structure, source: CalculatorSource
) -> tuple[int, int]:
    """How many labels come first, and how many the time allows."""
    atoms = crystal.to_ase_atoms(msonable=False)
    atoms.calc = source.calculator
    begun = time.perf_counter()
    atoms.get_stress()
    seconds = time.perf_counter() - begun
    most = min(MOST, int(60 * budget / (CALLS * max(seconds, 1e-6))))
    least = wanted // 3
    if most < least:
        raise InputError(
            f"budget = {budget:g}: {most} labels of about {CALLS * seconds:.1f} s fit in, too "
            f"few for a law; {least} need {least * CALLS * seconds / 60:.1f} minutes"
        )
    return min(wanted, most), most


def _labelled_law(
    crystal: Structure,
    calculator: Any,
    file: Path,
    samples: tuple[int, int],
    stage: Callable[[str], None],
    *,
    max_strain: float,
    seed: int,
    symprec: float,
    **labelling: Any,
) -> LearnedLaw:
    """A law fitted to as many labels as it needs, from the first number of them to the second."""
    if file.is_file():
        tried = _tried(read_labels(file, crystal, symprec=symprec))
    else:
        number, most = samples
        run = StrainLabels(crystal, calculator, file, symprec=symprec, **labelling)
        strains = sample_strains(most, max_strain, seed, run.group)
        while True:
            stage(f"labelling {number} strains up to |E| = {max_strain:.1%}")
            run.label(strains[:number])
            tried = _tried(labels_of(run.frames(number), run.reference))
            if number == most or tried is None or tried["leave_one_out"] < ACCURATE:
                break
            number = min(2 * number, most)
        run.finish(number)
    stage("fitting")
    errors = {} if tried is None else tried["leave_one_out_by_degree"]
    try:
        return fit_law(
            file,
            crystal,
            degree=min((int(d) for d, error in errors.items() if error < PLAIN), default=None),
            use_network=False,
            symprec=symprec,
            say=lambda text: stage(f"  {text}"),
        )
    except InputError as error:
        why = str(error).partition(";")[0]  # what follows is advice on other labels
        raise InputError(
            f"no law of strains up to {max_strain:.1%}: {why}; a crystal near an instability, as "
            "ferroelectrics are, needs a smaller --max-strain"
        ) from None


def _tried(labels: Labels) -> dict[str, Any] | None:
    """The errors of a polynomial that all labels are fitted to; None where none explains them."""
    try:
        law = fit_law(labels, held_out=0.0, use_network=False)
    except InputError:
        return None  # the fit to come says why
    return dict(law.metadata["polynomial"])


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
        _check_stable(there, other)
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
        "strains": SECOND,
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
