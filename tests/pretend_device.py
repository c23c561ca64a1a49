"""A device that every machine has: tensors on it refuse the CPU's, as a GPU's do.

It is made of torch's hooks for backends written in Python. Values are computed, on the CPU, so that
results can be compared; an operation that mixes devices raises, but for those that torch allows
(scalars of the CPU, its indices, copies).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
MIXED = {"copy_", "_to_copy", "index", "_unsafe_index", "index_put", "index_put_"}
MIXED |= {"_index_put_impl_"}


class PretendTensor(Tensor):
    """A tensor on the device, whose values are a tensor of the CPU."""

    value: Tensor

    @staticmethod
    def __new__(cls, value: Tensor) -> PretendTensor:
        tensor = Tensor._make_wrapper_subclass(
            cls,
            value.shape,
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=torch.device(NAME, 0),
        )
        tensor.value = value
        return tensor

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.value})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    there = [t for t in tensors if isinstance(t, PretendTensor)]
    here = [t for t in tensors if not isinstance(t, PretendTensor) and t.ndim]
    name = func.overloadpacket.__name__
    if there and here and name not in MIXED:
        raise RuntimeError(f"{func}: tensors of {NAME} and of the CPU")
    asked = kwargs.get("device")
    inner_args, inner = tree_map(_value, (args, kwargs))
    if asked is not None:
        inner["device"] = "cpu"
    out = func(*inner_args, **inner)
    if name == "copy_":
        return args[0]
    if name == "_local_scalar_dense" or (asked is not None and torch.device(asked).type == "cpu"):
        return out
    known = {id(t.value): t for t in there}  # what is written in place stays the same tensor

    def wrapped(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return known[id(x)] if id(x) in known else PretendTensor(x)

    return tree_map(wrapped, out)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, PretendTensor) else x


class _NewTensors(TorchFunctionMode):
    """What torch makes of lists and shapes past the hooks of Python: made on the CPU and moved."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "new_tensor":
            tensor, *args = args
            kwargs = {"dtype": tensor.dtype, "device": tensor.device} | kwargs
            func, name = torch.tensor, "tensor"
        made = name in ("tensor", "as_tensor", "eye") and not isinstance(args[0], Tensor)
        device = kwargs.pop("device", None) if made else None
        result = func(*args, **kwargs)
        return result if device is None else result.to(device)


def make_device() -> torch.device:
    """The device; of the process from here on."""
    _setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("_", "IMPL")
    library.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs), "PrivateUse1")
    make_device.kept = library, _NewTensors()  # type: ignore[attr-defined]
    make_device.kept[1].__enter__()  # type: ignore[attr-defined]
    return torch.device(NAME, 0)
