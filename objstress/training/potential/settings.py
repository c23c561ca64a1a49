"""Settings of a potential's training: a YAML file, checked strictly."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml
from ase.data import atomic_numbers
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    create_model,
)

from objstress.errors import InputError
from objstress.io.yaml import explain, read_mapping
from objstress.models.atom_network import AtomNetworkSettings
from objstress.models.potential import PotentialSettings
from objstress.training.balancing import Balancer, GradNorm, SoftAdapt, TwoStage
from objstress.training.potential.frames import TARGETS, check_keys


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_HINTS = get_type_hints(PotentialSettings)
# The potential's own settings; what follows from the data may be left open.
_FIELDS: dict[str, Any] = {
    "elements": (list[str] | None, None),
    "neighbours": (PositiveFloat | None, None),
} | {
    f.name: (_HINTS[f.name], f.default)
    for f in dataclasses.fields(PotentialSettings)
    if f.name not in ("elements", "heads", "neighbours")
}
ModelSettings: Any = create_model("ModelSettings", __base__=_Strict, **_FIELDS)
# One text of the attributes, those of its own and those that all networks of atoms have.
_OWN, _COMMON = PotentialSettings.__doc__ or "", AtomNetworkSettings.__doc__ or ""
ModelSettings.__doc__ = _OWN.replace(
    "elements: atomic numbers.", "elements: symbols; null takes those of the data."
).replace(
    "        group, cutoff, channels, ...: see `AtomNetworkSettings`.\n",
    _COMMON.partition("Attributes:\n")[2].rstrip(" "),
)


class BalancingSettings(_Strict):
    """How the losses are weighted against each other.

    Attributes:
        method: fixed, two-stage, softadapt or gradnorm.
        weights: of the losses, which have no units; a target not named has 1. They are normalised
            to sum to the number of targets, and are where softadapt and gradnorm start. Energies
            per atom are measured by the RMS force: 100 for a barrier that must be right.
        later: weights of the second of two stages.
        switch: part of the training after which the second stage begins.
        beta: sharpness of softadapt.
        window: batches over which softadapt takes its means.
        alpha: how much gradnorm favours targets that are learned slowly.
        rate: relative change of a weight in one step of gradnorm, about.
        reference_batches: batches whose mean losses gradnorm starts from.
        every: batches from one look at the gradients' norms to the next (gradnorm).
    """

    method: Literal["fixed", "two-stage", "softadapt", "gradnorm"] = "fixed"
    weights: dict[str, PositiveFloat] = {"energy": 1.0, "forces": 10.0}
    later: dict[str, PositiveFloat] = {"energy": 10.0, "forces": 1.0}
    switch: float = Field(default=0.75, ge=0, le=1)
    beta: FiniteFloat = 0.1
    window: PositiveInt = 50
    alpha: FiniteFloat = 0.5
    rate: PositiveFloat = 0.025
    reference_batches: PositiveInt = 20
    every: PositiveInt = 4

    def build(self, tasks: tuple[str, ...]) -> Balancer:
        """The balancer of these targets."""
        weights = self._of("weights", tasks)
        if self.method == "two-stage":
            return TwoStage(tasks, weights, self._of("later", tasks), self.switch)
        if self.method == "softadapt":
            return SoftAdapt(tasks, weights, self.beta, self.window)
        if self.method == "gradnorm":
            return GradNorm(tasks, weights, self.alpha, self.rate, self.reference_batches)
        return Balancer(tasks, weights)

    def judge(self, tasks: tuple[str, ...]) -> Balancer:
        """Fixed weights under which validations are compared."""
        return Balancer(
            tasks, self._of("later" if self.method == "two-stage" else "weights", tasks)
        )

    def _of(self, name: str, tasks: tuple[str, ...]) -> dict[str, float]:
        # The defaults name energy and forces, which need not be trained.
        given = name in self.model_fields_set
        return {t: w for t, w in getattr(self, name).items() if given or t in tasks}


class OptimiserSettings(_Strict):
    """How the weights are found: AdamW (amsgrad), warm-up and cosine, an average of the weights.

    Attributes:
        epochs: passes over the training frames.
        max_minutes: training ends after this time, the learning rate with it; null for no limit.
        batch_size: structures of one step, over all processes together.
        learning_rate: largest.
        warm_up: part of the training in which the learning rate rises.
        final_rate: learning rate at the end, as part of the largest.
        weight_decay: of AdamW.
        clip: largest norm of the gradient; null for no limit.
        average: decay of the exponential average of the weights that is validated and kept; 0
            keeps the weights themselves.
        loss: mse, or huber, which is linear beyond huber_delta.
        huber_delta: in units of the scale that errors are divided by (RMS force, ...).
        patience: epochs without a better validation after which training stops; null for never.
        dtype: of the training; the potential is float64 in the end.
        processes: that share each batch.
        accelerator: auto, cpu or gpu.
        seed: of the weights, the validation frames and the order of the batches.
    """

    epochs: PositiveInt = 200
    max_minutes: PositiveFloat | None = None
    batch_size: PositiveInt = 4
    learning_rate: PositiveFloat = 0.02
    warm_up: float = Field(default=0.02, ge=0, lt=1)
    final_rate: float = Field(default=0.01, gt=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    clip: PositiveFloat | None = 10.0
    average: float = Field(default=0.99, ge=0, lt=1)
    loss: Literal["mse", "huber"] = "mse"
    huber_delta: PositiveFloat = 0.1
    patience: PositiveInt | None = None
    dtype: Literal["float32", "float64"] = "float32"
    processes: PositiveInt = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    seed: int = Field(default=0, ge=0)


class FitSettings(_Strict):
    """Training of a potential; energies in eV, lengths in Angstrom, see `TARGETS` for the rest.

    Attributes:
        data: file of labelled structures that ASE reads (extxyz); paths are relative to this file.
        keys: each target with its key in the data. Targets: energy, forces, stress, dipole,
            charges, polarizability, pseudoscalar. A frame teaches those it has.
        validation: part of the frames that choose the best weights, or a file of its own.
        references: energies of the isolated atoms in eV, such as {H: -13.6}, or a file of isolated
            atoms, or fitted (by least squares).
        model: size and symmetry of the potential.
        balancing: weights of the targets.
        training: the optimiser.
    """

    data: str
    keys: dict[str, str] = {"energy": "energy", "forces": "forces"}
    validation: float | str = 0.1
    references: dict[str, FiniteFloat] | str = "fitted"
    model: ModelSettings = ModelSettings()
    balancing: BalancingSettings = BalancingSettings()
    training: OptimiserSettings = OptimiserSettings()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Targets in the order of `TARGETS`."""
        return tuple(t for t in TARGETS if t in self.keys)

    def potential_settings(self, elements: tuple[int, ...], neighbours: float) -> PotentialSettings:
        """Those of the potential, with what the data say where they are open."""
        given = self.model.model_dump()
        if given["elements"] is not None:
            strange = [s for s in given["elements"] if s not in atomic_numbers]
            if strange:
                raise InputError(f"model.elements: {strange[0]!r} is no chemical element")
            elements = tuple(atomic_numbers[s] for s in given["elements"])
        heads = tuple(dict.fromkeys(TARGETS[t].head for t in self.tasks))
        known = {"elements": elements, "neighbours": given["neighbours"] or neighbours}
        return PotentialSettings(**(given | known | {"heads": heads}))


def read_settings(path: str | Path) -> FitSettings:
    """The settings in a YAML file, paths in them made relative to where the program runs.

    Raises:
        InputError: unreadable, or a key or value that does not belong there (the nearest known
            key is named).
    """
    path = Path(path)
    otherwise = "settings are a mapping; see `objstress settings potential`"
    content = read_mapping(path, "file of settings", otherwise)
    try:
        found = settings_from(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    paths: dict[str, Any] = {"data": str(path.parent / found.data)}
    for name in ("validation", "references"):
        value = getattr(found, name)
        if isinstance(value, str) and value != "fitted":
            paths[name] = str(path.parent / value)
    return found.model_copy(update=paths)


def settings_from(content: dict[str, Any]) -> FitSettings:
    """Settings from a mapping, checked.

    Raises:
        InputError: see `read_settings`.
    """
    try:
        found = FitSettings.model_validate(content)
    except ValidationError as error:
        raise InputError(explain(error, FitSettings)) from None
    check_keys(found.keys)
    if isinstance(found.validation, float) and not 0 < found.validation < 1:
        raise InputError(f"validation: {found.validation:g} is no part between 0 and 1, nor a file")
    found.balancing.build(found.tasks)
    return found


def settings_text(data: str = "train.extxyz") -> str:
    """The default settings as YAML, each with what it means: a file to fill in."""
    head = (
        "# Settings of `objstress fit-potential`. Fill in data and keys; a line that is left out\n"
        "# has the value that stands here.\n\n"
    )
    return head + "\n".join(_lines(FitSettings(data=data), 0)) + "\n"


def _lines(settings: BaseModel, depth: int) -> list[str]:
    indent, lines = "  " * depth, []
    about = _attributes(type(settings))
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        prefix = f"{indent}# "
        lines += textwrap.wrap(about[name], 96, initial_indent=prefix, subsequent_indent=prefix)
        if isinstance(value, BaseModel):
            lines += [f"{indent}{name}:", *_lines(value, depth + 1)]
        else:
            # "1" and "[1]" are one line each in flow style; the brackets of a lone value go.
            text = yaml.safe_dump([value], default_flow_style=True, width=1000).strip()
            lines.append(f"{indent}{name}: {text[1:-1]}")
        if depth == 0:
            lines.append("")
    return lines


def _attributes(cls: type) -> dict[str, str]:
    """What the Attributes section of a docstring says about each name."""
    text = inspect.cleandoc(cls.__doc__ or "").split("Attributes:")[1]
    entries = re.split(r"\n    (?=\w[\w, ]*: )", text)
    found = {}
    for entry in entries:
        names, _, about = " ".join(entry.split()).partition(": ")
        for name in names.split(", "):
            found[name] = about
    return found
