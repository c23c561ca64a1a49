"""The files of version 0.2 whose format 0.1 did not have: `python -m tests.frozen.make_0_2`.

Run once, when a format is new; files that a released version wrote are never made again.
"""

import json
import os
from pathlib import Path

import numpy as np

from objstress import GuardedLaw, compile_law, correct_law, fit_law, label_strains, read_labels
from objstress.laws import BazantLaw
from tests.frozen import reading

FOLDER = Path(__file__).parent / "0.2"


def main() -> None:
    from ase.build import bulk

    (FOLDER / "laws").mkdir(parents=True, exist_ok=True)
    os.chdir(FOLDER)
    copper = bulk("Cu", "fcc", a=3.6)
    label_strains(copper, "emt", out="copper.extxyz", samples=70, max_strain=0.04, progress=False)
    # Where labels lie is kept since 0.2, and guarded laws are others.
    law = fit_law("copper.extxyz", copper, degree=4, use_network=False, progress=False)
    law.save("laws/learned-density.law")
    GuardedLaw(law).save("laws/guarded-slope.law")
    compile_law(law).save("laws/polynomial-density.law")
    few = read_labels("copper.extxyz", copper).subset([5, 20, 40])
    cheap = fit_law("copper.extxyz", copper, degree=3, use_network=False, progress=False)
    correct_law(few, cheap).save("laws/corrected.law")
    Path("copper.extxyz").unlink()
    a = np.random.default_rng(0).normal(size=(6, 6))
    BazantLaw(100 * np.eye(6) + 5 * (a + a.T)).save("laws/bazant.law")
    names = sorted(str(path) for path in Path("laws").glob("*.law"))
    expected = {"loaded": {"laws": {n: reading.plain(reading.law(n)) for n in names}}}
    Path("expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
