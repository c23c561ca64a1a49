"""Networks and polynomials: energies of a strain, potentials of atoms, tensors of crystals.

For example::

    potential = objstress.models.load_potential("water.potential")
    model = objstress.models.ConstitutiveNetwork(structure, PointGroup("m-3m"))

They know neither training nor files of results; `objstress.training` fits them, and laws and
calculators use them.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
