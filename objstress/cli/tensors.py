"""`objstress fit-tensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objstress.cli.app import Ions, Json, app, print_answer
from objstress.io.files import check_writable


@app.command()
def fit_tensors(
    data: Annotated[Path, typer.Argument(help="JSON rows of structure (pymatgen) and tensor.")],
    out: Annotated[Path, typer.Option(help="The .tensor file to write.")],
    kind: Annotated[
        str, typer.Option(help="elastic, dielectric, piezoelectric or born charges.")
    ] = "elastic",
    key: Annotated[
        str, typer.Option(help="Of the tensor in a row; 6 x 6 and 3 x 6 are Voigt.")
    ] = "elastic_tensor_voigt",
    ions: Annotated[Ions, typer.Option(help="Of the tensors.")] = Ions.relaxed,
    members: Annotated[int, typer.Option(help="Networks, whose spread is the error bar.")] = 4,
    epochs: int = 150,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Fit networks to crystals with known tensors; an interrupted fit goes on from OUT.fit.

    Elastic ones are models for `objstress properties` and `objstress serve`.
    """
    from objstress.io.run_folder import forget
    from objstress.models.crystal_tensor import CrystalTensorSettings
    from objstress.training.tensors.data import read_crystal_tensors
    from objstress.training.tensors.fit import TensorTraining, fit_tensors

    check_writable(out)
    structures, tensors = read_crystal_tensors(data, kind, key, ions.value)
    work = out.with_name(out.name + ".fit")
    training = TensorTraining(members=members, epochs=epochs, seed=seed)
    ensemble = fit_tensors(
        structures, tensors, CrystalTensorSettings(kind=kind), training, work, ions=ions.value
    )
    ensemble.save(out)
    forget(work)
    print_answer(
        {"tensors": str(out), "kind": kind, **ensemble.metadata},
        as_json,
        lambda r: f"{r['crystals']} crystals, {members} networks written to {r['tensors']}",
    )
