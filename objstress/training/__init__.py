"""All fits: laws, ensembles of laws and adaptive labels, potentials, property tensors.

For example::

    law = fit_law("silicon.extxyz", "silicon.cif")
    potential = fit_potential("settings.yaml", "run")
    networks = fit_tensors(*read_crystal_tensors("crystals.json"), workdir="run")

A fit with a `workdir` is resumed by the same call. All fits run by `run_fit`, on a `FitModule`.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
