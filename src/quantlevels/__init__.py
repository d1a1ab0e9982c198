"""One exact vocabulary for the precision of model weights, and the truth about which of its words a checkpoint uses."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from quantlevels.errors import AmbiguousLevelError as AmbiguousLevelError
    from quantlevels.errors import CheckpointError as CheckpointError
    from quantlevels.errors import ConfigError as ConfigError
    from quantlevels.errors import DuplicateLevelError as DuplicateLevelError
    from quantlevels.errors import PluginContractError as PluginContractError
    from quantlevels.errors import PluginError as PluginError
    from quantlevels.errors import PluginLoadError as PluginLoadError
    from quantlevels.errors import PluginWarning as PluginWarning
    from quantlevels.errors import QuantLevelsError as QuantLevelsError
    from quantlevels.errors import ReservedLevelError as ReservedLevelError
    from quantlevels.errors import SizingError as SizingError
    from quantlevels.errors import UnknownLevelError as UnknownLevelError
    from quantlevels.errors import UntranslatableLevelError as UntranslatableLevelError
    from quantlevels.errors import VerificationError as VerificationError
    from quantlevels.findings import Finding as Finding
    from quantlevels.inspection.comparison import compare as compare
    from quantlevels.inspection.planning import fit as fit
    from quantlevels.inspection.planning import size as size
    from quantlevels.inspection.report import Inspection as Inspection
    from quantlevels.inspection.report import inspect as inspect
    from quantlevels.inspection.verification import verify as verify
    from quantlevels.vocabulary.builtin import BF16 as BF16
    from quantlevels.vocabulary.builtin import FP16 as FP16
    from quantlevels.vocabulary.builtin import FP32 as FP32
    from quantlevels.vocabulary.builtin import INT4 as INT4
    from quantlevels.vocabulary.builtin import INT8 as INT8
    from quantlevels.vocabulary.builtin import BuiltinName as BuiltinName
    from quantlevels.vocabulary.builtin import is_builtin_name as is_builtin_name
    from quantlevels.vocabulary.level import Block as Block
    from quantlevels.vocabulary.level import Layout as Layout
    from quantlevels.vocabulary.level import QuantizationLevel as QuantizationLevel
    from quantlevels.vocabulary.registry import Registry as Registry
    from quantlevels.vocabulary.registry import levels as levels

#: public name → the module it is imported from on first use; the type checkers' list above says the same
_HOMES = {
    "AmbiguousLevelError": "errors",
    "BF16": "vocabulary.builtin",
    "Block": "vocabulary.level",
    "BuiltinName": "vocabulary.builtin",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "DuplicateLevelError": "errors",
    "FP16": "vocabulary.builtin",
    "FP32": "vocabulary.builtin",
    "Finding": "findings",
    "INT4": "vocabulary.builtin",
    "INT8": "vocabulary.builtin",
    "Inspection": "inspection.report",
    "Layout": "vocabulary.level",
    "PluginContractError": "errors",
    "PluginError": "errors",
    "PluginLoadError": "errors",
    "PluginWarning": "errors",
    "QuantLevelsError": "errors",
    "QuantizationLevel": "vocabulary.level",
    "Registry": "vocabulary.registry",
    "ReservedLevelError": "errors",
    "SizingError": "errors",
    "UnknownLevelError": "errors",
    "UntranslatableLevelError": "errors",
    "VerificationError": "errors",
    "compare": "inspection.comparison",
    "fit": "inspection.planning",
    "inspect": "inspection.report",
    "is_builtin_name": "vocabulary.builtin",
    "levels": "vocabulary.registry",
    "size": "inspection.planning",
    "verify": "inspection.verification",
}

__all__ = [
    "BF16",
    "FP16",
    "FP32",
    "INT4",
    "INT8",
    "AmbiguousLevelError",
    "Block",
    "BuiltinName",
    "CheckpointError",
    "ConfigError",
    "DuplicateLevelError",
    "Finding",
    "Inspection",
    "Layout",
    "PluginContractError",
    "PluginError",
    "PluginLoadError",
    "PluginWarning",
    "QuantLevelsError",
    "QuantizationLevel",
    "Registry",
    "ReservedLevelError",
    "SizingError",
    "UnknownLevelError",
    "UntranslatableLevelError",
    "VerificationError",
    "compare",
    "fit",
    "inspect",
    "is_builtin_name",
    "levels",
    "size",
    "verify",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if not TYPE_CHECKING:  # else checkers would believe every name of this package exists

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"quantlevels.{_HOMES[name]}"), name)
        return value
