"""From labels of many materials to a family of laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from objstress.errors import InputError, check_seed
from objstress.labels.reading import read_labels
from objstress.labels.strain_labels import Labels
from objstress.laws.family import LawFamily
from objstress.symmetry.point_group import PointGroup
from objstress.training.laws.domain import trained_domain
from objstress.training.laws.metrics import CONTRADICTS, spread_note, stress_spread
from objstress.training.laws.polynomial import stress_floor
from objstress.training.laws.settings import NetworkTraining

if TYPE_CHECKING:
    from objstress.models.strain_network import StrainNetworkSettings

FEW = 5
"""Materials, and labels of a material on average, below which single labels are held out."""
ASTRAY = 2.0
"""A perceptron with a validation error of so many times the median is left out: its fit failed."""
PATIENCE = 30
"""Steps without a better validation error, which goes up and down at first."""


def fit_family(
    data: str | Path | Labels,
    point_group: PointGroup | str,
    parameters: Sequence[str],
    *,
    held_out: float = 0.2,
    network: StrainNetworkSettings | None = None,
    training: NetworkTraining | None = None,
    workdir: str | Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> LawFamily:
    r"""Fit one law W(C; p) to labels of materials that differ by parameters p.

    .. math::
        \sum_m \frac{\sum_{n \in m} |P(F_n; p_m) - P_n|^2}{\sum_{n \in m} |P_n|^2} \to \min

    Every material counts alike, however stiff it is and however many labels it has; with a column
    `case`, every load case of every material. Whole materials are held out, so that the errors are
    those of a material that the fit has not seen; perceptrons are stopped by single labels, as
    each needs all materials to know what lies between them.

    Args:
        data: a CSV or extxyz file (see `read_labels`), or labels with parameters.
        point_group: of all materials, in the axes of the data.
        parameters: names of the columns, such as strut radii, a volume fraction, a composition.
        held_out: fraction of the materials that no step of the fit sees; where materials are fewer
            than five, or have few labels each, of the labels.
        network: size of the network.
        training: how it is fitted; more patience than usual by default.
        workdir: folder for the network's log and checkpoints; the same call resumes a fit that
            was interrupted there.
        progress: show a bar on standard error.
        say: called with a line on each step.

    Returns:
        The family; its metadata hold the errors.

    Raises:
        InputError: see `read_labels`; no parameters, or one that is the same in all labels.
    """
    from objstress.models.strain_network import StrainNetwork, StrainNetworkSettings
    from objstress.training.laws.network import Targets, fit_network, stopping_labels

    if not 0 <= held_out < 1:
        raise InputError(f"held_out = {held_out}: give a number in [0, 1)")
    if not parameters:
        raise InputError("a family needs parameters: name the columns that tell materials apart")
    if len(set(parameters)) < len(parameters):
        raise InputError(f"parameters {', '.join(parameters)}: one is named twice")
    training = training or NetworkTraining(patience=PATIENCE)
    check_seed(training.seed)
    group = PointGroup(point_group) if isinstance(point_group, str) else point_group
    labels = data
    if not isinstance(labels, Labels):
        labels = read_labels(labels, None, group, parameters=parameters)
    values = _checked(labels, parameters)
    for note in labels.notes:
        say(note)
    lower, upper = values.min(axis=0), values.max(axis=0)
    materials, material = np.unique(values, axis=0, return_inverse=True)
    many = len(materials) >= FEW and len(labels) >= FEW * len(materials)
    say(
        f"{len(labels)} pairs of {len(materials)} materials, point group {group.symbol}, "
        f"parameters {', '.join(parameters)}"
    )
    if many:
        # Every material alike, or every load case of every material.
        cases = material.astype(str)
        if labels.cases is not None:
            cases = np.char.add(np.char.add(cases, "/"), labels.cases)
        labels = replace(labels, cases=cases)
    unit = material if many else np.arange(len(labels))
    order = np.random.default_rng(training.seed).permutation(unit.max() + 1)
    tested = np.isin(unit, order[: round(held_out * len(order))])
    stress = torch.tensor(labels.piola)
    floor = stress_floor(labels, group)
    weight = torch.tensor(1 / labels.stress_sizes(floor))
    p = torch.tensor((2 * values - lower - upper) / (upper - lower))
    spread, shared = stress_spread(labels, floor)
    if spread >= CONTRADICTS:
        say(spread_note(spread, shared))
    targets = Targets(torch.tensor(labels.F), stress, 0 * weight, weight, p)
    scale = 3 * float(stress.pow(2).mean().sqrt())
    settings = network or StrainNetworkSettings()
    settings = replace(
        settings, parameters=len(parameters), energy_scale=scale * settings.strain_scale
    )
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        energy = StrainNetwork(group, settings)
    energy.shrink(0.1)
    place = np.random.default_rng(training.seed + 1).permutation(np.count_nonzero(~tested))
    size = max(1, round(training.validation * len(place)))
    errors = fit_network(
        energy,
        targets.subset(np.flatnonzero(~tested)),
        stopping_labels(place, size, len(energy.members)),
        training,
        settings.energy_scale,
        workdir,
        progress,
    )
    after = np.array([error for _, error in errors])
    good = after <= ASTRAY * np.median(after)
    energy = energy.of_members(np.flatnonzero(good).tolist())
    domain, density = trained_domain(labels.subset(~tested), group)
    metadata: dict[str, Any] = {
        "labels": len(labels),
        "materials": len(materials),
        "source": labels.source,
        "notes": list(labels.notes),
        "point_group": group.symbol,
        "fit": {
            "data": "" if isinstance(data, Labels) else str(data),
            "held_out": held_out,
            "training": asdict(training),
        },
        "stress_spread": {"error": spread, "labels": shared},
        "network": {
            "weights": sum(w.numel() for w in energy.parameters()),
            "errors_after": after.tolist(),
            "kept": good.tolist(),
        },
    }
    family = LawFamily(
        labels.structure, energy, parameters, lower, upper, domain, density, metadata
    )
    metadata["fitted"] = family_errors(family, labels.subset(~tested), material[~tested])
    say(_sentence("fitted", metadata["fitted"]))
    if tested.any():
        metadata["held_out"] = family_errors(family, labels.subset(tested), material[tested])
        say(_sentence("held-out", metadata["held_out"]))
    return family


def family_errors(family: LawFamily, labels: Labels, material: np.ndarray) -> dict[str, Any]:
    r"""Relative errors of a family's stresses, material by material.

    .. math:: e_m^2 = \sum_{n \in m} |\Delta P_n|^2 / \sum_{n \in m} |P_n|^2

    Args:
        family: to be judged.
        labels: with parameters.
        material: number of each label's material, (n,).

    Returns:
        Number of materials, median, worst, and the parameters of the worst.
    """
    assert labels.parameters is not None
    gap = family.response(labels.F, labels.parameters, 1)[1].numpy() - labels.piola
    squares = np.bincount(material, (gap**2).sum(axis=(1, 2)))
    sizes = np.bincount(material, (labels.piola**2).sum(axis=(1, 2)))
    there = np.flatnonzero(sizes)
    errors = np.sqrt(squares[there] / sizes[there])
    worst = there[errors.argmax()]
    values = labels.parameters[np.flatnonzero(material == worst)[0]]
    return {
        "materials": len(there),
        "median": float(np.median(errors)),
        "worst": float(errors.max()),
        "worst_parameters": dict(zip(family.names, values.tolist(), strict=True)),
    }


def _checked(labels: Labels, names: Sequence[str]) -> np.ndarray:
    if labels.parameters is None or labels.parameters.shape[1] != len(names):
        raise InputError(f"the labels do not carry the parameters {', '.join(names)}")
    values = labels.parameters
    constant = np.ptp(values, axis=0) <= 1e-12 * np.abs(values).max(axis=0)
    if constant.any():
        k = int(np.flatnonzero(constant)[0])
        raise InputError(f"parameter {names[k]!r} is {values[0, k]:g} in all labels: leave it out")
    return values


def _sentence(what: str, errors: dict[str, Any]) -> str:
    if errors["materials"] == 1:
        return f"{what}: {errors['median']:.2%} relative RMSE of stress"
    return (
        f"{what}: relative RMSE of stress {errors['median']:.2%} (median of {errors['materials']} "
        f"materials), {errors['worst']:.2%} (worst)"
    )
