"""From labels to a law: the stress-free reference, the polynomial, the network, the errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.units import GPa
from pymatgen.core import Structure

from objstress.errors import InputError, check_seed
from objstress.labels.reading import read_labels
from objstress.labels.strain_labels import Labels
from objstress.laws.learned import LearnedLaw
from objstress.models.displacements import InternalDisplacements
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup, SymmetryGroup
from objstress.symmetry.voigt import to_mandel
from objstress.training.laws.domain import trained_domain
from objstress.training.laws.metrics import (
    CONTRADICTS,
    energy_errors,
    spread_note,
    stress_errors,
    stress_spread,
    worthwhile,
)
from objstress.training.laws.plausibility import check_work
from objstress.training.laws.polynomial import (
    StressEquations,
    degrees_of,
    fit_polynomial,
    stress_floor,
)
from objstress.training.laws.reference import stress_free_labels, stretch_size
from objstress.training.laws.settings import NetworkTraining
from objstress.training.shear_order import ORDERS, order_in_file, reordered

if TYPE_CHECKING:
    from objstress.models.constitutive import NetworkSettings
    from objstress.models.strain_network import StrainNetworkSettings

MISFIT = 0.2
"""Leave-one-out error of the polynomial beyond which labels are refused as contradictory."""
HARD = 0.05
"""Leave-one-out error of the polynomial from which a network alone is tried on labels without
listed atoms, whose strains may be of any size: on top of a polynomial that strays it does worse."""
FEWEST = 40
"""Labels below which no network is added to a polynomial: the 15 % that judge it would be fewer
than six, too few for a standard error."""
ENOUGH = 1e-3
"""Leave-one-out error of the polynomial below which no network is tried: a tenth of the error that
laws may have, and of the order of the labels' noise."""


def fit_law(
    data: str | Path | Labels,
    structure: Structure | str | Path | None = None,
    *,
    point_group: PointGroup | str | None = None,
    held_out: float = 0.2,
    network: NetworkSettings | StrainNetworkSettings | None = None,
    training: NetworkTraining | None = None,
    filters: SymmetryGroup | None = None,
    polynomial: bool = True,
    degree: int | None = None,
    use_network: bool = True,
    stress_free: bool = True,
    symprec: float = SYMPREC,
    workdir: str | Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> LearnedLaw:
    r"""Fit a law to strained cells of one crystal, or to strain-stress pairs of any material.

    .. math::
        W(E) = \sum_k c_k \phi_k(E) + w(E)

    The structure is replaced by the stress-free one found from the labels. A polynomial of E,
    invariant under the crystal's point group, is fitted by least squares; a network w, its filters
    restricted to that group, is fitted to the residual, and is kept only if labels that neither
    fitted nor stopped it show that it helps (and never with fewer than 40 labels, or where the
    polynomial leaves less than 0.1 %). Labels without listed atoms of which the polynomial leaves
    more than 5 %, as at large strains, get a network of strain alone, if that does better.

    Args:
        data: an extxyz or CSV file (see `read_labels`) or labels.
        structure: the crystal, any cell.
        point_group: instead of a structure, the group of a material whose atoms are not listed, in
            the axes of the data.
        held_out: fraction of the labels that no step of the fit sees; the errors in
            `law.metadata["held_out"]` are theirs. 0 uses all.
        network: size and kind of the network; by default a `StrainNetwork` for labels without
            listed atoms, else a `ConstitutiveNetwork`.
        training: how it is fitted.
        filters: group of the network's filters; the crystal's point group by default.
        polynomial, use_network: False leaves this part out.
        degree: of the polynomial, 2 or more; None chooses it by leave-one-out errors, up to 8.
        stress_free: False keeps the structure as reference; the law is free of stress there all
            the same, and a residual stress of the labels becomes misfit.
        symprec: distance in Angstrom under which sites of the structure are equivalent.
        workdir: folder for the network's log and checkpoints; the same call resumes a fit that
            was interrupted there.
        progress: show a bar on standard error.
        say: called with a line on each step.

    Returns:
        The law; its metadata hold the shift of the reference, the errors of both parts and the
        ions.

    Raises:
        InputError: see `read_labels`, `stress_free_labels` and `fit_polynomial`.
    """
    training = training or NetworkTraining()
    degrees = degrees_of(degree)
    if not (polynomial or use_network):
        raise InputError("nothing to fit: neither polynomial nor network")
    labels, group = labels_and_group(data, structure, point_group, held_out, symprec)
    for note in labels.notes:
        say(note)
    name = "pairs" if labels.lone else f"labels of {labels.structure.composition.reduced_formula}"
    say(f"{len(labels)} {name}, point group {group.symbol}, {labels.ions} ions")
    metadata: dict[str, Any] = {
        "labels": len(labels),
        "ions": labels.ions,
        "source": labels.source,
        "notes": list(labels.notes),
        "point_group": group.symbol,
        "fit": {
            "data": "" if isinstance(data, Labels) else str(data),
            "held_out": held_out,
            "degree": degree,
            "polynomial": polynomial,
            "use_network": use_network,
            "stress_free": stress_free,
            "training": asdict(training),
            "atoms": not labels.lone,
            "symprec": symprec,
        },
    }
    if labels.ions == "clamped" and len(labels.structure) > 1:
        say("clamped ions: the elastic constants are larger than with relaxed ions")
    spread, shared = stress_spread(labels, stress_floor(labels, group))
    if spread >= CONTRADICTS:
        say(spread_note(spread, shared))
        metadata["stress_spread"] = {"error": spread, "labels": shared}
    check_seed(training.seed)
    order = np.random.default_rng(training.seed).permutation(len(labels))
    hidden = round(held_out * len(labels))
    fitted = labels.subset(np.sort(order[hidden:]))
    tested = labels.subset(np.sort(order[:hidden]))
    alone = None
    if labels.lone and polynomial and use_network and len(fitted) >= FEWEST:
        alone = _network_alone(
            fitted, group, degrees, filters, network, training, workdir, progress, say
        )
    if alone is not None:
        polynomial = stress_free = False
    if stress_free:
        fitted, stretch, fit = stress_free_labels(fitted, group, degrees)
        tested = tested.rereferenced(stretch)
        metadata["reference_shift"] = stretch_size(stretch)
        metadata["reference_stretch"] = stretch.tolist()
        edges = ", ".join(f"{a:.4f}" for a in fitted.structure.lattice.abc)
        say(
            f"stress-free reference: stretched by up to {stretch_size(stretch):.3%}"
            + ("" if labels.lone else f", cell edges {edges} Angstrom")
        )
    floor = stress_floor(fitted, group)
    law = LearnedLaw(fitted.structure, group)
    if polynomial:
        if not stress_free:
            fit = fit_polynomial(fitted, group, floor, degrees)
        law = LearnedLaw(fitted.structure, group, fit.polynomial)
        metadata["polynomial"] = {
            "degree": fit.polynomial.degree,
            "invariants": len(fit.polynomial.degrees),
            "ridge": fit.ridge,
            "leave_one_out": fit.error,
            "leave_one_out_by_degree": {str(k): v for k, v in fit.errors.items()},
        }
        if fit.error >= MISFIT:
            raise _no_law(fit.error, fitted, group)
        say(
            f"polynomial: degree {fit.polynomial.degree}, {len(fit.polynomial.degrees)} "
            f"invariants, leave-one-out error {fit.error:.2%}"
        )
    if use_network and polynomial and len(fitted) < FEWEST:
        say(f"network: none, {len(fitted)} labels are too few to judge it by ({FEWEST} needed)")
        metadata["network"] = {"kept": False, "reason": f"fewer than {FEWEST} labels"}
    elif use_network and polynomial and fit.error < ENOUGH:
        metadata["network"] = {"kept": False, "reason": "the polynomial leaves less than 0.1 %"}
    elif use_network:
        law, metadata["network"] = alone or _add_network(
            law,
            fitted,
            floor,
            fit.ridge if polynomial else None,
            filters,
            network,
            training,
            workdir,
            progress,
        )
        kept = "kept" if metadata["network"]["kept"] else "dropped"
        say(
            f"network: {metadata['network']['weights']} weights, validation error "
            f"{metadata['network']['error_before']:.2%} -> {metadata['network']['error_after']:.2%}"
            f", {kept}"
        )
    domain, density = trained_domain(fitted, group)
    displacements = None
    if fitted.moves is not None and labels.ions == "relaxed" and len(fitted.structure) > 1:
        x = to_mandel(fitted.strain)
        displacements = InternalDisplacements.fit(fitted.structure, x, fitted.moves)
        gap = displacements(x) - fitted.moves
        metadata["internal_displacements_rms"] = float(np.sqrt((gap**2).sum(-1).mean()))
    law = LearnedLaw(
        fitted.structure,
        group,
        law.polynomial,
        law.network,
        domain,
        metadata,
        displacements,
        density,
    )
    if hidden:
        metadata["held_out"] = {
            "both": stress_errors(law, tested),
            "index": np.sort(order[:hidden]).tolist(),
        }
        for name, part in law.parts().items():
            if polynomial and name == "polynomial":
                metadata["held_out"][name] = stress_errors(part, tested)
        metadata["held_out"]["energy"] = energy_errors(law, tested)
        say(f"held-out stress: {metadata['held_out']['both']['relative_rmse']:.2%} relative RMSE")
    metadata["fitted"] = stress_errors(law, fitted)
    return law


def labels_and_group(
    data: str | Path | Labels,
    structure: Structure | str | Path | None,
    point_group: PointGroup | str | None,
    held_out: float,
    symprec: float,
) -> tuple[Labels, PointGroup]:
    """The labels that a fit starts from and their material's group, `held_out` checked.

    Args:
        data, structure, point_group, held_out, symprec: see `fit_law`.

    Raises:
        InputError: see `fit_law`.
    """
    if not 0 <= held_out < 1:
        raise InputError(f"held_out = {held_out}: give a number in [0, 1)")
    if isinstance(point_group, str):
        point_group = PointGroup(point_group)
    labels = (
        data if isinstance(data, Labels) else read_labels(data, structure, point_group, symprec)
    )
    if labels.lone and point_group is None:
        raise InputError("labels without listed atoms need a point group")
    group = point_group or PointGroup.of_primitive_cell(labels.structure)
    check_work(labels, group)
    return labels, group


def _add_network(
    law: LearnedLaw,
    labels: Labels,
    floor: float,
    ridge: float | None,
    filters: SymmetryGroup | None,
    settings: NetworkSettings | StrainNetworkSettings | None,
    training: NetworkTraining,
    workdir: str | Path | None,
    progress: bool,
) -> tuple[LearnedLaw, dict[str, Any]]:
    # PyTorch Geometric and Lightning are imported only where there is a network to fit.
    from objstress.models.constitutive import ConstitutiveNetwork, NetworkSettings
    from objstress.models.strain_network import StrainNetwork, StrainNetworkSettings
    from objstress.training.laws.losses import network_response
    from objstress.training.laws.network import Targets, fit_network, stopping_labels

    stress = torch.tensor(labels.piola)
    known, base = law.response(labels.F, 1)
    rest = stress - base
    energy = torch.tensor(labels.energy) / labels.structure.volume / GPa - known
    weight = torch.tensor(1 / labels.stress_sizes(floor))
    targets = Targets(
        torch.tensor(labels.F), rest, energy, weight, weight.new_zeros(len(labels), 0)
    )
    n = len(labels)
    order = np.random.default_rng(training.seed + 1).permutation(n)
    size = max(1, round(training.validation * n))
    # A network alone is kept in any case: no labels need to judge it.
    judges = size if law.polynomial is not None else 0
    judging, used = order[size : size + judges], np.delete(order, slice(size, size + judges))
    if settings is None:
        strain = labels.lone and filters is None
        settings = StrainNetworkSettings() if strain else NetworkSettings()
    # The residual sets the scale: an output of one gives about the residual stress.
    rms = float(rest.pow(2).mean().sqrt())
    settings = replace(settings, energy_scale=3 * rms * settings.strain_scale)
    network: ConstitutiveNetwork | StrainNetwork
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        if isinstance(settings, StrainNetworkSettings):
            network = StrainNetwork(law.point_group, settings)
        else:
            network = ConstitutiveNetwork(labels.structure, filters or law.point_group, settings)
        network.shrink(0.1)  # start near the polynomial
    members = len(network.members) if isinstance(network, StrainNetwork) else 1
    stops = stopping_labels(np.arange(len(used)), size, members)
    scale, chosen = settings.energy_scale, targets.subset(used)
    errors = fit_network(network, chosen, stops, training, scale, workdir, progress)
    before, after = np.mean(errors, axis=0).tolist()
    kept = True
    if law.polynomial is not None and ridge is not None:
        # What the polynomial leaves of labels that it was not fitted to: of its own it leaves less.
        equations = StressEquations(labels, law.point_group, floor, lowest=2)
        apart = torch.tensor(equations.left_out(law.polynomial.degree, ridge))[judging]
        judge = targets.subset(judging)
        with torch.no_grad():
            found = network_response(network, judge.F)[1]
        left = apart - judge.weight[:, None, None] * found
        kept = worthwhile(*(part.square().sum(dim=(1, 2)).numpy() for part in (apart, left)))
    description = {
        "weights": sum(p.numel() for p in network.parameters()),
        "kind": type(network).__name__,
        "filters": network.group.symbol,
        "error_before": before,
        "error_after": after,
        "stopping_labels": size,
        "judging_labels": len(judging),
        "kept": kept,
        "training": asdict(training),
    }
    if kept:
        law = LearnedLaw(labels.structure, law.point_group, law.polynomial, network)
    return law, description


def _network_alone(
    labels: Labels,
    group: PointGroup,
    degrees: Sequence[int],
    filters: SymmetryGroup | None,
    settings: NetworkSettings | StrainNetworkSettings | None,
    training: NetworkTraining,
    workdir: str | Path | None,
    progress: bool,
    say: Callable[[str], None],
) -> tuple[LearnedLaw, dict[str, Any]] | None:
    """A law of a network and no polynomial, where no polynomial follows the labels as well."""
    floor = stress_floor(labels, group)
    fit = fit_polynomial(labels, group, floor, degrees, lowest=1)
    if fit.error < HARD:
        return None
    if fit.error >= MISFIT and _other_order(labels, group, fit.error):
        raise _no_law(fit.error, labels, group)
    error = fit.error
    if labels.cases is not None:
        # Label by label, as the network is judged: whole load cases say which degree to take.
        equations = StressEquations(labels, group, floor, lowest=1)
        equations.cases = None
        error = float(equations.leave_one_out(fit.polynomial.degree).min())
    say(f"polynomial: none follows the labels (leave-one-out error {error:.1%}); a network may")
    nothing = LearnedLaw(labels.structure, group)
    folder = None if workdir is None else Path(workdir) / "alone"
    law, facts = _add_network(
        nothing, labels, floor, None, filters, settings, training, folder, progress
    )
    reached = facts["error_after"]
    if min(reached, error) >= MISFIT:
        raise _no_law(min(reached, error), labels, group)
    if reached >= error:
        say(f"network alone: {reached:.1%}, no better than the polynomial")
        return None
    return law, facts


def _other_order(labels: Labels, group: PointGroup, error: float) -> str | None:
    """The order in which the file's shear stresses would agree with the strains."""
    floor = stress_floor(labels, group)
    for place in range(1, len(ORDERS)):
        other = replace(labels, cauchy=reordered(labels.cauchy, place))
        if fit_polynomial(other, group, floor, degrees=range(2, 4)).error < error / 5:
            return order_in_file(place)
    return None


def _no_law(error: float, labels: Labels, group: PointGroup) -> InputError:
    # A hyperelastic law of this group must explain the labels. Where it does not, the usual reason
    # is another order of the shear stresses in the file.
    if order := _other_order(labels, group, error):
        return InputError(
            f"the stresses contradict the strains ({error:.0%} error), but agree once their "
            f"shear components are read in the order {order}: store them as ASE does, "
            "xx yy zz yz xz xy"
        )
    right = (
        "are stress sign, units, point group and its axes"
        if labels.lone
        else "are stress sign, units (eV/Angstrom^3) and structure"
    )
    return InputError(
        f"no law of point group {group.symbol} explains the labels (error {error:.0%}): {right} "
        "right?"
    )
