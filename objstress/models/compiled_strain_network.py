"""A network of strain in compiled code."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from objstress.models.differences import energy_of_parts
from objstress.models.energy_network import EnergyNetwork
from objstress.models.strain_network import INPUTS, StrainNetwork, StrainPerceptron

SOURCE = Path(__file__).with_name("strain_kernel.c")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")
PAIRS = torch.triu_indices(INPUTS, INPUTS)
PLACE = torch.zeros(INPUTS, INPUTS, dtype=torch.int64)
"""Of a matrix's elements among those of its upper triangle."""
PLACE[*PAIRS] = PLACE.T[*PAIRS] = torch.arange(PAIRS.shape[1])


class CompiledStrainNetwork(EnergyNetwork):
    """A network of strain whose perceptrons are evaluated by a C program, on the CPU.

    Four strains stay side by side in a processor's registers and nearest cache from the inputs to
    the second derivatives, summed over images and perceptrons. The formulas are those of
    `StrainPerceptron`, and so are the numbers but for rounding.

    Args:
        network: of one material, in float64; it is not fitted any more.
        compiler: a C compiler with OpenMP.

    Raises:
        CalledProcessError: the compiler fails.
    """

    chunk = 4096

    def __init__(self, network: StrainNetwork, compiler: str):
        super().__init__()
        self.network = network
        members, count = network.perceptrons, len(network.rotations)
        self._program = _program(compiler, (INPUTS, *network.settings.hidden))
        with torch.no_grad():
            self._weights = torch.stack([torch.cat(_packed(m)) for m in members]).contiguous()
            self._images = count
            self._factor = network.settings.energy_scale / (len(members) * count)
            zero = torch.zeros(1, 6, dtype=torch.float64)
            self._wall, self._at_zero, _ = network.parts(zero, zero[:, 0], 0)

    def forward(self, x: Tensor) -> Tensor:
        """W (n,) in GPa at Mandel strains x (n, 6)."""
        return self.derivatives(x, 0)[0]

    def derivatives(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        basis = self.network.perceptrons[0].basis
        return energy_of_parts(x, basis, order, lambda growth: self._parts(x, growth, order))

    def _parts(self, x: Tensor, growth: Tensor, order: int) -> tuple[Tensor, ...]:
        y, n = torch.cat([x, growth[:, None]], dim=1), len(x)
        value = torch.empty(n, dtype=torch.float64)
        gradient = torch.empty(n if order >= 1 else 0, INPUTS, dtype=torch.float64)
        hessian = torch.empty(n if order >= 2 else 0, PAIRS.shape[1], dtype=torch.float64)
        self._program(
            n,
            y.data_ptr(),
            len(self._weights),
            self._images,
            self._weights.data_ptr(),
            self._weights.shape[1],
            order,
            torch.get_num_threads(),
            value.data_ptr(),
            gradient.data_ptr(),
            hessian.data_ptr(),
        )
        found = (self._factor * part for part in (value, gradient, hessian[:, PLACE]))
        return (self._wall, self._at_zero, *islice(found, order + 1))


def _packed(member: StrainPerceptron) -> list[Tensor]:
    """The weights of a perceptron as the program wants them."""
    z0, back0 = member.origin(None, 1)
    matrices = list(member.weights)
    turned = member.turned()  # (7, images, units)
    parts = [turned.transpose(0, 1).flatten()]
    for l, z in enumerate(z0):
        last = l + 1 == len(matrices)
        by = member.outer if last else (back0[l + 1] @ matrices[l + 1].T).flatten()
        parts += [matrices[l].flatten()] if l else []
        parts += [torch.sigmoid(z).flatten(), torch.sigmoid(-z).flatten(), by]
    return parts


@functools.cache
def _program(compiler: str, widths: tuple[int, ...]) -> Any:
    sizes = (f"-DWIDTHS={','.join(map(str, widths))}", f"-DWIDEST={max(widths)}")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "kernel.so"
        command = [compiler, *FLAGS, *sizes, "-shared", str(SOURCE), "-o", str(library)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        program = ctypes.CDLL(str(library)).network
    pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_ssize_t
    program.argtypes = [
        size, pointer, number, number, pointer, size, number, number, pointer, pointer, pointer
    ]  # fmt: skip
    program.restype = None
    return program
