"""Synthetic complexes with a known energy, in folders laid out as in PDBbind.

    python data/docking/make_complexes.py out/complexes [--number 1000] [--workers 2]

Each seed makes a molecule and a pocket of side chains about it; seeds with two nearly equal best
poses are left out. Existing complexes are kept. See `objstress.docking.make_complexes`.
"""

import argparse
from pathlib import Path

from objstress.docking import make_complexes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    made = make_complexes(options.out, options.number, workers=options.workers)
    print(len(made), "complexes in", options.out)


if __name__ == "__main__":
    main()
