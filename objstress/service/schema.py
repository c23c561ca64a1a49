"""Requests and answers of the service."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from objstress.service.problems import PROBLEMS

POSCAR = """Cu
1.0
0.0 1.807 1.807
1.807 0.0 1.807
1.807 1.807 0.0
Cu
1
direct
0 0 0
"""
Matrix = list[list[float]]


class PropertiesRequest(BaseModel):
    """A structure, and the model for its properties."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"structure": POSCAR, "format": "poscar"}]},
    )

    structure: str | dict[str, Any] = Field(
        description="Text of a CIF or POSCAR; pymatgen's JSON as text or as an object."
    )
    format: Literal["cif", "poscar", "json"] = "cif"
    model: str | None = Field(
        None,
        description="A name from /v1/models; by default the first that knows the elements, "
        "universal potentials before others.",
    )
    ions: Literal["relaxed", "clamped"] = Field(
        "relaxed", description="Whether ions follow their forces when the cell is strained."
    )


class PropertiesAnswer(BaseModel):
    """Elastic properties; Voigt order xx yy zz yz xz xy, in the frame of the given cell."""

    model_config = ConfigDict(extra="allow")

    formula: str
    point_group: str
    crystal_system: str
    space_group: dict[str, Any] = Field(description="symbol and number")
    model: str
    model_version: str = Field(description="of its program, or the hash of its file")
    ions: str
    atoms: int = Field(description="of the primitive cell")
    lattice_A: Matrix = Field(description="of the relaxed primitive cell, vectors as rows")
    conventional_cell_A: Matrix
    elements: list[str]
    positions_A: Matrix
    density_g_per_cm3: float
    stiffness_GPa: Matrix
    to_ieee: Matrix = Field(description="Q, v_IEEE = Q v")
    stiffness_ieee_GPa: Matrix
    form_ieee: list[list[str]] = Field(description='"0", "c11", "(c11 - c12)/2"')
    stable: bool = Field(description="false: see stability.softest_strain; no averages then")
    stability: dict[str, Any]
    averages: dict[str, Any] | None = Field(None, description="voigt, reuss, hill in GPa, ...")
    thermal: dict[str, Any] | None = Field(None, description="g/cm^3, km/s, K, W/(m K)")
    extremes: dict[str, Any] | None = Field(None, description="of E, beta, G and nu; GPa, 1/GPa")


class ModelRow(BaseModel):
    """One model."""

    name: str
    what: str
    version: str = Field(description="of its program, or the hash of its file")
    elements: list[str] | None = Field(description="null if only the model itself can tell")
    universal: bool = Field(description="a universal potential; only these have what follows")
    functional: str | None = None
    licence: str | None = None
    citation: str | None = None
    faults: str | None = Field(None, description="what it is known to get wrong")


class Models(BaseModel):
    """The models that the service offers."""

    models: list[ModelRow]


class Health(BaseModel):
    """State of the service."""

    status: Literal["ok", "stopping"]
    version: str
    workers: int
    waiting: int = Field(description="requests that no worker has yet")
    done: int
    failed: int
    cached: int = Field(description="requests that the cache has answered")


class ProblemBody(BaseModel):
    """An error as described by RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


def problem_responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Responses of an address for OpenAPI: what each status means."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, title = PROBLEMS[kind]
        text = responses[status]["description"] + "; " + title if status in responses else title
        schema = {"$ref": "#/components/schemas/ProblemBody"}
        content = {"application/problem+json": {"schema": schema}}
        responses[status] = {"description": text, "content": content}
    return responses
