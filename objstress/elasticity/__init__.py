"""Algebra of elastic constants: moduli by direction, averages, bounds, waves, orientations.

For example::

    C = objstress.elasticity.cubic_stiffness(165.7, 63.9, 79.6)  # 6 x 6 Voigt, GPa
    objstress.elasticity.youngs_modulus(C, [1, 1, 1])
    objstress.elasticity.polycrystal_averages(C).hill.bulk

Stiffness matrices are 6 x 6 in Voigt's form, order xx yy zz yz xz xy, in GPa. An orientation is the
rotation Q from the crystal's frame to the sample's.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
