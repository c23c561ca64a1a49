"""ASE calculators by name: EMT, matscipy, ABINIT, LAMMPS, PySCF, and fitted potentials.

For example::

    make_calculator("bks")
    make_calculator("lammps", {"potential": "Cu_mishin1.eam.alloy"})
    make_calculator("tblite.ase:TBLite", {"method": "GFN2-xTB"})
    PotentialCalculator("water.potential")

`CALCULATORS` lists the names, with what each of them needs.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
