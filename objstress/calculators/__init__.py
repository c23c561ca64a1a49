"""ASE calculators by name: universal and special potentials, ABINIT, LAMMPS, PySCF, fitted ones.

For example::

    make_calculator("sevennet")
    make_calculator("bks")
    make_calculator("lammps", {"potential": "Cu_mishin1.eam.alloy"})
    make_calculator("tblite.ase:TBLite", {"method": "GFN2-xTB"})
    PotentialCalculator("water.potential")

`CALCULATORS` lists the names, with what each of them needs; `UNIVERSAL` what is to be known of the
universal potentials.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
