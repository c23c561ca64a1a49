"""Input and output: files written whole, weights, tables, recordings, and the rule of resuming.

For example::

    from objstress.io import read_recording, write_json

    recording = read_recording("record.npz")  # dipole, polarizability, velocities against time
    write_json("report.json", {"temperature_K": recording.temperature})
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
