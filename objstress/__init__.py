"""objstress: constitutive modelling of crystals, from a structure file to a FEniCSx simulation.

Names are loaded when they are first used: importing the package costs nothing, and
`objstress.fem` (FEniCSx) is imported only by those who ask for it. What there is stands in
`__init__.pyi`.
"""

import lazy_loader as lazy

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
