"""A law of a cheaper method corrected by a few labels of a better one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from objstress.errors import InputError, check_seed
from objstress.labels.reading import read_labels
from objstress.labels.strain_labels import Labels
from objstress.laws.base import MaterialLaw
from objstress.laws.corrected import CorrectedLaw
from objstress.laws.ensemble import EnsembleLaw
from objstress.laws.guarded import GuardedLaw
from objstress.laws.loading import load_law
from objstress.models.displacements import InternalDisplacements
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import voigt_to_mandel
from objstress.training.laws.metrics import stress_errors
from objstress.training.laws.posterior import law_posterior
from objstress.training.laws.prior import law_prior
from objstress.training.laws.reference import stretch_size
from objstress.training.laws.suggestions import has_atoms

MISFIT = 0.2
"""Relative misfit of the corrected law beyond which labels are refused as contradictory."""
FACTOR = 8.0
"""Most that labels may make the crystal stiffer or softer than the prior, in any strain."""
SAME_SITE = 0.05
"""Fractions of the cell by which sites of the labels' and the prior's crystal may differ for the
prior's internal displacements to be taken over."""


def correct_law(
    data: str | Path | Labels,
    prior: MaterialLaw | str | Path,
    structure: Structure | str | Path | None = None,
    *,
    held_out: float = 0.0,
    seed: int = 0,
    symprec: float = SYMPREC,
    say: Callable[[str], None] = lambda text: None,
) -> CorrectedLaw:
    r"""Correct a law by few labels of a better method, such as 1 to 20 of DFT.

    .. math::
        W(E) = \sum_k (c_k + \delta c_k) \phi_k(E)

    The prior law's coefficients c are the mean, `law_prior` says what is expected of their error,
    and `law_posterior` learns its size and the correction from the labels, together with the
    stretch from the labels' reference to the stress-free crystal. Laws of two methods compare best
    each about its own stress-free state: the prior's lattice need not be that of the labels, and
    the labels' reference need not be free of stress.

    The corrected law keeps the prior's trained domain, about its own reference: inside, the prior
    was fitted to strains like these, and the error bar (`law.stress_error`) is meant. It does not
    say that labels lie near; where none do, the error bar is large. Internal displacements are the
    prior's.

    Args:
        data: an extxyz or CSV file (see `read_labels`) or labels, one or more.
        prior: a law of the same crystal in the same axes, or its file; anything that one polynomial
            follows to 0.1 %. Of a guarded law the one inside is corrected, of an ensemble the mean.
        structure: the crystal that labels without a deformation gradient refer to; the prior's by
            default.
        held_out: fraction of the labels that the correction does not see; the errors in
            `law.metadata["held_out"]` are theirs.
        seed: of the choice of these.
        symprec: distance in Angstrom under which sites of the structure are equivalent.
        say: called with a line on each step.

    Returns:
        The law with its error bars; its metadata hold the prior's, the learned scales and the
        stretch of the reference.

    Raises:
        InputError: labels of another crystal, point group or kind of ions than the prior's; a
            prior that was corrected already; no labels; labels that contradict one another or the
            prior; see `read_labels`, `law_prior` and `law_posterior`.
    """
    if not 0 <= held_out < 1:
        raise InputError(f"held_out = {held_out}: give a number in [0, 1)")
    check_seed(seed)
    file = None if isinstance(prior, MaterialLaw) else Path(prior)
    given: Any = prior if file is None else load_law(file, outside="ignore")
    inner: Any = given.law if isinstance(given, GuardedLaw) else given
    name = "the prior" if file is None else str(file)
    if isinstance(inner, CorrectedLaw) or "correction" in getattr(inner, "metadata", {}):
        raise InputError(
            f"{name} was corrected already: give the law that it was made from, and all labels "
            "together"
        )
    expected = law_prior(inner)
    labels = _labels(data, inner, structure, symprec)
    _check_same(labels, inner, name)
    if labels.cases is not None or labels.weights is not None:
        raise InputError(
            "columns case and weight are for a fit from nothing: a correction weighs its labels by "
            "what the prior says of each; leave them out"
        )
    for note in labels.notes:
        say(note)
    order = np.random.default_rng(seed).permutation(len(labels))
    hidden = round(held_out * len(labels))
    seen, tested = labels.subset(np.sort(order[hidden:])), labels.subset(np.sort(order[:hidden]))
    if not len(seen):
        raise InputError("no labels: nothing to correct the prior by")
    what = "pairs" if labels.lone else f"labels of {labels.structure.composition.reduced_formula}"
    say(f"{len(seen)} {what}, point group {inner.point_group.symbol}, {labels.ions} ions")
    posterior = law_posterior(expected, seen)
    if posterior.misfit > MISFIT:
        raise InputError(
            f"no correction of the prior explains the labels (misfit {posterior.misfit:.0%}): do "
            "they contradict one another, are stress sign and units (eV/Angstrom^3) right?"
        )
    crystal, displacements = None, None
    if has_atoms(inner):
        source = inner.structure if labels.lone else labels.structure
        lattice = source.lattice.matrix @ posterior.stretch.T
        crystal = Structure(lattice, source.species, source.frac_coords)
        displacements = _displacements(inner) if _alike(crystal, inner.structure) else None
    domain, density = expected.law.domain, expected.law.density
    law = CorrectedLaw(
        posterior.polynomial,
        inner.point_group,
        posterior.uncertainty,
        domain,
        structure=crystal,
        density=density,
        displacements=displacements,
    )
    ratio = _stiffness_ratio(law, expected.law)
    if not 1 / FACTOR < ratio.min() <= ratio.max() < FACTOR:
        raise InputError(
            f"the labels make the crystal {ratio.min():.2g} to {ratio.max():.2g} times as stiff as "
            "the prior: are stress sign and units (eV/Angstrom^3) right? If they are, add the "
            "label of the relaxed cell"
        )
    referred = seen.rereferenced(posterior.stretch)
    beyond = int(law.outside(referred.F).sum())
    law.metadata = {
        "labels": len(labels),
        "ions": labels.ions,
        "source": labels.source,
        "notes": list(labels.notes),
        "point_group": inner.point_group.symbol,
        "prior": {
            "file": None if file is None else str(file),
            "kind": given.kind,
            "metadata": getattr(inner, "metadata", {}),
        },
        "correction": {
            "data": "" if isinstance(data, Labels) else str(data),
            "held_out": held_out,
            "seed": seed,
            "scales": posterior.scales,
            "misfit": posterior.misfit,
            "stiffness_ratio": [float(ratio.min()), float(ratio.max())],
            "labels_outside": beyond,
        },
        "reference_stretch": posterior.stretch.tolist(),
        "reference_shift": stretch_size(posterior.stretch),
        "fitted": stress_errors(law, referred),
    }
    say(
        f"stress-free reference: stretched by up to {stretch_size(posterior.stretch):.3%} from the "
        f"labels'; stiffness {ratio.min():.2f} to {ratio.max():.2f} times the prior's"
    )
    if beyond:
        say(f"{beyond} of {len(seen)} labels lie outside the prior's trained strains")
    if hidden:
        _report_held_out(law, tested.rereferenced(posterior.stretch), say)
    return law


def _labels(
    data: str | Path | Labels,
    prior: Any,
    structure: Structure | str | Path | None,
    symprec: float,
) -> Labels:
    if isinstance(data, Labels):
        return data
    if Path(data).suffix.lower() == ".csv" or not (structure is not None or has_atoms(prior)):
        return read_labels(data, group=prior.point_group)
    return read_labels(data, prior.structure if structure is None else structure, None, symprec)


def _check_same(labels: Labels, prior: Any, name: str) -> None:
    """Labels and prior are of one crystal, in one frame, with the same ions."""
    if not len(labels):
        raise InputError("no labels: nothing to correct the prior by")
    if labels.lone:
        return
    group = PointGroup.of_primitive_cell(labels.structure)
    own = prior.point_group.operations
    apart = np.abs(group.operations[:, None] - own).max((2, 3)).min(axis=1)
    if len(own) != len(group.operations) or apart.max() > 1e-3:
        axes = ", in other axes" if group.symbol == prior.point_group.symbol else ""
        raise InputError(
            f"the labels' crystal has point group {group.symbol}{axes}, {name} has "
            f"{prior.point_group.symbol}"
        )
    if not has_atoms(prior):
        return
    theirs, mine = (s.composition for s in (prior.structure, labels.structure))
    if theirs != mine:
        raise InputError(
            f"the labels are of {mine.formula} in the primitive cell, {name} is of {theirs.formula}"
        )
    known = {"relaxed", "clamped"}
    ions = getattr(prior, "metadata", {}).get("ions")
    if {ions, labels.ions} == known and len(labels.structure) > 1:
        raise InputError(
            f"labels with {labels.ions} ions, {name} has {ions} ones: they differ by half of C44 "
            "in silicon"
        )


def _displacements(prior: Any) -> InternalDisplacements | None:
    """The prior's own, of an ensemble the mean."""
    members = prior.members if isinstance(prior, EnsembleLaw) else [prior]
    parts = [part for m in members if (part := getattr(m, "displacements", None)) is not None]
    if len(parts) < len(members) or len({part.degree for part in parts}) > 1:
        return None
    mean = np.mean([part.coefficients for part in parts], axis=0)
    return InternalDisplacements(parts[0].degree, mean)


def _alike(one: Structure, other: Structure) -> bool:
    """Whether two cells list the same sites in the same order."""
    if one.species != other.species:
        return False
    gap = one.frac_coords - other.frac_coords
    gap = gap - gap[0]
    return bool(np.abs(gap - np.round(gap)).max() < SAME_SITE)


def _stiffness_ratio(law: MaterialLaw, prior: MaterialLaw) -> np.ndarray:
    """Eigenvalues of C relative to the prior's, (6,)."""
    root = np.linalg.inv(np.linalg.cholesky(voigt_to_mandel(prior.stiffness())))
    return np.linalg.eigvalsh(root @ voigt_to_mandel(law.stiffness()) @ root.T)


def _report_held_out(law: CorrectedLaw, tested: Labels, say: Callable[[str], None]) -> None:
    gap = law.response(tested.F, 1)[1].numpy() - tested.piola
    error, bar = np.linalg.norm(gap, axis=(1, 2)), law.stress_error(tested.F).numpy()
    law.metadata["held_out"] = {"both": stress_errors(law, tested)}
    law.metadata["error_bar"] = {
        "within_one_bar": float(np.mean(error < bar)),
        "within_two_bars": float(np.mean(error < 2 * bar)),
    }
    say(
        f"held-out stress: {law.metadata['held_out']['both']['relative_rmse']:.2%} relative RMSE, "
        f"{law.metadata['error_bar']['within_two_bars']:.0%} within two error bars"
    )
