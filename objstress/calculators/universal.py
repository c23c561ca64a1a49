"""Universal interatomic potentials: most elements of the periodic table, and nothing to fit.

Two bring their weights in their wheels (`pip install objstress[universal]`) and work without a
network. The others are made by the same call where they are installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from objstress.calculators.named import MPTRJ, NamedCalculator
from objstress.errors import InputError

HERE = "in its wheel"
"""Where weights are that need no download."""
SEVENNETS = ("7net-l3i5", "7net-0", "7net-mf-0")
"""Models of SevenNet in its wheel; others are downloaded, and so are those of other potentials."""


@dataclass(frozen=True)
class UniversalPotential(NamedCalculator):
    """A universal potential, and what is to be known before it is trusted.

    Attributes:
        make, what, elements: see `NamedCalculator`.
        package: the module that has to be there.
        install: the command that brings it.
        functional: density functional of its training data.
        licence: of code and weights.
        citation: the paper to cite.
        precision: of its numbers here.
        weights: where its weights come from.
        faults: what it is known to get wrong.
    """

    package: str = ""
    install: str = ""
    functional: str = "PBE"
    licence: str = "MIT"
    citation: str = ""
    precision: str = "float64"
    weights: str = "downloaded when first used"
    faults: str = ""

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return find_spec(self.package) is not None


def universal_potential() -> str:
    """The name of the best universal potential that is installed and needs no download.

    Raises:
        InputError: there is none.
    """
    if ready := ready_potentials():
        return ready[0]
    raise InputError(
        "no universal potential is installed: pip install objstress[universal], or name a model"
    )


def ready_potentials() -> list[str]:
    """The names of the universal potentials that are installed and need no download, best first."""
    return [n for n, known in UNIVERSAL.items() if known.weights == HERE and known.installed]


def pick_device(device: str) -> str:
    """The device itself, or for "auto" the GPU where there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


@contextmanager
def _loading(name: str, downloads: bool) -> Iterator[None]:
    """Missing packages, files and networks in one line; downloads are said before they begin."""
    potential = UNIVERSAL[name]
    if not potential.installed:
        raise InputError(f"{name} is not installed: {potential.install}")
    if downloads:
        warnings.warn(f"{name}: its weights are downloaded when first used", stacklevel=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of accelerators, and of PyTorch's own deprecations
        try:
            yield
        except InputError:
            raise
        except OSError as error:
            raise InputError(
                f"{name}: its weights cannot be read or downloaded ({_line(error)})"
            ) from None
        except ImportError as error:
            raise InputError(
                f"{name} cannot be imported ({_line(error)}): {potential.install}"
            ) from None
        except ValueError as error:
            raise InputError(f"{name} cannot be loaded: {_line(error)}") from None
        except Exception as error:
            raise InputError(
                f"{name}: its weights cannot be read ({type(error).__name__}: {_line(error)}); is "
                f"the file whole, and of a version that the {potential.package} installed reads?"
            ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _sevennet(model: str = "7net-l3i5", modal: str | None = None, device: str = "auto") -> Any:
    own = model in SEVENNETS or model.endswith(".pth")
    with _loading("sevennet", not own):
        from objstress.calculators.sevennet import SevenNet

        return SevenNet(model, modal, pick_device(device))


def _chgnet(model: str = "0.3.0", device: str = "auto") -> Any:
    with _loading("chgnet", False):
        from objstress.calculators.chgnet import CHGNet

        return CHGNet(model, pick_device(device))


def _mace(model: str = "medium-mpa-0", device: str = "auto", **arguments: Any) -> Any:
    with _loading("mace", True):
        from mace.calculators import mace_mp

        defaults: dict[str, Any] = {"default_dtype": "float64"}
        return mace_mp(model=model, device=pick_device(device), **(defaults | arguments))


def _mattersim(
    model: str = "MatterSim-v1.0.0-5M.pth", device: str = "auto", **arguments: Any
) -> Any:
    with _loading("mattersim", True):
        from mattersim.forcefield import MatterSimCalculator

        defaults: dict[str, Any] = {"dtype": "float64"}
        keywords = defaults | arguments
        return MatterSimCalculator(load_path=model, device=pick_device(device), **keywords)


def _orb(model: str = "orb_v3_conservative_inf_omat", device: str = "auto") -> Any:
    with _loading("orb", True):
        from orb_models.forcefield import pretrained
        from orb_models.forcefield.inference.calculator import ORBCalculator

        where = pick_device(device)
        network, adapter = getattr(pretrained, model)(device=where, precision="float64")
        return ORBCalculator(network, atoms_adapter=adapter, device=where)


def _upet(model: str = "pet-oam-l", device: str = "auto", **arguments: Any) -> Any:
    with _loading("upet", True):
        import torch
        from upet.ase import UPETCalculator

        defaults: dict[str, Any] = {"dtype": torch.float64}
        return UPETCalculator(model, device=pick_device(device), **(defaults | arguments))


def _nequip(model: str, device: str = "auto") -> Any:
    with _loading("nequip", False):
        from nequip.integrations.ase import NequIPCalculator

        return NequIPCalculator.from_compiled_model(model, device=pick_device(device))


UNIVERSAL: dict[str, UniversalPotential] = {
    "sevennet": UniversalPotential(
        _sevennet,
        'SevenNet-l3i5, all elements but a few; {"model": "7net-0"} and others',
        MPTRJ,
        package="sevenn",
        install="pip install objstress[universal]",
        citation="Park et al., J. Chem. Theory Comput. 20, 4857 (2024)",
        weights=HERE,
        faults="of binary compounds K is off by 5 % and G by 28 % in the median, mostly too soft; "
        "atoms beyond 5 Angstrom do not meet; no dispersion forces",
    ),
    "chgnet": UniversalPotential(
        _chgnet,
        'CHGNet 0.3.0, all elements but a few; {"model": "r2scan"} for another functional',
        MPTRJ,
        package="chgnet",
        install="pip install objstress[universal]",
        functional="PBE+U",
        licence="BSD-3",
        citation="Deng et al., Nat. Mach. Intell. 5, 1031 (2023)",
        weights=HERE,
        faults="of binary compounds K is off by 16 % and G by 55 % in the median, mostly too soft, "
        "and every fourth comes out unstable; no dispersion forces",
    ),
    "mace": UniversalPotential(
        _mace,
        'MACE-MPA-0; {"model": "medium-0b3"} and others',
        MPTRJ,
        package="mace",
        install="pip install mace-torch in an environment of its own (it needs e3nn 0.4.4)",
        citation="Batatia et al., arXiv:2401.00096",
        faults="soft in shear, less than those above; no dispersion forces",
    ),
    "mattersim": UniversalPotential(
        _mattersim,
        'MatterSim 5M; {"model": "MatterSim-v1.0.0-1M.pth"} is smaller',
        None,
        package="mattersim",
        install="pip install mattersim",
        citation="Yang et al., arXiv:2405.04967",
        faults="no dispersion forces",
    ),
    "orb": UniversalPotential(
        _orb,
        'Orb v3, conservative; {"model": "orb_v3_conservative_inf_mpa"} and others',
        None,
        package="orb_models",
        install="pip install orb-models",
        licence="Apache-2.0",
        citation="Rhodes et al., arXiv:2504.06231",
        faults="its direct models (without `conservative`) have no energy behind their forces",
    ),
    "upet": UniversalPotential(
        _upet,
        'PET-OAM; {"model": "pet-mad-s"} and others',
        None,
        package="upet",
        install="pip install upet",
        licence="BSD-3",
        citation="Mazitov et al., Nat. Commun. 16, 10653 (2025)",
        faults="equivariant only as far as training made it: the last digits depend on the frame",
    ),
    "nequip": UniversalPotential(
        _nequip,
        'a compiled NequIP or Allegro model, {"model": "model.nequip.pt2"}',
        None,
        package="nequip",
        install="pip install nequip, then nequip-compile the model for --target ase",
        functional="the model's",
        citation="Batzner et al., Nat. Commun. 13, 2453 (2022)",
        precision="the model's",
        weights="the user's file",
    ),
}
"""{name: what is to be known}, the best first."""
