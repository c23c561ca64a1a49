"""Writing a polynomial law as source code that other programs compile."""

from __future__ import annotations

from pathlib import Path

from objstress.errors import InputError
from objstress.io.files import check_writable, write_whole
from objstress.laws.base import MaterialLaw
from objstress.laws.export import c99, mfront, umat
from objstress.laws.export.kernel import kernel_of, polynomial_of
from objstress.laws.export.text import description, identifier

C = (".c", ".h")
FORTRAN = (".f", ".for", ".f90")
MFRONT = (".mfront",)


def export_law(law: MaterialLaw, path: str | Path) -> list[Path]:
    r"""Write a polynomial law as source code that other programs compile.

    .. math:: W(E), \qquad P = F S, \qquad A_{iJkL} = \delta_{ik} S_{JL} + F_{iM} C_{MJNL} F_{kN},
        \qquad \sigma = F S F^T / J

    The ending of the path names the language. Names in the file begin with the stem of the path,
    other characters than letters and digits replaced. Energies, stresses and tangents are in GPa.

    - `.c` or `.h`: a C99 source file and its header, with `NAME_response` for W, P and A at n
      points, and `NAME_outside` for strains outside those of the fit.
    - `.f90`, `.for` or `.f`: an Abaqus UMAT for finite strains, Fortran of fixed and of free form;
      three-dimensional, plane-strain and axisymmetric elements.
    - `.mfront`: a finite-strain behaviour of MFront, the crystal's axes those of orthotropy.

    Args:
        law: a `PolynomialLaw` (see `compile_law`), or `RotatedLaw(law, Q)` of one.
        path: of the file.

    Returns:
        The files written.

    Raises:
        InputError: a law that is no polynomial, an ending of none of these languages, or a file
            that cannot be written.
    """
    path = Path(path)
    polynomial, rotation = polynomial_of(law)
    ending = path.suffix.lower()
    if ending not in C + FORTRAN + MFRONT:
        known = ", ".join(C + FORTRAN + MFRONT)
        raise InputError(f"{path}: the ending names the language, one of {known}")
    check_writable(path)
    name = identifier(path.stem)
    facts = (name, kernel_of(polynomial, rotation), description(name, polynomial, rotation))
    if ending in FORTRAN:
        texts = {path: umat.source(*facts, free=ending == ".f90")}
    elif ending in MFRONT:
        texts = {path: mfront.behaviour(*facts)}
    else:
        texts = {path.with_suffix(".c"): c99.source(*facts)}
        texts[path.with_suffix(".h")] = c99.header(*facts)
    for file, text in texts.items():
        write_whole(file, text)
    return list(texts)
