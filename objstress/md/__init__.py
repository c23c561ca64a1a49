"""Molecular dynamics of one structure, or of many replicas in one batch.

For example::

    from objstress.md import run_md, run_replicas

    run = run_md("water.xyz", "water.potential", "out", ensemble="nvt", time=10.0)   # ps
    run.summary()["temperature_K"]
    replicas = run_replicas(run.atoms, "water.potential", 64, record=["dipole"])

`run_md` takes any ASE calculator; `torch_sim_model` hands a potential to torch-sim.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
