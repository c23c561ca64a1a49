"""A law fitted anew with labels at the strains that a simulation met outside of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from ase.io import iread
from pymatgen.core import Structure
from safetensors import SafetensorError, safe_open

from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.io.files import check_writable
from objstress.labels.labelling import StrainLabels
from objstress.labels.strained_cell import FORCE_TOLERANCE
from objstress.labels.strains import farthest_strains
from objstress.laws.ensemble import EnsembleLaw
from objstress.laws.guarded import GuardedLaw
from objstress.laws.learned import LearnedLaw
from objstress.laws.loading import load_law
from objstress.laws.outside import OUTSIDE
from objstress.laws.strain_energy import mandel_strain
from objstress.symmetry.voigt import from_mandel
from objstress.training.laws.ensemble import fit_law_ensemble
from objstress.training.laws.fit import fit_law
from objstress.training.laws.settings import NetworkTraining

SHARE = 1 / 6
"""New labels, relative to those of the law: fewer would count as a few far from the others."""
FEWEST = 24
"""New labels, at least."""
CRUSHED = 0.1
"""Least squared stretch of a strain that is labelled."""
MANY = 20_000
"""Strains that the new labels are picked from, at most."""


def refine_law(
    law: str | Path,
    states: str | Path | np.ndarray,
    calculator: str | Callable[[], Any] | GetPropertiesMixin,
    *,
    out: str | Path,
    labels: str | Path | None = None,
    samples: int | None = None,
    arguments: dict[str, Any] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Label the strains that a simulation met outside those of a law's fit, and fit the law anew.

    Of the strains that the states keep, `samples` are labelled, each the farthest from the law's
    labels, from those before it, and from their images under the point group. The law is fitted as
    it was (a network of the default size), to the labels of before and these. Labels are appended
    to a partial file as they come; the same call resumes an interrupted run.

    Args:
        law: file of a law that `fit_law` or `fit_law_ensemble` made from a label file, guarded or
            not. Refine before compiling.
        states: the folder of a run's states (`checkpoint=`, or `OUT/states` of a case), or Mandel
            strains (n, 6) in the crystal's frame, see `Material.strains_outside`.
        calculator, arguments, workers, scheduler: see `label_strains`; the calculator and its
            arguments must be those of the law's labels.
        out: the law file to write; the labels, old and new, are written beside, with the suffix
            `.extxyz`.
        labels: the label file that the law was fitted to; by default the one that its metadata
            name, seen from here or from the law's folder.
        samples: number of strains to label; a sixth of the labels, at least 24, by default.
        progress: show a bar on standard error.
        say: called with a line on each step.

    Returns:
        {"law", "labels", "met": strains outside, "labelled", "failed": [{"index", "reason"}],
        "still_outside": the fraction of the strains met that is outside the new law's, and
        "held_out": its relative error on held-out labels}

    Raises:
        InputError: a law that was not fitted to a label file, states without strains outside,
            another calculator than the labels', and as `label_strains` and `fit_law`.
    """
    path, out = Path(law), Path(out)
    guarded = load_law(path, outside="ignore")
    inner: Any = guarded.law if isinstance(guarded, GuardedLaw) else guarded
    fit = inner.metadata.get("fit") if isinstance(inner, LearnedLaw | EnsembleLaw) else None
    if fit is None:
        raise InputError(
            f"{path}: not a law that was fitted to labels by this version; refine the law that it "
            "was compiled from, or fit it again"
        )
    if not fit["atoms"]:
        raise InputError(f"{path}: a law of a material without listed atoms has no calculator")
    source = _label_file(path, labels, fit["data"])
    together = out.with_suffix(".extxyz")
    check_writable(out)
    if together.resolve() == source.resolve():
        raise InputError(f"{together}: these are the law's labels; give the new law another name")
    x = _strains(states)
    met = x[guarded.outside(right_stretch(from_mandel(x))).numpy()] if len(x) else x
    if not len(met):
        raise InputError(
            f"the states of {states} hold no strain outside those of {path} (a body of several "
            "laws keeps none)"
        )
    frames = list(iread(source, index=":", format="extxyz"))
    stretch = np.array(inner.metadata.get("reference_stretch", np.eye(3)))
    reference = _stretched(inner.structure, np.linalg.inv(stretch))
    run = StrainLabels(
        reference,
        calculator,
        together,
        ions=inner.metadata["ions"],
        symprec=fit["symprec"],
        arguments=arguments,
        force_tolerance=float(frames[0].info.get("force_tolerance", FORCE_TOLERANCE)),
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    if run.source != inner.metadata["source"]:
        raise InputError(
            f"the law's labels are of {inner.metadata['source']}, these would be of {run.source}: "
            "give the same calculator and arguments"
        )
    number = samples or max(FEWEST, round(SHARE * len(frames)))
    known = _known_strains(frames, stretch)
    # Also beyond the strains met: the new law's stress moves them a little.
    pool = np.concatenate([met, 1.1 * met, 1.2 * met])
    pool = pool[np.linalg.eigvalsh(np.eye(3) + 2 * from_mandel(pool)).min(axis=1) > CRUSHED]
    if len(pool) > MANY:
        pool = pool[np.random.default_rng(0).choice(len(pool), MANY, replace=False)]
    chosen = pool[farthest_strains(pool, number, inner.point_group, known)]
    say(f"{len(met)} strains met outside, {len(chosen)} of them to be labelled")
    strains = _referred(chosen, stretch)
    run.label(strains)
    labelled = run.finish(len(strains), before=frames)
    network = getattr(inner, "network", None)
    filters = None if network is None else network.group
    new = _fit(fit, together, reference, filters, progress, say)
    still = new.outside(right_stretch(from_mandel(met)))
    if isinstance(guarded, GuardedLaw):
        new = GuardedLaw(new)
    new.save(out)
    metadata = new.metadata
    return {
        "law": str(out),
        "labels": str(together),
        "met": len(met),
        "labelled": labelled["labels"] - len(frames),
        "failed": labelled["failed"],
        "still_outside": float(still.to(torch.float64).mean()),
        "held_out": metadata.get("held_out", {}).get("both", {}).get("relative_rmse"),
    }


def _fit(
    settings: dict[str, Any],
    data: Path,
    structure: Structure,
    filters: Any,
    progress: bool,
    say: Callable[[str], None],
) -> Any:
    common: dict[str, Any] = {
        name: settings[name] for name in ("held_out", "degree", "use_network", "symprec")
    }
    common |= {"progress": progress, "say": say}
    if "members" in settings:
        members, seed = settings["members"], settings["seed"]
        return fit_law_ensemble(data, structure, members=members, seed=seed, **common)
    common |= {name: settings[name] for name in ("polynomial", "stress_free")}
    training = NetworkTraining(**settings["training"])
    return fit_law(data, structure, training=training, filters=filters, **common)


def _label_file(law: Path, given: str | Path | None, known: str) -> Path:
    places = [Path(given)] if given else [Path(known), law.parent / Path(known).name]
    for place in places:
        if known and place.is_file():
            return place
    raise InputError(
        f"{places[0] if given or known else law}: no label file of the law there; name it with "
        "`labels`"
    )


def _strains(states: str | Path | np.ndarray) -> np.ndarray:
    if isinstance(states, np.ndarray):
        return states.reshape(-1, 6)
    folder = Path(states)
    files = sorted(folder.glob("[0-9]*.safetensors"))
    if not files:
        raise InputError(f"{folder}: holds no states of a run")
    found = [np.zeros((0, 6))]
    for file in files:
        try:
            with safe_open(file, framework="numpy") as tensors:
                if OUTSIDE in tensors.keys():  # noqa: SIM118
                    found.append(tensors.get_tensor(OUTSIDE))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{file}: not a state of a run ({error})") from None
    return np.concatenate(found)


def _stretched(structure: Structure, stretch: np.ndarray) -> Structure:
    lattice = structure.lattice.matrix @ stretch.T
    return Structure(lattice, structure.species, structure.frac_coords)


def _known_strains(frames: list[Atoms], stretch: np.ndarray) -> np.ndarray:
    """Of the labels that carry F, against the law's reference: F U^-1."""
    f = [a.info["deformation_gradient"] for a in frames if "deformation_gradient" in a.info]
    deformation = np.array(f).reshape(-1, 3, 3) @ np.linalg.inv(stretch)
    return mandel_strain(torch.tensor(deformation)).numpy()


def _referred(x: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """Strains of the law against the reference of its labels: C = U C_law U."""
    c = stretch @ (np.eye(3) + 2 * from_mandel(x)) @ stretch
    return 0.5 * (c - np.eye(3))
