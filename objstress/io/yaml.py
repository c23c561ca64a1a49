"""Settings in YAML files, checked strictly: what is wrong with them, in one line."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from objstress.errors import InputError


def read_mapping(path: str | Path, what: str, otherwise: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        what: the file is meant to be, for messages: "case file".
        otherwise: said where it is no mapping.

    Raises:
        InputError: no such file, not YAML, no mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such {what}")
    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: {otherwise}")
    return found


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong, in one line; of a key that is unknown the nearest known one."""
    errors = error.errors()
    # A misspelt required key is also a missing one: the unknown key says more.
    unknown = [e for e in errors if e["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    models: list[type[BaseModel]] = [model]
    *parts, last = first["loc"]
    place: list[str] = []
    for part in parts if unknown else first["loc"]:
        tagged = [m for m in models if _tag(m) == part]
        inside = [m.model_fields[part] for m in models if part in m.model_fields]
        if tagged and len(models) > 1:
            models = tagged  # a shape, which is no key of its own
        elif inside or isinstance(part, int):
            place.append(str(part))
            models = [m for field in inside for m in _models(field.annotation)] or models
    if not unknown:
        return f"{'.'.join(place)}: {first['msg'].lower()}"
    keys = [key for m in models for key in m.model_fields]
    near = difflib.get_close_matches(str(last), keys, n=1, cutoff=0.0)
    return f"unknown key {'.'.join([*place, str(last)])!r}; did you mean {near[0]!r}?"


def _tag(model: type[BaseModel]) -> Any:
    """The `shape` that a model stands for."""
    shape = model.model_fields.get("shape")
    return get_args(shape.annotation)[0] if shape else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]
