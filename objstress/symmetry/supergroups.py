"""The next larger crystallographic groups above a group, in its own frame."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from objstress.symmetry.point_group import PointGroup


def contains(larger: PointGroup, smaller: PointGroup) -> bool:
    """Whether every operation of `smaller` is one of `larger`."""
    return _keys(smaller.operations) <= _keys(larger.operations)


def closure(operations: np.ndarray) -> np.ndarray:
    """The finite group that the given Cartesian operations (n, 3, 3) generate."""
    known = {k: g for k, g in zip(_key_list(operations), operations, strict=True)}
    new = list(known.values())
    while new:
        products = [a @ b for a in new for b in list(known.values())]
        new = []
        for k, g in zip(_key_list(np.array(products)), products, strict=True):
            if k not in known:
                known[k] = g
                new.append(g)
    return np.array(list(known.values()))


def laue_group(group: PointGroup) -> PointGroup:
    """The group with the inversion, in the same frame: what diffraction and strain see of it."""
    return PointGroup.from_operations(closure(np.concatenate([group.operations, -np.eye(3)[None]])))


def minimal_supergroups(group: PointGroup, hosts: Iterable[PointGroup]) -> list[PointGroup]:
    """Groups H, G < H <= host, with nothing in between, for every host that contains G.

    All crystallographic supergroups in the frame of the hosts lie above one of these.

    Args:
        group: G.
        hosts: groups in the same frame.
    """
    groups: dict[frozenset, np.ndarray] = {}
    members = _keys(group.operations)
    for host in hosts:
        if not contains(host, group):
            continue
        for key, h in zip(_key_list(host.operations), host.operations, strict=True):
            if key not in members:
                operations = closure(np.concatenate([group.operations, h[None]]))
                groups[frozenset(_key_list(operations))] = operations
    minimal = [k for k in groups if not any(other < k for other in groups)]
    return [PointGroup.from_operations(groups[k]) for k in minimal]


def _key_list(operations: np.ndarray) -> list[tuple]:
    rounded = np.round(np.asarray(operations).reshape(-1, 9), 5) + 0.0
    return [tuple(row) for row in rounded.tolist()]


def _keys(operations: np.ndarray) -> set[tuple]:
    return set(_key_list(operations))
