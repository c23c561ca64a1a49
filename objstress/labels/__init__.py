"""Labelled strains: strained cells of a crystal with the stresses that a calculator gives them.

For example::

    label_strains("silicon.cif", "stillinger-weber", out="silicon.extxyz")
    labels = read_labels("silicon.extxyz", "silicon.cif")
    labels.F, labels.piola  # (n, 3, 3), GPa

Strains are chosen by `sample_strains`; a stress-free cell comes from `relaxed_crystal`, elastic
constants without a fit from `elastic_strains` and `elastic_differences`.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
