"""What all parts of a case share: no unknown keys, and the types of vectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Vector = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Matrix = tuple[Vector, Vector, Vector]
Components = Annotated[list[FiniteFloat], Field(min_length=2, max_length=3)]
"""A vector of the mesh's dimension."""


class Strict(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid")
