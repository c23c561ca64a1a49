"""Material laws: W(F), P = dW/dF and A = dP/dF of a crystal, and the kinds of law there are.

For example::

    law = objstress.laws.load_law("silicon.law")
    W, P, A = law.energy(F), law.stress(F), law.tangent(F)  # F (n, 3, 3); GPa

`check_law` measures what every law promises, `compile_law` makes a faster one, `GuardedLaw` one
that is safe outside its trained strains and `RotatedLaw` one in the frame of a sample;
`export_law` writes a compiled one as source code of other programs. A law of your own derives from
`MaterialLaw` (or `StrainEnergyLaw`, for an energy of E) and enters the register of files by its
`kind`. How laws are fitted is in `objstress.training`.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
