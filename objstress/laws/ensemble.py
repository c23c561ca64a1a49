"""Several laws of one crystal: their mean, and an error bar on its stress from their spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure
from torch import Tensor

from objstress.errors import InputError, check_seed
from objstress.laws.base import MaterialLaw, StrainEnergyLaw, _as_tensor, outside_domain
from objstress.laws.fit import fit_law, labels_and_group, trained_domain
from objstress.laws.learned import LearnedLaw
from objstress.symmetry.point_group import PointGroup
from objstress.teachers.labels import Labels
from objstress.training.network_fit import TrainingSettings
from objstress.training.reference import stress_free_labels

SHARE = 2 / 3
"""Part of the labels, drawn at random without repeats, that each member is fitted to."""


class EnsembleLaw(StrainEnergyLaw):
    r"""W = mean of W_m over the members, with the error bar

        e(F) = c sqrt(mean_m |P_m(F) - P(F)|^2)    (GPa)

    on its stress. c is measured once, on labels that part of the members did not see: it makes
    the relative mean squares of |P_label - mean of those members' P| and of e alike.

    Args:
        members: laws of one crystal against one reference.
        calibration: c.
        domain: (6, 6) matrix M; strains with x M x <= 1 (Mandel) are inside the trained domain.
        metadata: JSON-able facts about the fit.
    """

    kind = "ensemble"

    def __init__(
        self,
        members: Sequence[LearnedLaw],
        calibration: float = 1.0,
        domain: np.ndarray | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        if len(members) < 2:
            raise InputError("an ensemble needs at least two laws")
        self.members, self.calibration = list(members), calibration
        first = self.members[0]
        self.structure, self.point_group = first.structure, first.point_group
        self.domain = None if domain is None else torch.as_tensor(domain)
        self.chunk = min(m.chunk for m in self.members)
        self.metadata = metadata or {}

    def strain_energy(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        parts = [m.strain_energy(x, order) for m in self.members]
        return tuple(torch.stack(p).mean(0) for p in zip(*parts, strict=True))

    def outside(self, F: Any) -> Tensor:
        return outside_domain(F, self.domain)

    def internal_displacements(self, F: Any) -> np.ndarray:
        return np.mean([m.internal_displacements(F) for m in self.members], axis=0)

    def stress_error(self, F: Any) -> Tensor:
        f = _as_tensor(F)
        points = f.reshape(-1, 3, 3)
        stresses = torch.stack([m.response(points, 1)[1] for m in self.members])
        return self.calibration * _spread(stresses).reshape(f.shape[:-2])

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        descriptions = []
        tensors: dict[str, Tensor] = {}
        for k, member in enumerate(self.members):
            description, own = member.to_dict()
            descriptions.append(description)
            tensors |= {f"{k}.{name}": value for name, value in own.items()}
        if self.domain is not None:
            tensors["domain"] = self.domain
        return {
            "kind": self.kind,
            "members": descriptions,
            "calibration": self.calibration,
            "metadata": self.metadata,
        }, tensors

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> EnsembleLaw:
        members = []
        for k, one in enumerate(description["members"]):
            mark = f"{k}."
            own = {n.removeprefix(mark): t for n, t in tensors.items() if n.startswith(mark)}
            members.append(LearnedLaw.from_dict(one, own))
        domain = tensors["domain"].numpy() if "domain" in tensors else None
        return cls(members, description["calibration"], domain, description["metadata"])


def fit_ensemble(
    data: str | Path | Labels,
    structure: Structure | str | Path | None = None,
    *,
    members: int = 6,
    point_group: PointGroup | str | None = None,
    held_out: float = 0.2,
    seed: int = 0,
    use_network: bool = True,
    workdir: str | Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> EnsembleLaw:
    """Laws fitted to random two thirds of the labels each, against one stress-free reference.

    Args:
        members: how many.
        seed: of the draws, the split and the networks.
        (others): see `fit_law`.

    Returns:
        The ensemble; `metadata["held_out"]` and `metadata["error_bar"]` hold the error on labels
        that no member saw, and how much of it the error bar foretold.
    """
    from objstress.laws.metrics import stress_errors

    if members < 2:
        raise InputError(f"members = {members}: an ensemble needs at least two laws")
    check_seed(seed)
    labels, group = labels_and_group(data, structure, point_group, held_out)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    hidden = round(held_out * len(labels))
    tested, seen = labels.subset(np.sort(order[:hidden])), labels.subset(np.sort(order[hidden:]))
    seen, stretch = stress_free_labels(seen, group)
    tested = tested.rereferenced(stretch)
    laws, used = [], []
    for k in range(members):
        draw = np.sort(rng.choice(len(seen), max(2, round(SHARE * len(seen))), replace=False))
        say(f"member {k + 1} of {members}: {len(draw)} labels")
        laws.append(
            fit_law(
                seen.subset(draw),
                point_group=group,
                held_out=0.0,
                stress_free=False,
                use_network=use_network,
                training=TrainingSettings(seed=seed + k),
                workdir=None if workdir is None else Path(workdir) / f"member{k}",
                progress=progress,
            )
        )
        used.append(np.isin(np.arange(len(seen)), draw))
    law = EnsembleLaw(laws, _calibration(laws, np.array(used), seen), trained_domain(seen, group))
    law.metadata = {
        "labels": len(labels),
        "ions": labels.ions,
        "source": labels.source,
        "notes": list(labels.notes),
        "point_group": group.symbol,
        "members": members,
        "calibration": law.calibration,
        "reference_stretch": stretch.tolist(),
    }
    if hidden:
        law.metadata["held_out"] = {"both": stress_errors(law, tested)}
        gap = law.response(tested.F, 1)[1].numpy() - tested.piola
        size = np.maximum(np.linalg.norm(tested.piola, axis=(1, 2)), law.stress_floor())
        errors = np.linalg.norm(gap, axis=(1, 2)) / size
        bars = law.stress_error(tested.F).numpy() / size
        law.metadata["error_bar"] = {
            "rms_error_over_bar": float(np.sqrt(np.mean(errors**2) / np.mean(bars**2))),
            "within_two_bars": float(np.mean(errors < 2 * bars)),
        }
        say(
            f"held-out stress: {law.metadata['held_out']['both']['relative_rmse']:.2%} relative "
            f"RMSE, {law.metadata['error_bar']['within_two_bars']:.0%} within two error bars"
        )
    return law


def _spread(stresses: Tensor) -> Tensor:
    gap = stresses - stresses.mean(0)
    return gap.pow(2).sum((-1, -2)).mean(0).sqrt()


def _calibration(laws: Sequence[MaterialLaw], used: np.ndarray, labels: Labels) -> float:
    stresses = torch.stack([law.response(labels.F, 1)[1] for law in laws])
    weight = 1 / np.maximum(np.linalg.norm(labels.piola, axis=(1, 2)), laws[0].stress_floor())
    spread = weight * _spread(stresses).numpy()
    blind = torch.tensor(~used, dtype=torch.float64)
    count = blind.sum(0)
    mean = torch.einsum("mn,mnij->nij", blind, stresses) / count.clamp(min=1)[:, None, None]
    error = weight * np.linalg.norm(mean.numpy() - labels.piola, axis=(1, 2))
    unseen = (count > 0).numpy()
    return float(np.sqrt((error[unseen] ** 2).sum() / (spread[unseen] ** 2).sum()))
