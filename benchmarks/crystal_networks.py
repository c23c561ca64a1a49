"""What a network adds to the polynomial of a crystal: `python -m benchmarks.crystal_networks`.

Copper, magnesium and quartz of `data/`: the default fit, which tries a polynomial of free degree
and then a convolution on what it leaves, and the same with a network of strain; relative RMSE of P
of the labels held out, beside that of the polynomial alone. Labels that neither trained nor stopped
a network decide whether it is kept. Writes crystal_networks.json and .md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.crystals import files
from benchmarks.stored import add_reuse, made, store, stored_rows
from objstress.io.files import write_whole
from objstress.labels.reading import read_labels
from objstress.models.constitutive import NetworkSettings
from objstress.models.strain_network import StrainNetworkSettings
from objstress.reports import Claim, claims_table
from objstress.training.laws.fit import fit_law

CRYSTALS = ("copper", "magnesium", "quartz")
NETWORKS: dict[str, NetworkSettings | StrainNetworkSettings] = {
    "convolution": NetworkSettings(),
    "strain": StrainNetworkSettings(strain_scale=0.05),
}


def measured(crystal: str, network: str) -> dict[str, Any]:
    """The errors with and without a network, on labels held out."""
    data, _, structure = files(crystal)
    began = time.perf_counter()
    law = fit_law(read_labels(data, structure), network=NETWORKS[network], progress=False)
    held_out, facts = law.metadata["held_out"], law.metadata["network"]
    return {
        "crystal": crystal,
        "network": network,
        "degree": law.metadata["polynomial"]["degree"],
        "polynomial": held_out["polynomial"]["relative_rmse"],
        "both": held_out["both"]["relative_rmse"],
        "kept": facts["kept"],
        "reason": facts.get("reason"),
        "stopping_error": [facts.get("error_before"), facts.get("error_after")],
        "seconds": time.perf_counter() - began,
        **made(),
    }


def claims_of(rows: list[dict[str, Any]]) -> list[Claim]:
    return [
        Claim(
            f"{row['crystal']}, {row['network']}: law over its polynomial, held out",
            row["both"] / row["polynomial"],
            0.9 if row["kept"] else 1.0,
        )
        for row in rows
    ]


def table(rows: list[dict[str, Any]], claims: list[Claim]) -> str:
    text = "# Networks on top of polynomials\n\nRelative RMSE of P of the labels held out, %:\n\n"
    text += "| crystal | network | degree | polynomial | law | outcome |\n"
    text += "| --- | --- | --- | --- | --- | --- |\n"
    for row in rows:
        fate = row["reason"] or ("kept" if row["kept"] else "dropped")
        text += (
            f"| {row['crystal']} | {row['network']} | {row['degree']} | "
            f"{100 * row['polynomial']:.3f} | {100 * row['both']:.3f} | {fate} |\n"
        )
    return f"{text}\n{claims_table(claims)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="networks on top of polynomials")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    add_reuse(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path, settings = arguments.out / "crystal_networks.json", {"crystals": list(CRYSTALS)}
    rows = stored_rows(path, settings, "rows", arguments.reuse) or []
    for crystal in CRYSTALS:
        for network in NETWORKS:
            if (crystal, network) in {(row["crystal"], row["network"]) for row in rows}:
                continue
            rows.append(measured(crystal, network))
            print(rows[-1], flush=True)
            claims = claims_of(rows)
            store(path, settings, rows, claims)
            write_whole(arguments.out / "crystal_networks.md", table(rows, claims))


if __name__ == "__main__":
    main()
