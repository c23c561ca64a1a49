"""Docking: the poses of a small molecule in a protein, by a learned energy.

For example::

    from objstress.docking import Box, dock

    docking = dock("p.pdb", "CC(=O)Nc1ccc(O)cc1", box=Box.from_text("1,2,3,20,20,20"))
    docking.poses[0].energy, docking.poses[0].positions  # kcal/mol, Angstrom
    docking.write("poses.sdf")

`dock_library` docks the molecules of a file, `fit_pose_energy` fits an energy to known complexes.
The room needs the extra `docking` (RDKit and gemmi).
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
