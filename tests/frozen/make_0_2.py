"""The files of version 0.2 whose format 0.1 did not have: `python -m tests.frozen.make_0_2`.

Run once, when a format is new; files that a released version wrote are never made again.
"""

import json
import os
from pathlib import Path

import numpy as np

from objstress import GuardedLaw, compile_law, correct_law, fit_law, label_strains, read_labels
from objstress.laws import BazantLaw
from objstress.symmetry import read_structure
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


def corrections() -> None:
    """A correction of a calculator's tensors, `tensors/corrected.tensor`; adds what it gave."""
    from ase.build import bulk

    from objstress.properties import prior_tensors
    from objstress.training import correct_tensors

    (FOLDER / "tensors").mkdir(exist_ok=True)
    metals = [read_structure(bulk(name)) for name in ("Cu", "Ag", "Au", "Ni", "Pd")]
    kept = FOLDER / "kept.json"
    priors = prior_tensors(metals, "emt", kept, progress=False)
    kept.unlink()
    tensors = [t * (1.1 + 0.1 * k) for k, t in enumerate(priors)]
    correct_tensors(metals, tensors, "emt", priors).save(FOLDER / "tensors/corrected.tensor")
    os.chdir(FOLDER.with_name("0.1"))  # which has the crystals that are asked for
    numbers = reading.plain(reading.tensor(str(FOLDER / "tensors/corrected.tensor")))
    expected = json.loads((FOLDER / "expected.json").read_text())
    expected["loaded"]["tensors"] = {"tensors/corrected.tensor": numbers}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
    corrections()
