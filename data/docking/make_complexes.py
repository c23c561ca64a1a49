"""Made-up complexes with a known energy, in folders as PDBbind keeps them.

    python data/docking/make_complexes.py out/complexes [--number 1000] [--workers 2]

Each seed makes a molecule and a pocket of side chains about it; seeds that have two places nearly
as good are left out. A folder that is there is not made again. See `objstress.docking.synthetic`.
"""

import argparse
from pathlib import Path

from objstress.docking.synthetic import make_complexes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    made = make_complexes(given.out, given.number, workers=given.workers)
    print(len(made), "complexes in", given.out)


if __name__ == "__main__":
    main()
