"""Fit of a pose energy to known complexes: natives below decoys, slopes that lead back."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from objstress.docking.box import Box
from objstress.docking.complex import Complex
from objstress.docking.energy import PoseEnergy, PoseEnergySettings
from objstress.docking.search import Search
from objstress.errors import InputError, check_seed
from objstress.io.run_folder import fingerprint, work_folder
from objstress.training.balancing import GradNorm
from objstress.training.trainer import EpochBatches, FitModule, run_fit

TASKS = ("contrast", "denoising")
SIGMA = (0.2, 0.06, 0.1)
"""Noise along translation (Angstrom), rotation and torsions (radians)."""
NEAR = 1.0
"""Angstrom of RMSD; closer decoys count as the native pose."""
MISTAKES, DESCENT = 16, 12
"""Poses of each complex that keep descending the energy as it is learned, and steps each time."""
AROUND = 4.0
"""Angstrom about the native pose, the margin of the box in which they start."""


@dataclass(frozen=True)
class PoseTraining:
    """How a pose energy is fitted.

    Attributes:
        epochs: number of passes over the complexes; the rate falls to zero as a cosine.
        batch_size: complexes in a step.
        decoys: moved native poses of each complex in a step; its `MISTAKES` are added to them.
        rate: learning rate of AdamW at the start.
        clip: largest norm of the gradient.
        seed: of weights, order, decoys and noise.
    """

    epochs: int = 20
    batch_size: int = 4
    decoys: int = 24
    rate: float = 0.01
    clip: float = 5.0
    seed: int = 0


class PoseFit(FitModule):
    r"""The loss of a pose energy and its steps, as Lightning runs them.

    .. math::

        L &= w_c L_c + w_d L_d \\
        L_c &= -\log \frac{e^{-E(\mathrm{native})}}{\sum_{\mathrm{native, decoys}} e^{-E}} \\
        L_d &= \Big\langle \Big| \sigma \frac{dE}{d\,\mathrm{step}}
            (\mathrm{native\ moved\ by\ } \sigma\xi) - \xi \Big|^2 \Big\rangle,
            \qquad \xi \sim N(0, 1)

    with w by GradNorm at the shared layer W (`PoseEnergy.mix`). Decoys are native poses moved a
    little and far, and minima of the energy that is being learned: poses of each complex that
    start at random, and at each step jump (half of them) and descend further (persistent chains;
    Tieleman, ICML 2008).

    L_c makes e^-E a probability over poses (van den Oord et al., arXiv:1807.03748), L_d matches
    the slope of one that is blurred by sigma (Vincent, Neural Computation 23, 1661 (2011)).
    """

    def __init__(self, model: PoseEnergy, training: PoseTraining, complexes: Sequence[Complex]):
        super().__init__()
        self.model, self.how, self.complexes = model, training, complexes
        self.mistakes: dict[int, Tensor] = {}
        self.balancer = GradNorm(TASKS)
        self.automatic_optimization = False

    def losses(self, index: int, seed: int) -> Tensor:
        """The losses L_c and L_d of one complex, (2,)."""
        complex_ = self.complexes[index]
        field = self.model.field(complex_)
        tree, native = complex_.tree, complex_.native
        search = Search(field, Box.around(native[: tree.body].numpy(), AROUND), seed)
        size = 6 + len(tree)
        noise = torch.randn(1 + self.how.decoys, size, generator=search.random, dtype=torch.float64)
        sigma = torch.full((size,), SIGMA[2], dtype=torch.float64)
        sigma[:3], sigma[3:6] = SIGMA[0], SIGMA[1]
        with torch.no_grad():
            # From a little to far away.
            far = torch.logspace(0.2, 1.5, self.how.decoys, dtype=torch.float64)[:, None]
            decoys = tree.moved(native.expand(self.how.decoys, -1, -1), far * sigma * noise[1:])
            minima = self.mistakes.get(index)
            minima = search.random_poses(MISTAKES) if minima is None else minima
            minima = torch.cat([search.jumped(minima[::2]), minima[1::2]])
            minima, _ = search.descend(minima, DESCENT)
            self.mistakes[index] = minima
            decoys = torch.cat([decoys, minima])
            same = native[complex_.automorphisms]
            apart = (decoys[:, None, : tree.body] - same).square().sum(-1).mean(-1).sqrt().amin(
                1
            ) > NEAR
            poses = torch.cat([native[None], decoys[apart]])
            moved = tree.moved(native[None], sigma * noise[:1])
        energy, forces = field(torch.cat([poses, moved]))
        contrast = energy[0] + torch.logsumexp(-energy[:-1], 0)
        slope = tree.slopes(moved, forces[-1:])
        denoising = (sigma * slope - noise[:1]).square().mean()
        return torch.stack([contrast, denoising])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["mistakes"] = self.mistakes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.mistakes = checkpoint["mistakes"]

    def training_step(self, batch: Tensor, index: int) -> None:
        seed = self.how.seed + 1_000_003 * self.current_epoch + 1_009 * index
        each = [self.losses(c, seed + k) for k, c in enumerate(batch.tolist())]
        losses = torch.stack(each).mean(0)
        shared = self.model.mix
        grads = [torch.autograd.grad(l, shared, retain_graph=True)[0] for l in losses]
        norms = torch.stack([g.norm() for g in grads])
        self.balancer.update(losses.detach(), torch.ones(2, dtype=torch.bool), norms)
        total = (self.balancer.at(0.0).to(losses) * losses).sum()
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(total)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.how.clip)
        optimizer.step()
        schedule: Any = self.lr_schedulers()
        schedule.step()
        for name, value in zip(("loss", *TASKS), (total, *losses), strict=True):
            self.log(name, value.detach(), on_epoch=True, on_step=False, batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.how.rate, weight_decay=1e-3)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda k: 0.5 * (1 + math.cos(math.pi * min(1.0, k / steps)))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit_pose_energy(
    complexes: Sequence[Complex],
    settings: PoseEnergySettings | None = None,
    training: PoseTraining | None = None,
    workdir: str | Path | None = None,
    progress: bool = True,
) -> PoseEnergy:
    """Fit an energy of poses to complexes whose native poses are known.

    Args:
        complexes: see `complexes_in`.
        settings: size of the encoders; None takes the defaults.
        training: how to fit; None takes the defaults.
        workdir: folder for checkpoints; a call with the same data and settings resumes an
            interrupted one. None uses a temporary folder.
        progress: show a progress bar.

    Returns:
        The fitted energy; the numbers of complexes and the last loss are in its `metadata`.

    Raises:
        InputError: no complexes, a negative seed, or no epochs.
    """
    settings, training = settings or PoseEnergySettings(), training or PoseTraining()
    check_seed(training.seed)
    if not complexes:
        raise InputError("no complexes to learn from")
    digest = fingerprint(
        [
            json.dumps([asdict(settings), asdict(training)]),
            *(
                x.numpy()
                for c in complexes
                for x in (c.native, c.site.pos, c.ligand.features, c.site.features)
            ),
        ]
    )
    with work_folder(workdir) as folder, torch.random.fork_rng():
        torch.manual_seed(training.seed)
        model = PoseEnergy(settings)
        loader: Any = DataLoader(
            torch.arange(len(complexes)),  # type: ignore[arg-type]
            batch_sampler=EpochBatches(len(complexes), training.batch_size, training.seed),
        )
        metrics = run_fit(
            PoseFit(model, training, complexes),
            folder,
            digest,
            epochs=training.epochs,
            loaders=(loader,),
            title="pose energy" if progress else None,
        )
    model.metadata = {
        "complexes": len(complexes),
        "training": asdict(training),
        "loss": metrics.get("loss"),
    }
    return model.eval()
