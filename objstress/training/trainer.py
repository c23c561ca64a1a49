"""The one place where Lightning runs: epochs, checkpoints, a progress bar, and resuming.

All fits (laws, potentials, tensors, poses) are a `FitModule` run by `run_fit`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.multiprocessing import ProcessRaisedException
from torch.utils.data import Sampler
from tqdm import tqdm

from objstress.errors import ConvergenceError, InputError
from objstress.io.run_folder import LAST, resume_from

BEST = "best.ckpt"


class FitModule(lightning.LightningModule):
    """A Lightning module that `run_fit` can run: it says how far it is.

    A subclass writes `training_step` and `configure_optimizers`, and logs "loss" or writes its
    own `status`.

    Attributes:
        files: names of the files that it writes into the run's folder besides checkpoints; they
            are removed with the checkpoints of another fit.
    """

    files: ClassVar[tuple[str, ...]] = ()

    def status(self) -> str:
        """The text beside the progress bar after an epoch."""
        return f"loss {self.trainer.callback_metrics['loss']:.4f}"


class EpochBatches(Sampler[list[int]]):
    """Batches of about equal size in an order drawn from seed and epoch, shared by processes.

    Lightning calls `set_epoch`, so that a resumed run sees the batches it would have seen.

    Args:
        number: of samples.
        size: number of samples in a batch, at most, over all processes together.
        seed: of the order.
        rank: of this process, from 0.
        processes: that share each batch.
    """

    def __init__(self, number: int, size: int, seed: int, rank: int = 0, processes: int = 1):
        self.batches = max(1, min(-(-number // size), number // processes))
        self.number, self.seed, self.rank, self.processes = number, seed, rank, processes
        self.epoch = 0
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.number)
        for batch in np.array_split(order, self.batches):
            yield batch[self.rank :: self.processes].tolist()


class _Progress(Callback):
    """A bar over the epochs on standard error (Lightning's own writes to stdout).

    It keeps the metrics of the last epoch in the checkpoint: a finished run that is resumed has
    no epoch left to measure them in.
    """

    def __init__(self, title: str | None):
        self.title = title
        self.bar: tqdm | None = None
        self.metrics: dict[str, float] = {}

    def on_train_start(self, trainer, module) -> None:
        # Made here, not before: spawned processes cannot be sent an open bar.
        if self.title is not None and trainer.is_global_zero:
            self.bar = tqdm(
                total=trainer.max_epochs, initial=trainer.current_epoch, desc=self.title
            )

    def on_train_epoch_end(self, trainer, module) -> None:
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.bar is not None:
            self.bar.set_postfix_str(module.status())
            self.bar.update()

    def on_train_end(self, trainer, module) -> None:
        self._close()

    def on_exception(self, trainer, module, exception) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.metrics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.metrics = state["metrics"]


class _Best(ModelCheckpoint):
    """The best weights, known again where the folder has moved since the fit was interrupted."""

    @property
    def state_key(self) -> str:
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        path, score = str(Path(str(self.dirpath)) / BEST), state_dict["best_model_score"]
        here = {"dirpath": self.dirpath, "best_model_path": path, "kth_best_model_path": path}
        kept = {} if score is None else {path: score}
        super().load_state_dict(state_dict | here | {"best_k_models": kept})


class _Patience(EarlyStopping):
    """Early stopping whose patience is that of this run, not of the one that is resumed."""

    @property
    def state_key(self) -> str:
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"patience": self.patience})


def run_fit(
    module: FitModule,
    folder: Path,
    digest: str,
    *,
    epochs: int,
    loaders: tuple[Any, ...] = (),
    monitor: str | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    every: int = 1,
    clip: float | None = None,
    max_minutes: float | None = None,
    accelerator: str = "cpu",
    processes: int = 1,
    log: bool = False,
    title: str | None = None,
    say: Callable[[str], None] = warnings.warn,
) -> dict[str, float]:
    """Fit a module, or resume its fit from the folder that an interrupted one left.

    Args:
        module: what is fitted, in place (of several processes, in the checkpoints only).
        folder: keeps `last.ckpt` and, with `monitor`, `best.ckpt`.
        digest: fingerprint of data and settings; checkpoints of another one are removed.
        epochs: number of passes over the data.
        loaders: training and validation batches, where the module does not make them.
        monitor: name of the logged validation error whose least value marks the best weights.
        patience: number of epochs without a better value after which the fit stops.
        min_delta: a change of the value smaller than this (in its unit) is no improvement.
        every: number of epochs between checkpoints.
        clip: largest norm of the gradient, in units of loss per weight; None for modules that
            optimise by hand.
        max_minutes: a fit that has used as many minutes is not resumed (modules with such a limit
            stop by themselves and keep "minutes" in their checkpoints).
        accelerator: "auto", "cpu" or "gpu".
        processes: that share each batch.
        log: write the module's metrics to `log/metrics.csv`.
        title: of the progress bar on standard error; None shows none.
        say: called with a line when checkpoints of another fit are removed; a warning by default.

    Returns:
        Metrics of the last epoch by name, and of the best one as "best_<monitor>", each in its
        own unit.

    Raises:
        InputError: no epochs, or fewer GPUs than processes.
        ConvergenceError: see the module.
        KeyboardInterrupt: the fit was interrupted; the same call resumes it.
    """
    if epochs < 1:
        raise InputError(f"epochs = {epochs}: give at least 1")
    device = "gpu" if _on_gpu(accelerator, processes) else "cpu"
    left = (folder / LAST).exists()
    resume = resume_from(folder, digest, stale=(BEST, *module.files))
    if left and resume is None:
        say(f"{folder}: holds a fit of other data or settings; starting over")
    progress = _Progress(title)
    # Best before last, which keeps the state of the others. Lightning's own `save_last` writes
    # nothing where the best does not change, and such epochs would be done again.
    last = ModelCheckpoint(
        folder,
        filename=LAST.removesuffix(".ckpt"),
        every_n_epochs=every,
        enable_version_counter=False,
    )
    callbacks: list[Callback] = [progress, last]
    best = stopping = None
    if monitor is not None:
        best = _Best(
            folder,
            filename=BEST.removesuffix(".ckpt"),
            monitor=monitor,
            enable_version_counter=False,
        )
        callbacks.insert(0, best)
        if patience is not None:
            stopping = _Patience(monitor, patience=patience, min_delta=min_delta)
            callbacks.append(stopping)
    if resume is not None and (stopping is not None or max_minutes is not None):
        checkpoint = torch.load(resume, weights_only=True, map_location="cpu")
        states = checkpoint["callbacks"]
        waited = states.get(stopping.state_key, {}).get("wait_count", 0) if stopping else 0
        patient = patience is None or waited < patience
        if not patient or (max_minutes is not None and checkpoint["minutes"] >= max_minutes):
            score = states.get(best.state_key, {}).get("best_model_score") if best else None
            return _metrics(states.get(progress.state_key, {}).get("metrics", {}), monitor, score)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator=device,
            devices=processes,
            strategy="auto" if processes == 1 else "ddp_spawn",
            use_distributed_sampler=False,
            gradient_clip_val=clip,
            inference_mode=False,
            logger=CSVLogger(folder, name="", version="log") if log else False,
            log_every_n_steps=1,
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        try:
            trainer.fit(module, *loaders, ckpt_path=resume)
        except ProcessRaisedException as error:
            # The last line of another process's traceback.
            kind, _, text = str(error).strip().splitlines()[-1].partition(": ")
            for known in (ConvergenceError, InputError):
                if kind.endswith(known.__name__):
                    raise known(text) from None
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    return _metrics(progress.metrics, monitor, best.best_model_score if best else None)


def _metrics(last: dict[str, float], monitor: str | None, best: Any) -> dict[str, float]:
    return last | ({} if best is None else {f"best_{monitor}": float(best)})


def _on_gpu(accelerator: str, processes: int) -> bool:
    """Whether to fit on GPUs; refused where there are too few."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator == "cpu" or (accelerator == "auto" and not gpus):
        return False
    if gpus < processes:
        raise InputError(
            f"training.accelerator = {accelerator}, training.processes = "
            f"{processes}: each needs a GPU, and PyTorch finds {gpus}; set "
            "training.accelerator to cpu" + (f" or training.processes to {gpus}" if gpus else "")
        )
    return True
