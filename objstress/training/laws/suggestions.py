"""Which strains of a crystal to label next, and the files that a DFT code starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import write

from objstress.elasticity.directions import strain_directions
from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError, check_seed
from objstress.io.files import write_whole
from objstress.labels.strains import fundamental
from objstress.laws.base import MaterialLaw
from objstress.laws.corrected import CorrectedLaw, stress_directions
from objstress.laws.guarded import GuardedLaw
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import from_mandel
from objstress.training.laws.prior import law_prior

POOL = 600
"""Strains that the suggested ones are picked from."""
RADII = 0.1, 0.95
"""Their part of the way to the edge of the trained strains: numerical noise matters below, and
above a label would lie outside once the reference has moved."""
SWEEPS = 4
"""Rounds in which each pick is looked at again; two are enough as a rule."""


def suggest_strains(law: MaterialLaw, number: int, *, seed: int = 0) -> np.ndarray:
    """The strains whose labels would say most about a crystal, under what is not known of its law.

    They are picked by `most_helpful` among quasi-random strains inside the law's trained domain, of
    which one of all images under the point group is taken.

    Args:
        law: a prior for `correct_law`, or a law that it corrected.
        number: of strains.
        seed: of the quasi-random strains.

    Returns:
        Green-Lagrange strains E against the law's own reference, (number, 3, 3).

    Raises:
        InputError: fewer than one strain or more than there are to pick from, or see `law_prior`.
    """
    check_seed(seed)
    inner = law.law if isinstance(law, GuardedLaw) else law
    known = inner if isinstance(inner, CorrectedLaw) else law_prior(inner).law
    group = known.point_group
    if not isinstance(group, PointGroup) or known.domain is None:
        raise InputError("strains are suggested for laws of a point group with a trained domain")
    from scipy.stats import qmc  # slow to import

    # The domain is invariant under the group: which image of a strain is taken does not matter.
    ellipsoid = np.linalg.inv(np.linalg.cholesky(known.domain.numpy())).T
    x, power = np.empty((0, 6)), 10
    while len(x) < POOL and power < 18:
        points = qmc.Sobol(7, scramble=True, rng=seed).random_base2(power)
        radius = RADII[0] + (RADII[1] - RADII[0]) * points[:, 6:]
        x = (radius * strain_directions(points)) @ ellipsoid.T
        x = x[fundamental(x, group)]
        x = x[~known.outside(right_stretch(from_mandel(x))).numpy()]
        power += 1
    x = x[:POOL]
    return from_mandel(x[most_helpful(inner, x, number)])


def most_helpful(law: MaterialLaw, x: np.ndarray, number: int) -> np.ndarray:
    r"""Of some strains those whose labels leave the least expected error of the stress.

    .. math::
        \min_{\text{picked}} \Big\langle \frac{\mathrm{tr}\, \mathrm{cov}\, S(x)}
            {|S(x)|^2 + P_0^2} \Big\rangle_x

    The mean runs over all the strains, in the project's measure of relative errors; the covariance
    is that of a Gaussian posterior, which depends on the strains and not on the stresses
    (V-optimal design: Pukelsheim, Optimal Design of Experiments, 2006). Strains are picked one
    after the other, and each is then picked anew given the others. The determinant of the
    coefficients' covariance (D-optimal) would be served by the largest strains alone, which leave
    the reference, and with it all small stresses, unknown.

    Args:
        law: see `suggest_strains`.
        x: Mandel strains, (n, 6), no two of them alike under the point group.
        number: how many are picked.

    Returns:
        The numbers of those picked, (number,).

    Raises:
        InputError: fewer than one, or more than there are; see `law_prior`.
    """
    if not 1 <= number <= len(x):
        raise InputError(f"{number} strains to suggest: give 1 to {len(x)}")
    inner = law.law if isinstance(law, GuardedLaw) else law
    if isinstance(inner, CorrectedLaw):
        known, uncertainty = inner.polynomial, inner.uncertainty
    else:
        prior = law_prior(inner)
        known, uncertainty = prior.law.polynomial, prior.uncertainty()
    points = torch.tensor(x)
    columns = stress_directions(known, points, uncertainty.factor).numpy().transpose(0, 2, 1)
    size = np.linalg.norm(known(points, 1)[1].numpy(), axis=1)
    noise = uncertainty.misfit * np.hypot(size, uncertainty.floor) / np.sqrt(6)
    told = columns / noise[:, None, None]
    asked = columns / np.hypot(size, inner.stress_floor())[:, None, None]
    asked = asked.reshape(-1, columns.shape[2])
    wanted = asked.T @ asked / len(x)
    identity = np.eye(columns.shape[2])

    def best(others: list[int]) -> int:
        a = told[others].reshape(-1, len(identity))
        _, s, right = np.linalg.svd(a, full_matrices=False)
        root = identity + (right.T * (1 / np.sqrt(1 + s**2) - 1)) @ right
        g, m = told @ root, root @ wanted @ root
        transposed = g.transpose(0, 2, 1)
        gain = np.linalg.solve(np.eye(6) + g @ transposed, g @ m @ transposed)
        gain = np.trace(gain, axis1=1, axis2=2)
        gain[others] = -np.inf
        return int(gain.argmax())

    picked: list[int] = []
    while len(picked) < number:
        picked.append(best(picked))
    for _ in range(SWEEPS):
        before = list(picked)
        for k in range(number):
            picked[k] = best(picked[:k] + picked[k + 1 :])
        if picked == before:
            break
    return np.array(picked)


def write_suggestions(law: MaterialLaw, strains: np.ndarray, out: str | Path) -> list[Path]:
    """Strained cells of a law's crystal as files that a DFT code starts from.

    Each strain is written as `strain-NN.extxyz`, which carries `deformation_gradient`,
    `reference_cell` and `ions`, and as `strain-NN.vasp` (a POSCAR, in the same axes). The ions
    stand where the law's internal displacements put them. A result is a label as soon as a frame
    has its cell and its stress: from another cell of the same atoms F is found, see `read_labels`.
    For a material without atoms `strains.csv` is written, to which the columns of stresses are to
    be added.

    Args:
        law: with the crystal that is strained.
        strains: Green-Lagrange strains E against the law's reference, (n, 3, 3).
        out: folder, made if missing.

    Returns:
        The files.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder ({error.strerror})") from None
    if not has_atoms(law):
        names = ("11", "22", "33", "23", "13", "12")
        places = [(int(n[0]) - 1, int(n[1]) - 1) for n in names]
        rows = [",".join(f"{e[place]:.12g}" for place in places) for e in strains]
        file = folder / "strains.csv"
        write_whole(file, "\n".join([",".join("E" + n for n in names), *rows]) + "\n")
        return [file]
    inner = law.law if isinstance(law, GuardedLaw) else law
    crystal = inner.structure  # type: ignore[attr-defined]
    ions = str(getattr(law, "metadata", {}).get("ions", "relaxed"))
    files = []
    for k, f in enumerate(right_stretch(strains), start=1):
        try:
            moves = law.internal_displacements(f[None])[0]
        except InputError:
            moves = np.zeros((len(crystal), 3))
        atoms = Atoms(
            [site.specie.Z for site in crystal],
            cell=crystal.lattice.matrix @ f.T,
            positions=(crystal.cart_coords + moves) @ f.T,
            pbc=True,
        )
        atoms.info = {
            "deformation_gradient": f,
            "reference_cell": crystal.lattice.matrix,
            "ions": ions,
            "strain_index": k,
        }
        for name, form, options in (
            (f"strain-{k:02d}.extxyz", "extxyz", {}),
            (f"strain-{k:02d}.vasp", "vasp", {"direct": True}),
        ):
            write(folder / name, atoms, format=form, **options)
            files.append(folder / name)
    return files


def has_atoms(law: MaterialLaw) -> bool:
    """Whether a law's structure is a crystal, and not missing or the node that stands for one."""
    metadata = getattr(law, "metadata", {})
    listed = metadata.get("ions") != "unlisted" and metadata.get("fit", {}).get("atoms", True)
    inner = law.law if isinstance(law, GuardedLaw) else law
    return bool(listed) and getattr(inner, "structure", None) is not None
