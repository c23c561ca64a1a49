"""Settings of a potential's fit: a YAML file, checked strictly.

The description of each field is the one source for the commented file that `settings_text` writes,
the docstring of its class, and the JSON schema (`FitSettings.model_json_schema()`).
"""

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
from objstress.models.potential import PotentialSettings
from objstress.training.balancing import Balancer, GradNorm, SoftAdapt, TwoStage
from objstress.training.potential.frames import TARGETS, check_keys


class StrictSettings(BaseModel):
    """Settings that refuse unknown keys and cannot be changed.

    Subclasses describe their fields; their docstrings get the section Attributes from that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        lines = []
        for name, field in cls.model_fields.items():
            lines += textwrap.wrap(
                f"{name}: {field.description}",
                96,
                initial_indent=" " * 4,
                subsequent_indent=" " * 8,
            )
        about = inspect.cleandoc(cls.__doc__ or "")
        cls.__doc__ = "\n".join([about, "", "Attributes:", *lines])


def _model_fields() -> dict[str, Any]:
    """The potential's own settings; what follows from the data may be left open."""
    hints, described = get_type_hints(PotentialSettings), _attributes(PotentialSettings)
    fields: dict[str, Any] = {
        "elements": (
            list[str] | None,
            Field(None, description="chemical symbols; null takes those of the data."),
        ),
        "neighbours": (
            PositiveFloat | None,
            Field(
                None, description=f"{described.get('neighbours', '')} Null counts them in the data."
            ),
        ),
    }
    return fields | {
        f.name: (hints[f.name], Field(f.default, description=described.get(f.name, "")))
        for f in dataclasses.fields(PotentialSettings)
        if f.name not in ("elements", "heads", "neighbours")
    }


def _attributes(cls: type) -> dict[str, str]:
    """What the section Attributes of a class and its bases says about each name."""
    described: dict[str, str] = {}
    for base in cls.__mro__[:-1]:
        text = inspect.cleandoc(base.__doc__ or "").partition("Attributes:")[2].partition("\n\n")[0]
        for entry in re.split(r"\n    (?=\w[\w., ]*: )", text):
            names, _, about = " ".join(entry.split()).partition(": ")
            described |= {name: about for name in names.split(", ")}
    return described


ModelSettings: Any = create_model(
    "ModelSettings",
    __base__=StrictSettings,
    __doc__="Size and symmetry of a potential.",
    **_model_fields(),
)


class BalancingSettings(StrictSettings):
    """How the losses are weighted against each other."""

    method: Literal["fixed", "two-stage", "softadapt", "gradnorm"] = Field(
        default="fixed", description="fixed, two-stage, softadapt or gradnorm."
    )
    weights: dict[str, PositiveFloat] = Field(
        default={"energy": 1.0, "forces": 10.0},
        description="of the losses, which have no units; a target that is not named has 1. They "
        "are normalised to sum to the number of targets, and are where softadapt and gradnorm "
        "start. Energies per atom are measured by the RMS force: give 100 for a barrier that must "
        "be right.",
    )
    later: dict[str, PositiveFloat] = Field(
        default={"energy": 10.0, "forces": 1.0}, description="weights of the second of two stages."
    )
    switch: float = Field(
        default=0.75,
        ge=0,
        le=1,
        description="fraction of the fit after which the second stage begins.",
    )
    beta: FiniteFloat = Field(default=0.1, description="sharpness of softadapt.")
    window: PositiveInt = Field(
        default=50, description="number of batches over which softadapt takes its means."
    )
    alpha: FiniteFloat = Field(
        default=0.5, description="how much gradnorm favours targets that are learned slowly."
    )
    rate: PositiveFloat = Field(
        default=0.025, description="relative change of a weight in one step of gradnorm, about."
    )
    reference_batches: PositiveInt = Field(
        default=20, description="number of batches whose mean losses gradnorm starts from."
    )
    every: PositiveInt = Field(
        default=4,
        description="number of batches between two looks at the gradients' norms (gradnorm).",
    )

    def build(self, tasks: tuple[str, ...]) -> Balancer:
        """The balancer of these targets.

        Args:
            tasks: names of the targets.

        Raises:
            InputError: a weight of a target that is not fitted.
        """
        weights = self._of("weights", tasks)
        if self.method == "two-stage":
            return TwoStage(tasks, weights, self._of("later", tasks), self.switch)
        if self.method == "softadapt":
            return SoftAdapt(tasks, weights, self.beta, self.window)
        if self.method == "gradnorm":
            return GradNorm(tasks, weights, self.alpha, self.rate, self.reference_batches)
        return Balancer(tasks, weights)

    def judge(self, tasks: tuple[str, ...]) -> Balancer:
        """Fixed weights under which validations are compared.

        Args:
            tasks: names of the targets.
        """
        return Balancer(
            tasks, self._of("later" if self.method == "two-stage" else "weights", tasks)
        )

    def _of(self, name: str, tasks: tuple[str, ...]) -> dict[str, float]:
        # The defaults name energy and forces, which need not be fitted.
        chosen = name in self.model_fields_set
        return {t: w for t, w in getattr(self, name).items() if chosen or t in tasks}


class OptimiserSettings(StrictSettings):
    """How the weights are found: AdamW (amsgrad), warm-up and cosine, an average of the weights."""

    epochs: PositiveInt = Field(
        default=200, description="number of passes over the training frames."
    )
    max_minutes: PositiveFloat | None = Field(
        default=None,
        description="minutes after which the fit ends, the learning rate with it; null for no "
        "limit.",
    )
    batch_size: PositiveInt = Field(
        default=4, description="number of structures in one step, over all processes together."
    )
    learning_rate: PositiveFloat = Field(default=0.02, description="the largest one.")
    warm_up: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="fraction of the fit in which the learning rate rises.",
    )
    final_rate: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="learning rate at the end, as a fraction of the largest.",
    )
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="of AdamW.")
    clip: PositiveFloat | None = Field(
        default=10.0, description="largest norm of the gradient; null for no limit."
    )
    average: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="decay of the exponential average of the weights that is validated and kept; "
        "0 keeps the weights themselves.",
    )
    loss: Literal["mse", "huber"] = Field(
        default="mse", description="mse, or huber, which is linear beyond huber_delta."
    )
    huber_delta: PositiveFloat = Field(
        default=0.1,
        description="in units of the scale that errors are divided by (RMS force, ...).",
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="number of epochs without a better validation after which the fit stops; null "
        "for never.",
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float32", description="of the fit; the potential is float64 in the end."
    )
    processes: PositiveInt = Field(
        default=1, description="number of processes that share each batch."
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="auto, cpu or gpu."
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="of the weights, the validation frames and the order of the batches.",
    )


class FitSettings(StrictSettings):
    """Settings of a potential's fit; energies in eV, lengths in Angstrom, others see `TARGETS`."""

    data: str = Field(
        description="file of labelled structures that ASE reads (extxyz); paths are relative to "
        "this file."
    )
    keys: dict[str, str] = Field(
        default={"energy": "energy", "forces": "forces"},
        description="each target with its key in the data. Targets: energy, forces, stress, "
        "dipole, charges, polarizability, pseudoscalar. A frame need not have all of them.",
    )
    validation: float | str = Field(
        default=0.1,
        description="fraction of the frames, or a file of frames, that choose the best weights.",
    )
    references: dict[str, FiniteFloat] | str = Field(
        default="fitted",
        description="energies of the isolated atoms in eV, such as {H: -13.6}, or a file of "
        "isolated atoms, or fitted (by least squares, but for elements of which the data hold "
        "the isolated atom).",
    )
    model: ModelSettings = Field(
        default=ModelSettings(), description="size and symmetry of the potential."
    )
    balancing: BalancingSettings = Field(
        default=BalancingSettings(), description="weights of the targets."
    )
    training: OptimiserSettings = Field(default=OptimiserSettings(), description="the optimiser.")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Targets in the order of `TARGETS`."""
        return tuple(t for t in TARGETS if t in self.keys)

    def potential_settings(self, elements: tuple[int, ...], neighbours: float) -> PotentialSettings:
        """Settings of the potential, completed by what the data say.

        Args:
            elements: atomic numbers in the data.
            neighbours: mean number of neighbours in the data.

        Raises:
            InputError: an element that is none, or a number that the potential refuses.
        """
        chosen = self.model.model_dump()
        if chosen["elements"] is not None:
            unknown = [s for s in chosen["elements"] if s not in atomic_numbers]
            if unknown:
                raise InputError(f"model.elements: {unknown[0]!r} is not a chemical element")
            elements = tuple(atomic_numbers[s] for s in chosen["elements"])
        heads = tuple(dict.fromkeys(TARGETS[t].head for t in self.tasks))
        known = {"elements": elements, "neighbours": chosen["neighbours"] or neighbours}
        return PotentialSettings(**(chosen | known | {"heads": heads}))


def read_settings(path: str | Path) -> FitSettings:
    """The settings in a YAML file; paths in them are relative to that file.

    Args:
        path: the file; `settings_text` writes one to fill in.

    Raises:
        InputError: an unreadable file, an unknown key (the nearest known one is named), or an
            invalid value.
    """
    path = Path(path)
    otherwise = "settings are a mapping; see `objstress settings potential`"
    content = read_mapping(path, "file of settings", otherwise)
    try:
        settings = settings_from(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    paths: dict[str, Any] = {"data": str(path.parent / settings.data)}
    for name in ("validation", "references"):
        value = getattr(settings, name)
        if isinstance(value, str) and value != "fitted":
            paths[name] = str(path.parent / value)
    return settings.model_copy(update=paths)


def settings_from(content: dict[str, Any]) -> FitSettings:
    """Settings from a mapping, checked.

    Args:
        content: as in a file of settings.

    Raises:
        InputError: see `read_settings`.
    """
    try:
        settings = FitSettings.model_validate(content)
    except ValidationError as error:
        raise InputError(explain(error, FitSettings)) from None
    check_keys(settings.keys)
    fraction = settings.validation
    if isinstance(fraction, float) and not 0 < fraction < 1:
        raise InputError(
            f"validation: {fraction:g} is neither a fraction between 0 and 1 nor a file"
        )
    settings.balancing.build(settings.tasks)
    return settings


def settings_text(data: str = "train.extxyz") -> str:
    """The default settings as YAML, each with its description: a file to fill in.

    Args:
        data: the file that `data` names.
    """
    head = (
        "# Settings of `objstress fit-potential`. Fill in data and keys; a line that is left out\n"
        "# has the value that stands here.\n\n"
    )
    return head + "\n".join(_lines(FitSettings(data=data), 0)) + "\n"


def _lines(settings: BaseModel, depth: int) -> list[str]:
    indent, lines = "  " * depth, []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        prefix = f"{indent}# "
        lines += textwrap.wrap(
            field.description or "", 96, initial_indent=prefix, subsequent_indent=prefix
        )
        if isinstance(value, BaseModel):
            lines += [f"{indent}{name}:", *_lines(value, depth + 1)]
        else:
            # "1" and "[1]" are one line each in flow style; the brackets of a lone value go.
            text = yaml.safe_dump([value], default_flow_style=True, width=1000).strip()
            lines.append(f"{indent}{name}: {text[1:-1]}")
        if depth == 0:
            lines.append("")
    return lines
