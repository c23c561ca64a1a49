"""The command that lists calculators."""

from __future__ import annotations

from typing import Any

from objstress.cli.app import Json, app, print_result

HIDDEN = ("make", "package")
"""What the table of calculators knows and no user needs."""


@app.command()
def calculators(as_json: Json = False) -> None:
    """List the calculators that can be asked for by name.

    Of universal potentials: whether they are installed, elements, functional, precision, licence,
    where their weights come from, what they are known to get wrong, and the paper to cite.
    """
    from objstress.calculators.registry import CALCULATORS
    from objstress.calculators.universal import UniversalPotential

    rows: dict[str, dict[str, Any]] = {}
    for name, calculator in CALCULATORS.items():
        facts = {key: fact for key, fact in vars(calculator).items() if key not in HIDDEN}
        row: dict[str, Any] = facts | {"universal": isinstance(calculator, UniversalPotential)}
        if isinstance(calculator, UniversalPotential):
            row["installed"] = calculator.installed
        rows[name] = row
    print_result(rows, as_json, _page)


def _page(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["Universal potentials, the best first:"]
    for name, row in rows.items():
        if not row["universal"]:
            continue
        there = "installed" if row["installed"] else row["install"]
        lines += [
            "",
            f"{name:18}{row['what']}",
            *(
                f"{'':18}{text}"
                for text in (
                    there,
                    f"{_elements(row)}; {row['functional']}, {row['precision']}, {row['licence']}; "
                    f"weights {row['weights']}",
                    f"wrong: {row['faults']}" if row["faults"] else "",
                    row["citation"],
                )
                if text
            ),
        ]
    lines += ["", "Others:"]
    for name, row in rows.items():
        if not row["universal"]:
            lines += ["", f"{name:18}{row['what']}"]
            if row["elements"]:
                lines.append(f"{'':18}{_elements(row)}")
    return "\n".join(lines)


def _elements(row: dict[str, Any]) -> str:
    elements = row["elements"]
    if elements is None:
        return "elements as its model has them"
    return f"{len(elements)} elements" if len(elements) > 12 else " ".join(elements)
