"""How quantizers pack levels into tensors: one file a method."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from quantlevels.errors import AmbiguousLevelError, PluginError
from quantlevels.scheme import Packing, Scheme
from quantlevels.vocabulary.registry import levels

#: Modules of this package that hold schemes, in the order in which their packings are tried.
_MODULES: Final = [
    "gptq",
    "awq",
    "auto_round",
    "bitsandbytes",
    "compressed_tensors",
    "fp8",
    "modelopt",
    "quark",
    "torchao",
    "quanto",
    "hqq",
    "mlx",
    "aqlm",
    "vptq",
    "exllama",
    "lattice",
    "onnxruntime",
    "small",
]


@cache
def shipped() -> dict[str, Scheme]:
    """``quant_method`` → scheme, aliases too."""
    schemes = [scheme for name in _MODULES for scheme in import_module(f"{__name__}.{name}").SCHEMES]
    return {method: scheme for scheme in schemes for method in (scheme.method, *scheme.aliases)}


@cache
def packings() -> tuple[Packing, ...]:
    """All packings of the shipped schemes, each once."""
    return tuple(dict.fromkeys(packing for scheme in shipped().values() for packing in scheme.packings))


def find_scheme(method: str) -> Scheme | None:
    """The scheme of a ``quant_method``, of a plugin where none is shipped, None where none answers to it."""
    if scheme := shipped().get(method):
        return scheme
    try:
        brought = levels.installed.scheme(method)
    except (PluginError, AmbiguousLevelError):  # warned about; a reader reports the method as unknown
        return None
    return brought if isinstance(brought, Scheme) else None
