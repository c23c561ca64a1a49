"""Neighbour graphs of crystals, molecules and surfaces, as torch-geometric data.

For example::

    graph = objstress.graphs.crystal_graph(structure, cutoff=5.0)
    graph = objstress.graphs.atom_graph(atoms, elements=(1, 8), cutoff=5.0)

`VerletList` keeps the graphs of structures in motion up to date.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
