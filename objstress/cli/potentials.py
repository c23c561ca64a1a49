"""Commands for potentials: settings, fit-potential, evaluate."""

from __future__ import annotations

import shutil
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, app, print_result, print_text, say
from objstress.errors import InputError
from objstress.io.files import check_writable


class Topic(str, Enum):
    potential = "potential"


@app.command()
def settings(topic: Annotated[Topic, typer.Argument(help="What the settings are for.")]) -> None:
    """Print a commented settings file to fill in."""
    from objstress.training.potential.settings import settings_text

    print_text(settings_text())


@app.command()
def fit_potential(
    settings: Annotated[
        Path, typer.Argument(help="Settings file (YAML), see `objstress settings potential`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The .potential file to write. [default: SETTINGS with this ending]"),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of resuming from OUT.train.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fit a potential to labelled structures.

    Rerun the command to resume an interrupted fit from OUT.train.
    """
    from objstress.io.run_folder import forget
    from objstress.training.potential.fit import fit_potential
    from objstress.training.potential.settings import read_settings

    chosen = read_settings(settings)
    out = settings.with_suffix(".potential") if out is None else out
    check_writable(out)
    work = out.with_name(out.name + ".train")
    if fresh and work.is_dir():
        shutil.rmtree(work)
    potential = fit_potential(chosen, work, say=say)
    potential.save(out)
    forget(work)
    result = {"potential": str(out), "log": str(work / "log.csv"), **potential.metadata}
    print_result(
        result,
        as_json,
        lambda r: (
            f"potential written to {r['potential']}; validation errors of epoch "
            f"{r['best_epoch']}:\n"
            + _table({"all": {"frames": r["frames"]["valid"], "targets": r["validation"]}})
        ),
    )


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Potential file.")],
    data: Annotated[Path, typer.Argument(help="Labelled structures, any file that ASE reads.")],
    keys: Annotated[
        str | None,
        typer.Option(
            help="Targets and their keys in the file: energy=REF_energy,forces=REF_forces. "
            "[default: the keys of the fit]"
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Key that names the kind of a structure, for errors by kind."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Errors of a potential on labelled structures.

    Prints root mean square and mean absolute errors with their units, over all structures and by
    kind.
    """
    from objstress.models.potential import load_potential
    from objstress.training.potential.evaluate import evaluate_potential

    result = evaluate_potential(load_potential(model), data, _keys(keys), group)
    kinds = {"all": result} | result.get("groups", {})
    print_result(result, as_json, lambda r: _table(kinds))


def _keys(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    broken = [name for name, equals, key in pairs if not (name and equals and key)]
    if broken:
        raise InputError(f"--keys: {broken[0]!r} is not of the form target=key")
    return {name.strip(): key.strip() for name, _, key in pairs}


def _table(kinds: dict[str, Any]) -> str:
    """A line for each kind of frames and target."""
    milli = {"eV/atom": "meV/atom", "eV/Angstrom": "meV/Angstrom"}
    wide = max(len(kind) for kind in kinds)
    lines = [f"{'':{wide}}  frames  target              RMSE        MAE  unit"]
    for kind, errors in kinds.items():
        for target, entry in errors["targets"].items():
            factor = 1e3 if entry["unit"] in milli else 1.0
            lines.append(
                f"{kind:{wide}}  {errors['frames']:6d}  {target:14s}  "
                f"{factor * entry['rmse']:8.4g}   {factor * entry['mae']:8.4g}  "
                f"{milli.get(entry['unit'], entry['unit'])}"
                + (f", right sign {entry['right_sign']:.1%}" if "right_sign" in entry else "")
            )
    return "\n".join(lines)
