"""Workflows through all rooms: the demonstration on silicon, and the chain from a DFT set.

For example::

    from objstress.workflows import run_chain, run_demo

    run_demo("out/demo")  # structure file -> law -> plate with a hole, every claim measured
    run_chain("train.extxyz", "silicon.cif", "out/chain")  # DFT set -> potential -> law -> plate
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
