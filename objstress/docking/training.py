"""The energy of poses from known complexes: natives below decoys, slopes that lead back."""

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

from objstress.docking.complex import Complex
from objstress.docking.energy import PoseEnergy, PoseEnergySettings
from objstress.docking.protein import Box
from objstress.docking.search import Search
from objstress.errors import InputError, check_seed
from objstress.io.run_folder import fingerprint, work_folder
from objstress.training.balancing import GradNorm
from objstress.training.trainer import EpochBatches, FitModule, run_fit

TASKS = ("contrast", "denoising")
SIGMA = (0.2, 0.06, 0.1)
"""Noise along translation (Angstrom), rotation and torsions (radians)."""
NEAR = 1.0
"""Angstrom of RMSD: closer decoys are the native pose."""
MISTAKES, DESCENT = 16, 12
"""Poses of each complex that go on down the energy as it becomes, by so many steps in a turn."""
AROUND = 4.0
"""Angstrom about the native pose, of the box in which they begin."""


@dataclass(frozen=True)
class PoseTraining:
    """How a pose energy is fitted.

    Attributes:
        epochs: passes over the complexes; the rate falls to zero by a cosine.
        batch_size: complexes in a step.
        decoys: of each complex and step, the native pose moved; its own `MISTAKES` come with them.
        rate: of AdamW at the start.
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
    r"""L = w_c L_c + w_d L_d, w by GradNorm at the shared layer W (`PoseEnergy.mix`).

        L_c = -log( e^-E(native) / sum_(native, decoys) e^-E )
        L_d = mean | sigma dE/dstep(native moved by sigma xi) - xi |^2,   xi normal

    Decoys are native poses moved a little and far, and minima of the energy that is being learned:
    poses of each complex that begin at random, and at each turn jump (half of them) and go on down
    (persistent chains; Tieleman, ICML 2008).

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
        """(2,), of one complex."""
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
            own = self.mistakes.get(index)
            own = search.random_poses(MISTAKES) if own is None else own
            own = torch.cat([search.jumped(own[::2]), own[1::2]])
            own, _ = search.descend(own, DESCENT)
            self.mistakes[index] = own
            decoys = torch.cat([decoys, own])
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
    """An energy of poses from complexes whose native poses are known.

    Args:
        complexes: see `complexes_in`.
        settings: of the encoders.
        workdir: folder for checkpoints; an interrupted run with the same data and settings goes
            on. None uses one that is thrown away.

    Raises:
        InputError: no complexes, or a negative seed.
    """
    settings, training = settings or PoseEnergySettings(), training or PoseTraining()
    check_seed(training.seed)
    if not complexes:
        raise InputError("no complexes to learn from")
    asked = json.dumps([asdict(settings), asdict(training)])
    digest = fingerprint(
        [
            asked,
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
        "loss": metrics.get("loss", math.nan),
    }
    return model.eval()
