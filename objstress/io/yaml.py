"""Settings in YAML files, and what is wrong with them in one line."""

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
        path: the file.
        what: what the file should be, for messages: "case file".
        otherwise: the message where it holds no mapping.

    Raises:
        InputError: no such file, one that is not YAML, or no mapping in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such {what}")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: {otherwise}")
    return content


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong with settings, in one line; for an unknown key, the nearest known one.

    Args:
        error: what pydantic raised.
        model: the model of the settings.
    """
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
            models = tagged  # the name of a shape, which is no key
        elif inside or isinstance(part, int):
            place.append(str(part))
            models = [m for field in inside for m in _models(field.annotation)] or models
    if not unknown:
        return f"{'.'.join(place)}: {first['msg'].lower()}"
    keys = [key for m in models for key in m.model_fields]
    near = difflib.get_close_matches(str(last), keys, n=1, cutoff=0.0)
    return f"unknown key {'.'.join([*place, str(last)])!r}; did you mean {near[0]!r}?"


def _tag(model: type[BaseModel]) -> Any:
    """The value of a model's `shape`, by which pydantic chooses it."""
    shape = model.model_fields.get("shape")
    return get_args(shape.annotation)[0] if shape else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]
