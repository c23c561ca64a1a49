"""Symmetry of crystals: point groups, their structural tensors, forms of property tensors.

For example::

    group = objstress.symmetry.PointGroup.from_structure("silicon.cif")
    group.symbol, group.operations, group.structural_tensors(lmax=4)
    objstress.symmetry.TensorForm(group, "elastic").table()

Everything stays in the frame of the structure. Symmetric tensors are six-vectors in Mandel's form
inside, in Voigt's at the border, order xx yy zz yz xz xy.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
