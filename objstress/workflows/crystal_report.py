"""The report of a crystal's law for people to read."""

from __future__ import annotations

from typing import Any

import numpy as np

from objstress.reports import Claim, claims_table


def law_report(report: dict[str, Any], claims: list[Claim]) -> str:
    """What report.json holds, as Markdown.

    Args:
        report: see `law_of`.
        claims: of the law.
    """

    def matrix(c: list[list[float]]) -> list[str]:
        names = ["xx", "yy", "zz", "yz", "xz", "xy"]
        numbers = np.round(c, 1) + 0.0  # no minus before a zero
        rows = [
            f"| {name} | " + " | ".join(f"{x:.1f}" for x in row) + " |"
            for name, row in zip(names, numbers, strict=True)
        ]
        return ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * 6, *rows, ""]

    model, second = report["model"], report["second_potential"]
    lines = [
        f"# Law of {report['formula']}, point group {report['point_group']}",
        "",
        f"{report['labels']} labels of {model['name']} up to |E| = {report['max_strain']:.1%}, "
        f"ions relaxed, in {report['seconds']:.0f} s.",
        "",
        "Stiffness, GPa (Voigt, standard frame):",
        "",
        *matrix(report["stiffness_ieee_GPa"]),
        claims_table(claims),
        "",
        "## How far to trust it",
        "",
    ]
    if "citation" in model:
        lines += [
            f"{model['name']}: {model['functional']}, {model['citation']}. "
            f"{model['faults'][0].upper()}{model['faults'][1:]}.",
            "",
        ]
    if "stresses_apart" in second:
        (k1, g1), (k2, g2) = (
            report["bulk_and_shear_modulus_GPa"],
            second["bulk_and_shear_modulus_GPa"] or (np.nan, np.nan),
        )
        lines += [
            f"{second['name']} ({second['functional']}), each about its own crystal at rest:",
            "",
            f"| | {model['name']} | {second['name']} | apart |",
            "| --- | ---: | ---: | ---: |",
            f"| bulk modulus, GPa | {k1:.1f} | {k2:.1f} | {abs(k2 / k1 - 1):.1%} |",
            f"| shear modulus, GPa | {g1:.1f} | {g2:.1f} | {abs(g2 / g1 - 1):.1%} |",
            f"| elastic constants, norm | | | {second['constants_apart']:.1%} |",
            f"| stresses at {second['strains']} strains | | | {second['stresses_apart']:.1%} |",
            "",
        ]
    else:
        lines += [f"No second opinion: {second['reason']}.", ""]
    lines += [f"- {note}" for note in report["notes"]]
    lines += ["", "![Young's modulus, sound, elastic constants](elasticity.png)"]
    return "\n".join(lines) + "\n"
