"""Layers of equivariant networks: filters restricted to a group, convolutions, readouts.

For example::

    filters = objstress.nn.GroupFilter(PointGroup("-43m"), irreps=[(0, 1), (1, -1)], lmax=4)
    basis = filters(vectors)  # {(l, p): (..., size, 2l+1)}

An irrep is a pair (l, p) of angular momentum and parity; see `objstress.symmetry`.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
