"""Fits of networks that predict a property tensor: AdamW on many crystals at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from objstress.errors import InputError, check_seed
from objstress.io.run_folder import fingerprint, work_folder
from objstress.models.crystal_tensor import CrystalTensorNetwork, CrystalTensorSettings
from objstress.models.tensor_ensemble import TensorEnsemble, comparison_features, species_graph
from objstress.symmetry.crystal import primitive_cell
from objstress.training.trainer import EpochBatches, FitModule, run_fit


@dataclass(frozen=True)
class TensorTraining:
    """How an ensemble of tensor networks is fitted.

    Attributes:
        members: number of networks, each with its own random weights.
        epochs: number of passes over the crystals; the learning rate falls to zero by a cosine.
        batch_size: number of crystals in a step.
        rate: learning rate of AdamW at the start.
        decay: weight decay of AdamW.
        clip: largest norm of the gradient.
        seed: of the first member's weights and the order of crystals.
        accelerator: "auto", "cpu" or "gpu".
    """

    members: int = 4
    epochs: int = 200
    batch_size: int = 16
    rate: float = 0.01
    decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    accelerator: str = "auto"


class TensorFit(FitModule):
    """Mean absolute error of the components x, all irreps alike."""

    def __init__(self, network: CrystalTensorNetwork, training: TensorTraining):
        super().__init__()
        self.network, self.training_settings = network, training

    def training_step(self, batch: Batch, _: int) -> Tensor:
        x, _features = self.network(batch)
        # The norm of a difference is the same for a rotated crystal; a mean square would let a few
        # outlying crystals dominate.
        loss = (x - batch.target).square().sum(1).add(1e-8).sqrt().mean()
        self.log("loss", loss, on_epoch=True, on_step=False, batch_size=len(x))
        return loss

    def configure_optimizers(self) -> Any:
        s = self.training_settings
        optimizer = torch.optim.AdamW(self.parameters(), lr=s.rate, weight_decay=s.decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit_tensors(
    structures: Sequence[Structure],
    tensors: Sequence[np.ndarray],
    settings: CrystalTensorSettings | None = None,
    training: TensorTraining | None = None,
    workdir: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    progress: bool = True,
    ions: str = "relaxed",
) -> TensorEnsemble:
    """Fit networks that predict a crystal's tensor to crystals with known tensors.

    Args:
        structures: ordered crystals, in the frames of their tensors.
        tensors: (3, ..., 3) each, in the unit of the kind; Born charges (atoms, 3, 3), of cells
            that are primitive (their atoms must not be merged).
        settings: of the networks; `neighbours` is counted in the crystals.
        training: how they are fitted.
        workdir: folder for checkpoints; the same call resumes a fit that was interrupted there.
            None uses a temporary folder.
        dtype: of the weights.
        progress: show a bar on standard error.
        ions: of the tensors, "relaxed" or "clamped"; kept with the networks, which refuse to
            predict for the other.

    Returns:
        The ensemble; its metadata hold the facts of the fit.

    Raises:
        InputError: no data, different numbers of structures and tensors, an elastic or dielectric
            tensor that is not positive definite, see `atom_graph`.
    """
    settings, training = settings or CrystalTensorSettings(), training or TensorTraining()
    check_seed(training.seed)
    if not len(structures) or len(structures) != len(tensors):
        raise InputError(
            f"{len(structures)} structures and {len(tensors)} tensors: give one of each"
        )
    atoms = settings.kind == "born charges"
    cells = list(structures) if atoms else [primitive_cell(s) for s in structures]
    graphs = [species_graph(c, settings.cutoff, torch.float64) for c in cells]
    neighbours = float(np.mean([g.num_edges / g.num_nodes for g in graphs]))
    settings = replace(settings, neighbours=max(1.0, neighbours))
    known = [torch.as_tensor(np.asarray(t, dtype=np.float64)) for t in tensors]
    exact = CrystalTensorNetwork(settings)
    x = [exact.components(t if atoms else t[None]) for t in known]
    every = torch.cat(x)
    scalars = torch.cat([torch.full((2 * l + 1,), l == 0) for l, _ in exact.tensor_irreps])
    shift = torch.where(scalars & (not atoms), every.mean(0), 0.0)
    size = (every - shift).square().mean().sqrt().clamp_min(1e-12)
    for graph, target in zip(graphs, x, strict=True):
        graph.target = target.to(dtype)
        for key in ("pos", "cell", "shift", "charge", "masses", "volume"):
            graph[key] = graph[key].to(dtype)
    everything = Batch.from_data_list(graphs)
    members, features = [], []
    digest = _fingerprint(settings, training, graphs, dtype)
    with work_folder(workdir) as folder:
        for k in range(training.members):
            with torch.random.fork_rng():
                torch.manual_seed(training.seed + k)
                network = CrystalTensorNetwork(settings, dtype)
                network.shift.copy_(shift)
                # Products of features below one are small: start at the labels' size.
                with torch.no_grad():
                    raw = network(everything)[0] - network.shift
                    network.scale.copy_(size / raw.square().mean().sqrt().clamp_min(1e-12))
                loader = DataLoader(
                    graphs,
                    batch_sampler=EpochBatches(len(graphs), training.batch_size, training.seed + k),
                )
                metrics = run_fit(
                    TensorFit(network, training),
                    folder / f"member-{k}",
                    digest,
                    epochs=training.epochs,
                    loaders=(loader,),
                    every=20,
                    clip=training.clip,
                    accelerator=training.accelerator,
                    title=f"network {k + 1} of {training.members}" if progress else None,
                )
                network.metadata["loss"] = metrics.get("loss")
            members.append(network)
            with torch.no_grad():
                features.append(network.eval()(everything)[1])
    facts = {
        "ions": ions,
        "crystals": len(cells),
        "formulas": sorted({c.composition.reduced_formula for c in cells}),
        "training": asdict(training),
        "loss": [m.metadata["loss"] for m in members],
    }
    return TensorEnsemble(members, comparison_features(cells, features), facts)


def _fingerprint(settings, training, graphs, dtype) -> str:
    fitted = {k: v for k, v in asdict(training).items() if k != "accelerator"}
    asked = json.dumps([asdict(settings), fitted, str(dtype)])
    keys = ("pos", "cell", "species", "target")
    return fingerprint([asked, *(graph[key].numpy() for graph in graphs for key in keys)])
