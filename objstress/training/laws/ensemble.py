"""Fits of ensembles of laws, and the calibration of their error bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pymatgen.core import Structure

from objstress.errors import InputError, check_seed
from objstress.labels.strain_labels import Labels
from objstress.laws.base import MaterialLaw
from objstress.laws.ensemble import EnsembleLaw, stress_spread
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup
from objstress.training.laws.domain import trained_domain
from objstress.training.laws.fit import fit_law, labels_and_group
from objstress.training.laws.metrics import stress_errors
from objstress.training.laws.polynomial import MOST, count_coefficients, degrees_of
from objstress.training.laws.reference import stress_free_labels
from objstress.training.laws.settings import NetworkTraining

SHARE = 2 / 3
"""Fraction of the labels, drawn at random without repeats, that each member is fitted to."""


def fit_law_ensemble(
    data: str | Path | Labels,
    structure: Structure | str | Path | None = None,
    *,
    members: int = 6,
    point_group: PointGroup | str | None = None,
    held_out: float = 0.2,
    seed: int = 0,
    degree: int | None = None,
    use_network: bool = True,
    symprec: float = SYMPREC,
    workdir: str | Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> EnsembleLaw:
    """Fit laws to random two thirds of the labels each, against one stress-free reference.

    Args:
        members: number of laws.
        seed: of the draws, the split and the networks.
        data, structure, point_group, held_out, degree, use_network, symprec, workdir, progress,
            say: see `fit_law` (held_out is a fraction of the labels).

    Returns:
        The ensemble; `metadata["held_out"]` and `metadata["error_bar"]` hold the errors on labels
        that no member saw, and how well the error bars predict them.

    Raises:
        InputError: see `fit_law`; fewer than two members.
    """
    if members < 2:
        raise InputError(f"members = {members}: an ensemble needs at least two laws")
    check_seed(seed)
    labels, group = labels_and_group(data, structure, point_group, held_out, symprec)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    hidden = round(held_out * len(labels))
    tested, seen = labels.subset(np.sort(order[:hidden])), labels.subset(np.sort(order[hidden:]))
    seen, stretch, fit = stress_free_labels(seen, group, degrees_of(degree))
    tested = tested.rereferenced(stretch)
    size = max(2, round(SHARE * len(seen)))
    # One degree for all members, that of all labels: fewer labels choose worse.
    chosen = fit.polynomial.degree
    while degree is None and chosen > 2 and count_coefficients(group, chosen) > MOST * size:
        chosen -= 1
    laws, used = [], []
    for k in range(members):
        draw = np.sort(rng.choice(len(seen), size, replace=False))
        say(f"member {k + 1} of {members}: {len(draw)} labels")
        laws.append(
            fit_law(
                seen.subset(draw),
                point_group=group,
                held_out=0.0,
                stress_free=False,
                degree=chosen,
                use_network=use_network,
                training=NetworkTraining(seed=seed + k),
                workdir=None if workdir is None else Path(workdir) / f"member{k}",
                progress=progress,
            )
        )
        used.append(np.isin(np.arange(len(seen)), draw))
    domain, density = trained_domain(seen, group)
    calibration = _calibration(laws, np.array(used), seen)
    law = EnsembleLaw(laws, calibration, domain, density=density)
    law.metadata = {
        "labels": len(labels),
        "ions": labels.ions,
        "source": labels.source,
        "notes": list(labels.notes),
        "point_group": group.symbol,
        "members": members,
        "fit": {
            "data": "" if isinstance(data, Labels) else str(data),
            "held_out": held_out,
            "degree": degree,
            "members": members,
            "use_network": use_network,
            "seed": seed,
            "atoms": not labels.lone,
            "symprec": symprec,
        },
        "calibration": law.calibration,
        "reference_stretch": stretch.tolist(),
    }
    if hidden:
        law.metadata["held_out"] = {"both": stress_errors(law, tested)}
        gap = law.response(tested.F, 1)[1].numpy() - tested.piola
        sizes = tested.stress_sizes(law.stress_floor())
        errors = np.linalg.norm(gap, axis=(1, 2)) / sizes
        bars = law.stress_error(tested.F).numpy() / sizes
        law.metadata["error_bar"] = {
            "rms_error_over_bar": float(np.sqrt(np.mean(errors**2) / np.mean(bars**2))),
            "within_two_bars": float(np.mean(errors < 2 * bars)),
        }
        say(
            f"held-out stress: {law.metadata['held_out']['both']['relative_rmse']:.2%} relative "
            f"RMSE, {law.metadata['error_bar']['within_two_bars']:.0%} within two error bars"
        )
    return law


def _calibration(laws: Sequence[MaterialLaw], used: np.ndarray, labels: Labels) -> float:
    stresses = torch.stack([law.response(labels.F, 1)[1] for law in laws])
    weight = 1 / labels.stress_sizes(laws[0].stress_floor())
    spread = weight * stress_spread(stresses).numpy()
    blind = torch.tensor(~used, dtype=torch.float64)
    count = blind.sum(0)
    mean = torch.einsum("mn,mnij->nij", blind, stresses) / count.clamp(min=1)[:, None, None]
    error = weight * np.linalg.norm(mean.numpy() - labels.piola, axis=(1, 2))
    unseen = (count > 0).numpy()
    return float(np.sqrt((error[unseen] ** 2).sum() / (spread[unseen] ** 2).sum()))
