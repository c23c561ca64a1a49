"""A fixed number of epochs by Lightning, with one bar, that go on after an interruption."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.utils.data import Sampler
from tqdm import tqdm

from objstress.errors import InputError
from objstress.io.run_folder import LAST, resume_from


class EpochBatches(Sampler[list[int]]):
    """Batches of like size in an order drawn from seed and epoch; each process has its share.

    Lightning calls `set_epoch`, so that a run that goes on sees the batches it would have seen.
    """

    def __init__(self, number: int, size: int, seed: int, rank: int = 0, processes: int = 1):
        self.batches = max(1, min(-(-number // size), number // processes))
        self.number, self.seed, self.rank, self.processes = number, seed, rank, processes
        self.epoch = 0
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.number)
        for batch in np.array_split(order, self.batches):
            yield batch[self.rank :: self.processes].tolist()


class _Bar(Callback):
    """Moves a bar on by an epoch; what the module logs as "loss" is shown."""

    def __init__(self, bar: tqdm):
        self.bar = bar

    def on_train_epoch_end(self, trainer, module) -> None:
        self.bar.set_postfix_str(f"loss {trainer.callback_metrics['loss']:.4f}")
        self.bar.update()


def run_epochs(
    module: lightning.LightningModule,
    loader: Any,
    epochs: int,
    folder: Path,
    mark: str,
    bar: tqdm,
    clip: float | None = None,
    every: int = 20,
) -> float:
    """Train on one processor; checkpoints in `folder` serve runs of the same `mark` only.

    Args:
        clip: largest norm of the gradient; None for modules that optimise by hand.
        every: epochs between checkpoints.

    Returns:
        The last epoch's "loss".

    Raises:
        InputError: no epochs.
        KeyboardInterrupt: it was interrupted; a further call goes on.
    """
    if epochs < 1:
        raise InputError(f"epochs = {epochs}: give at least 1")
    resume = resume_from(folder, mark)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            callbacks=[
                ModelCheckpoint(
                    folder,
                    filename=LAST.removesuffix(".ckpt"),
                    every_n_epochs=every,
                    enable_version_counter=False,
                ),
                _Bar(bar),
            ],
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=clip,
        )
        trainer.fit(module, loader, ckpt_path=resume)
    if trainer.interrupted:
        raise KeyboardInterrupt
    return float(trainer.callback_metrics["loss"])
