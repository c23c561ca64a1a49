"""Made-up complexes with a known energy, in folders as PDBbind keeps them.

    python data/docking/make_complexes.py out/complexes [--number 1000] [--workers 2]

Each seed makes a molecule and a pocket of side chains about it; seeds that have two places nearly
as good are left out. A folder that is there is not made again. See `objstress.docking.synthetic`.
"""

import argparse
from itertools import count, islice
from pathlib import Path

from tqdm import tqdm

from objstress.docking.synthetic import write_complex
from objstress.parallel import spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    made = {f.name for f in given.out.iterdir()}
    # Where the last run stopped.
    seeds = count(1 + max((int(n.removeprefix("made-")) for n in made), default=-1))
    with (
        tqdm(total=given.number, initial=len(made)) as bar,
        spread(write_complex, given.workers, None) as execute,
    ):
        while len(made) < given.number:
            some = [(given.out, f"made-{k:06d}", k) for k in islice(seeds, 8 * given.workers)]
            for n, written in execute(some):
                if written is True:
                    made.add(some[n][1])
                    bar.update()


if __name__ == "__main__":
    main()
