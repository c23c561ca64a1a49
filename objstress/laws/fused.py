"""A law as it is, energy, stress and tangent fused into one compiled program."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from objstress.errors import InputError
from objstress.laws.base import LawAround, MaterialLaw, law_from_dict
from objstress.models.compiled_strain_network import CompiledStrainNetwork
from objstress.models.strain_network import StrainNetwork

Program = Callable[[Tensor], tuple[Tensor, ...]]


class FusedLaw(LawAround):
    """A law as it is, energy, stress and tangent fused into one compiled program for each order.

    The evaluation is traced once at `chunk` points, derivatives included, and compiled by inductor
    where a C++ compiler is found; without one the law is evaluated as it is. The first evaluation
    waits for the compiler, longest for the tangent of a network, so this pays in long runs only.
    Points that do not fill a chunk, such as a single one, are always evaluated as they are.
    A `StrainNetwork` has a program of its own, compiled in seconds, see `CompiledStrainNetwork`.

    Its file holds the law, which is compiled again where it is used. On other devices than the CPU
    the law is evaluated as it is.

    Args:
        law: any law of strain but a guarded one.

    Raises:
        InputError: a law that knows an electric field.
    """

    kind = "torch"

    def __init__(self, law: MaterialLaw):
        if law.knows_field:
            raise InputError("fuse the law of strain alone, and put the field around it again")
        self.law, self.point_group = law, law.point_group
        self.chunk, self.outside_action = law.chunk, law.outside_action
        if isinstance(getattr(law, "network", None), StrainNetwork):
            self.chunk = CompiledStrainNetwork.chunk
        self._programs: dict[tuple[int, int], Program] = {}

    @property
    def domain(self) -> Tensor | None:
        """Matrix M (6, 6) of the law's trained domain of strains, x M x <= 1; None without one."""
        return getattr(self.law, "domain", None)

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        description, tensors = self.law.to_dict()
        return {"kind": self.kind, "law": description}, tensors

    @classmethod
    def from_dict(cls, description: dict[str, Any], tensors: dict[str, Tensor]) -> FusedLaw:
        return cls(law_from_dict(description["law"], tensors))

    @cached_property
    def _with_program(self) -> MaterialLaw | None:
        """The law with its network of strain as a program; None without one, or a C compiler."""
        network = getattr(self.law, "network", None)
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None or not isinstance(network, StrainNetwork):
            return None
        law = copy(self.law)
        try:
            law.network = CompiledStrainNetwork(network, compiler)
        except subprocess.CalledProcessError:
            return None
        return law

    def evaluate(self, F: Tensor, order: int) -> tuple[Tensor, ...]:
        if F.device.type == "cpu" and self._with_program is not None:
            return self._with_program.evaluate(F, order)
        if len(F) < self.chunk or F.device.type != "cpu" or not compiler_found():
            return self.law.evaluate(F, order)
        key = (self.chunk, order)
        if key not in self._programs:
            self._programs[key] = fuse(lambda f: self.law.evaluate(f, order), F)
        return self._programs[key](F.contiguous())


def compiler_found() -> bool:
    """Whether there is a C++ compiler for inductor."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def fuse(function: Program, example: Tensor) -> Program:
    """Trace a function at inputs of one shape, autograd inside it, and compile the trace."""
    # What traces is slow to import, and few laws are fused.
    from torch.fx.experimental.proxy_tensor import make_fx

    example = example.contiguous()
    # Twice: functionalize, which inductor needs for writes into slices, has no autograd; the
    # first trace has none left.
    graph = make_fx(torch.func.functionalize(make_fx(function)(example)))(example)
    for node in graph.graph.nodes:
        # The strides of the trace are eager torch's; inductor may choose others.
        if node.target in (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default):
            node.target = torch.ops.aten.reshape.default
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return torch.compile(graph, fullgraph=True, dynamic=False)
