"""A network of strain in compiled code."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from objstress.models.differences import energy_of_parts
from objstress.models.energy_network import EnergyNetwork
from objstress.models.strain_network import INPUTS, StrainNetwork, StrainPerceptron

SOURCE = Path(__file__).with_name("strain_kernel.c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fopenmp", "-fPIC")
PAIRS = torch.triu_indices(INPUTS, INPUTS)


class CompiledStrainNetwork(EnergyNetwork):
    """A network of strain whose perceptrons are evaluated by a C program, on the CPU.

    Four images of strains stay in a processor's registers and nearest cache from the inputs to the
    second derivatives; images and the sum over them are products of matrices. The formulas are
    those of `StrainPerceptron`, and so are the numbers but for rounding.

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
        members = network.perceptrons
        self._widths = [INPUTS, *network.settings.hidden]
        self._program = _program(compiler, len(self._widths) - 1, max(self._widths))
        with torch.no_grad():
            self._weights = torch.stack([torch.cat(_packed(m)) for m in members]).contiguous()
            turns = torch.zeros(len(network.rotations), INPUTS, INPUTS, dtype=torch.float64)
            turns[:, :6, :6], turns[:, 6, 6] = network.rotations, 1.0
            self._turns = turns  # images are g x
            self._factor = network.settings.energy_scale / len(members)
            # The mean over the group of g^T H g, of the upper triangle of H.
            both = torch.einsum("gac,gbd->gabcd", turns, turns)
            rows, columns = PAIRS
            of_pair = both[:, rows, columns] + both[:, columns, rows]
            of_pair[:, rows == columns] /= 2
            self._second = of_pair.reshape(-1, INPUTS**2) / len(turns)
            zero = torch.zeros(1, 6, dtype=torch.float64)
            self._wall, self._at_zero, _ = network.parts(zero, zero[:, 0], 0)

    def forward(self, x: Tensor) -> Tensor:
        """W (n,) in GPa at Mandel strains x (n, 6)."""
        return self.derivatives(x, 0)[0]

    def derivatives(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        basis = self.network.perceptrons[0].basis
        return energy_of_parts(x, basis, order, lambda growth: self._parts(x, growth, order))

    def _parts(self, x: Tensor, growth: Tensor, order: int) -> tuple[Tensor, ...]:
        count = len(self._turns)
        y = torch.cat([x, growth[:, None]], dim=1)
        images = y @ self._turns.flatten(0, 1).T  # (n, images times inputs)
        n = len(x) * count
        value = torch.empty(n, dtype=torch.float64)
        gradient = torch.empty(n if order >= 1 else 0, INPUTS, dtype=torch.float64)
        hessian = torch.empty(n if order >= 2 else 0, PAIRS.shape[1], dtype=torch.float64)
        self._program(
            n,
            images.data_ptr(),
            len(self._weights),
            self._weights.data_ptr(),
            self._weights.shape[1],
            (ctypes.c_int * len(self._widths))(*self._widths),
            order,
            torch.get_num_threads(),
            value.data_ptr(),
            gradient.data_ptr(),
            hessian.data_ptr(),
        )
        out = [self._wall, self._at_zero, self._factor * value.view(-1, count).mean(dim=1)]
        if order >= 1:
            back = gradient.view(len(x), -1) @ self._turns.flatten(0, 1)
            out.append(self._factor / count * back)
        if order >= 2:
            second = hessian.view(len(x), -1) @ self._second
            out.append(self._factor * second.view(-1, INPUTS, INPUTS))
        return tuple(out)


def _packed(member: StrainPerceptron) -> list[Tensor]:
    """The weights of a perceptron as the program wants them."""
    z0, back0 = member._origin(1, None)
    matrices = [member.weights[0] / member.settings.strain_scale, *list(member.weights)[1:]]
    parts = []
    for l, (matrix, z) in enumerate(zip(matrices, z0, strict=True)):
        last = l + 1 == len(matrices)
        by = member.outer if last else (back0[l + 1] @ matrices[l + 1].T).flatten()
        parts += [matrix.flatten(), torch.sigmoid(z).flatten(), torch.sigmoid(-z).flatten(), by]
    return parts


@functools.cache
def _program(compiler: str, layers: int, widest: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        part, library = Path(folder) / "kernel.o", Path(folder) / "kernel.so"
        sizes = (f"-DLAYERS={layers}", f"-DWIDEST={widest}")
        # Linked without -ffast-math, with which a library rounds all small numbers of the process
        # that loads it to zero.
        for command in (
            [compiler, *FLAGS, *sizes, "-c", str(SOURCE), "-o", str(part)],
            [compiler, "-shared", "-fopenmp", str(part), "-o", str(library), "-lm"],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True)
        program = ctypes.CDLL(str(library)).network
    integers, pointer = ctypes.c_ssize_t, ctypes.c_void_p
    program.argtypes = [
        integers, pointer, ctypes.c_int, pointer, integers, ctypes.POINTER(ctypes.c_int),
        ctypes.c_int, ctypes.c_int, pointer, pointer, pointer,
    ]  # fmt: skip
    program.restype = None
    return program
