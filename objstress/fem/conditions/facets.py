"""Measures of the boundary facets that loads and contacts act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import mesh as dmesh

from objstress.fem.conditions.where import Places


def facet_measures(places: Places, conditions: Sequence[Any], degree: int) -> list[Any]:
    """A measure for each condition; facets may belong to several.

    Args:
        places: of the mesh.
        conditions: with `where`, as in `Displacement`.
        degree: quadrature degree.

    Raises:
        InputError: a condition that catches no boundary facet.
    """
    if not conditions:
        return []
    mesh, dim = places.mesh, places.dim
    hits = [places.facets(c.where, described(c)) for c in conditions]
    # One tag for each combination of conditions that share facets, numbered alike on every rank,
    # also on those without a facet of it.
    facets = np.unique(np.concatenate(hits))
    member = np.stack([np.isin(facets, hit) for hit in hits], axis=1)
    local = {tuple(np.flatnonzero(row).tolist()) for row in np.unique(member, axis=0)}
    combinations = sorted(set().union(*mesh.comm.allgather(local)))
    numbers = [combinations.index(tuple(np.flatnonzero(row).tolist())) for row in member]
    tags = dmesh.meshtags(mesh, dim - 1, facets, np.array(numbers, dtype=np.int32))
    rule = {"quadrature_degree": degree}
    ds = ufl.Measure("ds", domain=mesh, subdomain_data=tags, metadata=rule)
    return [
        ds(tuple(tag for tag, which in enumerate(combinations) if k in which))
        for k in range(len(conditions))
    ]


def described(condition: Any) -> str:
    """A condition in words."""
    kind, where = type(condition).__name__.lower(), condition.where
    if isinstance(where, str):
        return f"{kind} on {where!r}"
    if isinstance(where, tuple) and len(where) == 2:
        return f"{kind} on tag {where[1]!r}"
    return f"{kind} {condition.name!r}" if getattr(condition, "name", "") else kind
