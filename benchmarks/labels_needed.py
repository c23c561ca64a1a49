"""How many DFT labels a stress error of 3 % costs: perceptrons, polynomial, networks.

`python -m benchmarks.labels_needed` fits silicon's labels by each method from 10 to 250 labels
and writes labels_needed.json, .md and .png. Every method gets the same nested subsets, the same
stress-free reference (found from the subset alone) and is tested on the same 64 labels, which
nobody trains on.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from benchmarks.baselines import (
    RESTARTS,
    WIDTHS,
    EnergyOfC,
    EnergyOfF,
    StressOfF,
    fit_perceptron,
)
from objstress.errors import InputError
from objstress.io.files import write_json
from objstress.labels.reading import read_labels
from objstress.labels.strain_labels import Labels
from objstress.reports import Claim, claims_table, environment
from objstress.symmetry.point_group import O3, PointGroup
from objstress.training.laws.fit import fit_law
from objstress.training.laws.metrics import relative_rmse
from objstress.training.laws.polynomial import stress_floor
from objstress.training.laws.reference import stress_free_labels
from objstress.training.laws.settings import NetworkTraining
from objstress.workflows.silicon import data_folder

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SUBSETS = {10: 3, 15: 3, 25: 3, 50: 2, 100: 2, 250: 2}
"""Random subsets of each size; small ones scatter more and cost less."""
HELD_OUT = 64
TARGET = 0.03
PERCENT = f"{100 * TARGET:g} %"

# The network's patience in L-BFGS iterations, looked at four times as often: perceptrons of
# turned cells overfit within the network's first step. And more of them, since they are cheap.
PERCEPTRON = NetworkTraining(epochs=400, iterations=5, patience=24)

TURNED, BOTH = "MLP of F, cells turned at random", "polynomial + network"
O3_NETWORK, G_NETWORK = "network, O(3) filters", "network, G filters"

# Each method, and the ways of fitting it; the best on the held-out labels is taken at each size.
METHODS: dict[str, tuple[str, ...]] = {
    "MLP of F, cells as given": ("given/energy", "given/stress"),
    TURNED: ("turned/energy", "turned/stress"),
    "MLP of C (objective only)": ("objective/energy",),
    "polynomial": ("polynomial",),
    O3_NETWORK: ("network/O(3)",),
    G_NETWORK: ("network/G",),
    BOTH: ("polynomial+network",),
}
LAWS: dict[str, dict[str, Any]] = {
    "polynomial": {"use_network": False},
    "network/O(3)": {"polynomial": False, "filters": O3},
    "network/G": {"polynomial": False},
    "polynomial+network": {},
}
PERCEPTRONS = {
    "given/energy": EnergyOfF,
    "given/stress": StressOfF,
    "turned/energy": EnergyOfF,
    "turned/stress": StressOfF,
    "objective/energy": EnergyOfC,
}


@dataclass(frozen=True)
class Task:
    """One fit: a variant, a number of labels and the seed of the subset and the weights."""

    variant: str
    labels: int
    seed: int


@cache
def silicon() -> tuple[Labels, PointGroup, float]:
    """All labels, the crystal's group, and the floor of relative errors in GPa."""
    labels = read_labels(data_folder() / "labels.extxyz", data_folder() / "silicon.cif")
    group = PointGroup.from_structure(labels.structure)
    return labels, group, stress_floor(labels, group)


def turned(labels: Labels) -> Labels:
    """Each cell and its stress turned by a random rotation of its own: F' = R F, P' = R P."""
    r = Rotation.random(len(labels), rng=0).as_matrix()
    return replace(labels, F=r @ labels.F, cauchy=r @ labels.cauchy @ r.transpose(0, 2, 1))


def run(task: Task) -> dict[str, Any]:
    """Fit and test once; the error is None where the method cannot be fitted to so few labels."""
    labels, group, floor = silicon()
    if task.variant.startswith("turned/"):
        labels = turned(labels)
    order = np.random.default_rng(0).permutation(len(labels))
    tested, pool = labels.subset(order[:HELD_OUT]), order[HELD_OUT:]
    subset = np.random.default_rng(task.seed + 1).permutation(pool)[: task.labels]
    begun = time.perf_counter()
    result: dict[str, Any] = asdict(task) | {"error": None, "total_relative": None}
    try:
        fitted, stretch, _ = stress_free_labels(labels.subset(subset), group)
        model, facts = _fit(task, fitted, group)
    except InputError as error:
        return result | {"reason": str(error)}
    tested = tested.rereferenced(stretch)
    predicted, stress = model(torch.tensor(tested.F)).detach().numpy(), tested.piola
    return result | {
        "error": relative_rmse(predicted, stress, floor),
        "total_relative": float(np.linalg.norm(predicted - stress) / np.linalg.norm(stress)),
        "seconds": time.perf_counter() - begun,
        **facts,
    }


def _fit(
    task: Task, fitted: Labels, group: PointGroup
) -> tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, Any]]:
    if task.variant in PERCEPTRONS:
        kind, settings = PERCEPTRONS[task.variant], replace(PERCEPTRON, seed=task.seed)
        return fit_perceptron(kind, fitted, stress_floor(fitted, group), settings), {}
    law = fit_law(
        fitted,
        held_out=0,
        stress_free=False,  # these labels already are
        training=NetworkTraining(seed=task.seed),
        progress=False,
        **LAWS[task.variant],
    )
    facts: dict[str, Any] = {}
    if "polynomial" in law.metadata:
        facts["degree"] = law.metadata["polynomial"]["degree"]
    if "network" in law.metadata:
        network = law.metadata["network"]
        facts |= {"network_kept": network["kept"], "weights": network.get("weights")}
    return lambda f: law.response(f, 1)[1], facts


def run_all(tasks: list[Task]) -> list[dict[str, Any]]:
    """One process a core and one thread each; the costly fits first."""
    cost = {"network/G": 4, "network/O(3)": 3, "polynomial+network": 2, "polynomial": 0}
    tasks = sorted(tasks, key=lambda t: -t.labels * cost.get(t.variant, 1))
    with ProcessPoolExecutor(
        os.cpu_count(), multiprocessing.get_context("spawn"), _start_worker
    ) as pool:
        futures = [pool.submit(run, task) for task in tasks]
        done = tqdm(as_completed(futures), total=len(tasks), desc="fits", unit="fit")
        return [future.result() for future in done]


def _start_worker() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def summarise(results: list[dict[str, Any]], sizes: tuple[int, ...]) -> dict[str, Any]:
    """{method: {size: median, least, largest, variant}}; None where a method cannot be fitted."""
    summary: dict[str, Any] = {}
    for method, variants in METHODS.items():
        rows: dict[str, Any] = {}
        for n in sizes:
            found = []
            for variant in variants:
                runs = [r for r in results if r["variant"] == variant and r["labels"] == n]
                errors = [r["error"] for r in runs]
                if None not in errors:
                    found.append((float(np.median(errors)), min(errors), max(errors), variant))
            names = ("median", "least", "largest", "variant")
            rows[str(n)] = dict(zip(names, min(found), strict=True)) if found else None
        errors_by_size = {n: rows[str(n)]["median"] for n in sizes if rows[str(n)]}
        summary[method] = {"error": rows, "labels_needed": labels_needed(errors_by_size)}
    return summary


def labels_needed(errors: dict[int, float], target: float = TARGET) -> float | None:
    """Labels at which the error first meets the target, log-log between sizes.

    None if it never does; the least size if that one already does (an upper bound).
    """
    before: tuple[int, float] | None = None
    for n, error in errors.items():
        if error <= target:
            if before is None:
                return float(n)
            part = np.log(before[1] / target) / np.log(before[1] / error)
            return float(before[0] * (n / before[0]) ** part)
        before = n, error
    return None


def make_claims(summary: dict[str, Any], sizes: tuple[int, ...]) -> list[Claim]:
    """The two bars of the comparison."""
    ours, theirs = (summary[m]["labels_needed"] for m in (BOTH, TURNED))
    name = f"labels for {PERCENT} stress error, polynomial + network over MLP of F, turned cells"
    if theirs is None:
        name += f" (which never gets there: its lower bound {sizes[-1]} is used)"
    ratio = float("nan") if ours is None else ours / (theirs or sizes[-1])
    return [
        Claim(name, ratio, 0.2),
        Claim(
            "polynomial + network over the best other method, largest ratio of errors over all "
            "sizes",
            max(error_ratios(summary, sizes).values()),
            1.0,
        ),
    ]


def error_ratios(summary: dict[str, Any], sizes: tuple[int, ...]) -> dict[int, float]:
    """{size: error of polynomial + network over the least error of the other methods}."""
    ratios = {}
    for n in sizes:
        errors = {m: s["error"][str(n)]["median"] for m, s in summary.items() if s["error"][str(n)]}
        others = min(error for m, error in errors.items() if m != BOTH)
        ratios[n] = errors.get(BOTH, np.inf) / others
    return ratios


def filters_sentence(results: list[dict[str, Any]]) -> tuple[float, float, str]:
    """Whether G filters beat O(3) filters: mean log ratio of paired errors, its error, in words."""
    runs = {(r["variant"], r["labels"], r["seed"]): r for r in results}
    pairs = [
        (r, runs["network/O(3)", n, seed])
        for (variant, n, seed), r in runs.items()
        if variant == "network/G"
    ]
    logs = np.log([g["error"] / o["error"] for g, o in pairs])
    mean, deviation = float(logs.mean()), float(logs.std(ddof=1) / np.sqrt(len(logs)))
    low, high = np.exp([mean - 2 * deviation, mean + 2 * deviation])
    gain = "less error" if high < 1 else "more error"
    verdict = "nothing beyond the scatter of the fits" if low <= 1 <= high else gain
    text = (
        "On silicon's own graph the edges already carry the crystal's symmetry, so O(3) filters "
        "are just as exactly symmetric and G filters (m-3m) can add freedom only: with "
        f"{pairs[0][0]['weights']} weights against {pairs[0][1]['weights']} their error is "
        f"{np.exp(mean):.2f} times that of O(3) filters (geometric mean of {len(logs)} paired "
        f"fits, {low:.2f} to {high:.2f} within two standard errors; less in {(logs < 0).sum()} of "
        f"them): here they bring {verdict}."
    )
    return mean, deviation, text


def table(summary: dict[str, Any], sizes: tuple[int, ...]) -> str:
    """Markdown: median held-out error in %, least and largest in brackets."""
    lines = [
        "| held-out relative RMSE of P, % | "
        + " | ".join(f"{n} labels" for n in sizes)
        + f" | labels for {PERCENT} |",
        "| --- |" + " --- |" * (len(sizes) + 1),
    ]
    for method, rows in summary.items():
        cells = [method]
        for n in sizes:
            row = rows["error"][str(n)]
            cells.append(
                f"{_percent(row['median'])} ({_percent(row['least'])} to "
                f"{_percent(row['largest'])})"
                if row
                else "too few"
            )
        cells.append(_needed(rows["labels_needed"], sizes))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(error: float) -> str:
    value = 100 * error
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _needed(labels: float | None, sizes: tuple[int, ...]) -> str:
    if labels is None:
        return f"> {sizes[-1]}"
    return f"≤ {sizes[0]}" if labels <= sizes[0] else f"{labels:.0f}"


def draw(summary: dict[str, Any], sizes: tuple[int, ...], path: Path) -> None:
    """Error against labels, log-log; bands from the least to the largest error of the seeds."""
    styles = {
        TURNED: ("#7f7f7f", "v"),
        "MLP of F, cells as given": ("#bc8a3c", "^"),
        "MLP of C (objective only)": ("#8c6bb1", "D"),
        O3_NETWORK: ("#56b4e9", "s"),
        G_NETWORK: ("#0072b2", "P"),
        "polynomial": ("#009e73", "o"),
        BOTH: ("#d62728", "*"),
    }
    figure, axes = plt.subplots(figsize=(7.6, 4.6), dpi=200, layout="constrained")
    for method, (colour, marker) in styles.items():
        rows = summary[method]["error"]
        x = [n for n in sizes if rows[str(n)]]
        median, least, largest = (
            np.array([100 * rows[str(n)][k] for n in x]) for k in ("median", "least", "largest")
        )
        axes.fill_between(x, least, largest, color=colour, alpha=0.13, lw=0)
        front = method == BOTH
        axes.plot(
            x,
            median,
            color=colour,
            marker=marker,
            ms=10 if front else 6,
            lw=2.0 if front else 1.5,
            ls="--" if front else "-",
            markeredgecolor="white",
            markeredgewidth=0.6,
            label=f"{method}: {_needed(summary[method]['labels_needed'], sizes)}",
            zorder=4 if front else 3,
        )
    axes.axhline(100 * TARGET, color="k", lw=0.9, ls=":")
    axes.annotate(
        PERCENT,
        (1, 100 * TARGET),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
    )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="training labels (strained cells)",
        ylabel="held-out relative RMSE of stress P, %",
        title="silicon, DFT stresses, 64 held-out labels",
    )
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.grid(alpha=0.25)
    figure.legend(
        loc="outside right center",
        frameon=False,
        fontsize="small",
        title=f"method: labels for {PERCENT}",
        title_fontsize="small",
        alignment="left",
    )
    figure.savefig(path)
    plt.close(figure)


def write_report(
    results: list[dict[str, Any]], subsets: dict[int, int], out: Path, stem: str, seconds: float
) -> str:
    """Table, plot and JSON of the fits into `out`; the table's text comes back."""
    sizes = tuple(subsets)
    summary = summarise(results, sizes)
    claims = make_claims(summary, sizes)
    mean, deviation, sentence = filters_sentence(results)
    labels, group, floor = silicon()
    text = f"""# Labels needed for {PERCENT} stress error, silicon

Held-out relative RMSE of the first Piola-Kirchhoff stress, |dP| / max(|P|, {floor:.3f} GPa), on
{HELD_OUT} labels nobody trained on: median over subsets (least to largest).

{table(summary, sizes)}

{claims_table(claims)}

{sentence}

Perceptrons: two hidden layers of {" or ".join(map(str, WIDTHS))} SiLU units, {RESTARTS} sets of
initial weights each, chosen by validation error; for F an energy and a direct stress, whichever
does better on the held-out labels. No method turns its training labels again to have more of
them.
"""
    out.mkdir(parents=True, exist_ok=True)
    draw(summary, sizes, out / f"{stem}.png")
    (out / f"{stem}.md").write_text(text)
    write_json(
        out / f"{stem}.json",
        {
            "claims": [claim.to_dict() for claim in claims],
            "unit": "relative RMSE of first Piola-Kirchhoff stress, no unit",
            "target": TARGET,
            "sizes": sizes,
            "subsets_of_each_size": [subsets[n] for n in sizes],
            "held_out_labels": HELD_OUT,
            "labels_in_all": len(labels),
            "stress_floor_GPa": floor,
            "point_group": group.symbol,
            "methods": summary,
            "ratio_to_best_other": error_ratios(summary, sizes),
            "G_over_O3_filters": {
                "mean_log_ratio": mean,
                "standard_error": deviation,
                "in_words": sentence,
            },
            "perceptrons": {
                "widths": WIDTHS,
                "restarts": RESTARTS,
                "training": asdict(PERCEPTRON),
                "chosen_by": "validation error; energy or stress by held-out error",
            },
            "network_training": asdict(NetworkTraining()),
            "fits": sorted(results, key=lambda r: (r["variant"], r["labels"], r["seed"])),
            "seconds": seconds,
            "environment": environment() | {"processes": os.cpu_count()},
        },
    )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="labels needed for 3 % stress error, by method")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument(
        "--quick", action="store_true", help="10 and 25 labels, one seed; files named *-quick"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    subsets = {10: 1, 25: 1} if arguments.quick else SUBSETS
    tasks = [
        Task(variant, n, seed)
        for variants in METHODS.values()
        for variant in variants
        for n, count in subsets.items()
        for seed in range(count)
    ]
    results = run_all(tasks)
    stem = "labels_needed-quick" if arguments.quick else "labels_needed"
    print(write_report(results, subsets, arguments.out, stem, time.perf_counter() - begun))


if __name__ == "__main__":
    main()
