"""Elastic properties of crystals: one structure, an equation of state, tables of thousands.

For example::

    from objstress.properties import crystal_properties, describe

    copper = crystal_properties("copper.cif", "emt")
    copper.stiffness_ieee        # (6, 6) Voigt, GPa
    copper.averages.hill.bulk    # GPa
    print(describe(copper))

A model is a name of a calculator, an ASE calculator, a law, a potential, networks of the elastic
tensor, or any `Source` of your own: a class with one method, `stiffness`.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
