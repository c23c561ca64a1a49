"""Measures of the boundary facets that loads and contacts act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import mesh as dmesh
from mpi4py import MPI

from objstress.errors import InputError
from objstress.fem.conditions.displacements import marker
from objstress.fem.meshes import bounding_box


def facet_measures(mesh: dmesh.Mesh, conditions: Sequence[Any], degree: int) -> list[Any]:
    """A measure for each condition; facets may belong to several.

    Args:
        conditions: with `where`, as in `Displacement`.
        degree: quadrature degree.

    Raises:
        InputError: a condition that catches no boundary facet.
    """
    if not conditions:
        return []
    dim = mesh.topology.dim
    box = bounding_box(mesh)
    hits = []
    for condition in conditions:
        where = marker(condition.where, *box)
        hit = dmesh.locate_entities_boundary(mesh, dim - 1, where)
        if mesh.comm.allreduce(len(hit), op=MPI.SUM) == 0:
            kind = type(condition).__name__.lower()
            raise InputError(f"{kind} on {condition.where!r}: no boundary facet found there")
        hits.append(hit)
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
