"""How many labels of a better method correct a universal potential's law: prior against none.

`python -m benchmarks.few_labels` writes results/few_labels.json and .md. SevenNet's laws are the
priors: those of silicon and of wurtzite gallium phosphide are corrected by DFT labels, those of
quartz and kyanite by labels of classical potentials. Labels are picked as `objstress suggest` picks
strains, or at random; others, held out, judge. "Relaxed" means that the label of the cell at rest,
which a relaxation leaves, comes before the others; it is not counted.

Laws of SevenNet are made once, as `objstress law` makes them, into the folder `--priors`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crystals import files
from benchmarks.labels_needed import labels_needed
from benchmarks.stored import add_reuse, made, stored_rows
from objstress.errors import InputError
from objstress.io.files import write_json, write_whole
from objstress.labels.reading import read_labels
from objstress.labels.strain_labels import Labels
from objstress.laws.base import MaterialLaw
from objstress.laws.loading import load_law
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.voigt import to_mandel
from objstress.training.laws.correction import correct_law
from objstress.training.laws.fit import fit_law
from objstress.training.laws.metrics import stress_errors
from objstress.training.laws.reference import stress_free_labels
from objstress.training.laws.suggestions import most_helpful
from objstress.workflows.crystal_law import law_of

RESULTS = Path(__file__).parent / "results"
PRIORS = Path(__file__).parents[1] / "out" / "priors"
CRYSTALS = {
    "silicon": ("7net-l3i5", 0.08),
    "gallium-phosphide": ("7net-l3i5", 0.05),
    "quartz": ("7net-l3i5", 0.05),
    "kyanite": ("7net-0", 0.04),
}
"""{crystal: model, size of the strains that its prior is fitted to}."""
SIZES = (1, 2, 3, 5, 10, 20)
SPLITS = 6
"""Held-out sets, each with labels picked and labels at random from the others."""
HELD_OUT = 64
TARGET = 0.02
WAYS = ("relaxed + picked", "picked", "random")


def prior_law(name: str, folder: Path) -> MaterialLaw:
    """SevenNet's law of a crystal, made where it is missing."""
    file = folder / f"{name}.law"
    if not file.is_file():
        model, largest = CRYSTALS[name]
        law_of(
            files(name)[2],
            file,
            model="sevennet",
            arguments={"model": model},
            max_strain=largest,
        )
    return load_law(file, outside="ignore")


def crystal(name: str, folder: Path) -> dict[str, Any]:
    """Errors and coverage of a crystal's law, by number of labels and how they are picked."""
    prior = prior_law(name, folder)
    data, _, structure = files(name)
    labels = read_labels(data, structure)
    hidden = HELD_OUT if len(labels) > 2 * HELD_OUT else len(labels) // 4
    whole, stretch, _ = stress_free_labels(labels, prior.point_group)  # type: ignore[arg-type]
    shift = np.linalg.solve(prior.structure.lattice.matrix, whole.structure.lattice.matrix)  # type: ignore[attr-defined]
    at_rest = np.linalg.norm(labels.strain, axis=(1, 2)) < 1e-6
    rest, labels = labels.subset(at_rest), labels.subset(~at_rest)
    runs = []
    for split in range(SPLITS):
        rng = np.random.default_rng(split)
        order = rng.permutation(len(labels))
        tested = labels.subset(np.sort(order[:hidden]))
        pool = labels.subset(np.sort(order[hidden:]))
        start = correct_law(rest, prior)
        from_rest = to_mandel(pool.rereferenced(_stretch(start)).strain)
        for size in SIZES:
            ways = {
                "relaxed + picked": joined(rest, pool.subset(most_helpful(start, from_rest, size))),
                "picked": pool.subset(most_helpful(prior, to_mandel(pool.strain), size)),
                "random": pool.subset(rng.permutation(len(pool))[:size]),
            }
            for way, subset in ways.items():
                runs += [
                    {"split": split, "labels": size, "way": way} | part
                    for part in (corrected(prior, subset, tested), fitted(subset, tested))
                ]
    return {
        "point_group": prior.point_group.symbol,
        "labels_of": labels.source.partition(":")[0],
        "prior_of": CRYSTALS[name][0],
        "held_out_labels": hidden,
        "lattice_ratio": np.linalg.svd(shift)[1].tolist(),
        "prior_alone": stress_errors(prior, labels.rereferenced(stretch))["relative_rmse"],
        "runs": runs,
        **made(),
    }


def joined(one: Labels, other: Labels) -> Labels:
    """Labels of one reference after each other."""
    parts = [
        np.concatenate([getattr(one, n), getattr(other, n)]) for n in ("F", "cauchy", "energy")
    ]
    return replace(one, F=parts[0], cauchy=parts[1], energy=parts[2], moves=None)


def _stretch(law: Any) -> np.ndarray:
    return np.array(law.metadata["reference_stretch"])


def corrected(prior: MaterialLaw, seen: Labels, tested: Labels) -> dict[str, Any]:
    """One correction, judged by the held-out labels."""
    begun = time.perf_counter()
    law = correct_law(seen, prior)
    seconds = time.perf_counter() - begun
    tested = tested.rereferenced(_stretch(law))
    gap = law.response(tested.F, 1)[1].numpy() - tested.piola
    ratio = np.linalg.norm(gap, axis=(1, 2)) / law.stress_error(tested.F).numpy()
    return {
        "method": "prior",
        "error": stress_errors(law, tested)["relative_rmse"],
        "within_one": float(np.mean(ratio < 1)),
        "within_two": float(np.mean(ratio < 2)),
        "scales": law.metadata["correction"]["scales"],
        "seconds": seconds,
    }


def fitted(seen: Labels, tested: Labels) -> dict[str, Any]:
    """The same labels without a prior; the error is None where they are too few."""
    try:
        law = fit_law(seen, held_out=0.0, use_network=False, progress=False)
    except InputError as error:
        return {"method": "none", "error": None, "reason": str(error)}
    tested = tested.rereferenced(_stretch(law))
    return {"method": "none", "error": stress_errors(law, tested)["relative_rmse"]}


def summary(row: dict[str, Any]) -> dict[str, Any]:
    """{method and way: {labels: median error, or None}}, and the labels for the target."""
    out: dict[str, Any] = {}
    for method in ("prior", "none"):
        for way in WAYS:
            errors: dict[str, float | None] = {}
            for size in SIZES:
                own = [
                    r["error"]
                    for r in row["runs"]
                    if (r["method"], r["way"], r["labels"]) == (method, way, size)
                ]
                errors[str(size)] = None if None in own else float(np.median(own))
            known = {int(n): e for n, e in errors.items() if e is not None}
            needed = labels_needed(known, TARGET)
            out[f"{method}, {way}"] = {"error": errors, "labels_needed": needed}
    return out


def claims_of(rows: dict[str, Any]) -> list[Claim]:
    """The bars: errors with three labels, and the coverage of the error bars over all runs."""
    claims = []
    for name, row in rows.items():
        error = summary(row)["prior, picked"]["error"]["3"]
        claims.append(Claim(f"{name}: held-out stress error, prior and 3 labels", error, TARGET))
    runs = [r for row in rows.values() for r in row["runs"] if r["method"] == "prior"]
    one, two = (float(np.mean([r[key] for r in runs])) for key in ("within_one", "within_two"))
    return [
        *claims,
        Claim("held-out stresses within one error bar, at least", one, 0.6, at_least=True),
        Claim("held-out stresses within one error bar, at most", one, 0.8),
        Claim("held-out stresses within two error bars", two, 0.9, at_least=True),
    ]


def table(rows: dict[str, Any]) -> str:
    """Markdown: median held-out error in % by number of labels."""
    lines = [
        "| held-out relative RMSE of P, % | "
        + " | ".join(f"{n} label{'s' if n > 1 else ''}" for n in SIZES)
        + " |",
        "| --- |" + " --- |" * len(SIZES),
    ]
    for name, row in rows.items():
        for method, found in summary(row).items():
            cells = ["–" if e is None else f"{100 * e:.2g}" for e in found["error"].values()]
            lines.append(f"| {name}, {method} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| within one / two error bars, % | " + " | ".join(str(n) for n in SIZES) + " |",
        "| --- |" + " --- |" * len(SIZES),
    ]
    for name, row in rows.items():
        for way in WAYS:
            cells = []
            for size in SIZES:
                own = [
                    r
                    for r in row["runs"]
                    if (r["method"], r["way"], r["labels"]) == ("prior", way, size)
                ]
                one, two = (
                    100 * np.mean([r[key] for r in own]) for key in ("within_one", "within_two")
                )
                cells.append(f"{one:.0f} / {two:.0f}")
            lines.append(f"| {name}, {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--priors", type=Path, default=PRIORS, help="folder of SevenNet's laws")
    parser.add_argument("--crystals", nargs="+", choices=CRYSTALS, default=list(CRYSTALS))
    add_reuse(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    settings = {"sizes": SIZES, "splits": SPLITS, "held_out": HELD_OUT, "priors": CRYSTALS}
    path = RESULTS / "few_labels.json"
    rows = stored_rows(path, settings, "rows", options.reuse) or {}
    for name in options.crystals:
        if name not in rows:
            rows[name] = crystal(name, options.priors)
        rows[name]["summary"] = summary(rows[name])
        claims = claims_of(rows)
        report = {
            "settings": settings,
            "claims": [c.to_dict() for c in claims],
            "rows": rows,
            "environment": environment(),
        }
        write_json(path, report)
        text = (
            f"# Labels that correct a law of SevenNet\n\n{table(rows)}\n\n{claims_table(claims)}\n"
        )
        write_whole(path.with_suffix(".md"), text)
        print(text)


if __name__ == "__main__":
    main()
