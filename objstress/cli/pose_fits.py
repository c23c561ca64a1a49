"""`objstress fit-poses`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objstress.cli.app import Json, app, print_answer, say
from objstress.io.files import check_writable


@app.command()
def fit_poses(
    complexes: Annotated[
        Path, typer.Argument(help="Folder of ID/ID_ligand.sdf and ID/ID_pocket.pdb, as PDBbind's.")
    ],
    out: Annotated[Path, typer.Option(help="The .pose file to write.")],
    epochs: int = 20,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Fit an energy of poses to known complexes; an interrupted fit goes on from OUT.fit.

    Complexes that cannot be read are named and left out. `objstress dock --model` reads the file.
    """
    from objstress.docking.fit import PoseTraining, fit_pose_energy
    from objstress.docking.folders import complexes_in
    from objstress.io.run_folder import forget

    check_writable(out)
    known = []
    for name, found in complexes_in(complexes):
        if isinstance(found, str):
            say(f"{name}: {found}")
        else:
            known.append(found)
    work = out.with_name(out.name + ".fit")
    model = fit_pose_energy(known, training=PoseTraining(epochs=epochs, seed=seed), workdir=work)
    model.save(out)
    forget(work)
    print_answer(
        {"model": str(out), **model.metadata},
        as_json,
        lambda r: f"energy of {r['complexes']} complexes written to {r['model']}",
    )
