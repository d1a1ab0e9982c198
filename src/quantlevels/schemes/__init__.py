"""How quantizers pack levels into tensors: one file per method."""

from __future__ import annotations

from quantlevels.errors import AmbiguousLevelError, PluginError
from quantlevels.scheme import Scheme
from quantlevels.schemes.catalogue import CATALOGUE, shipped_scheme
from quantlevels.vocabulary.registry import Registry, levels


def shipped_schemes() -> dict[str, Scheme]:
    """``quant_method`` → scheme, for all of this package, aliases too."""
    schemes: dict[str, Scheme] = {}
    for row in CATALOGUE:
        for scheme in row.schemes():
            schemes |= dict.fromkeys((scheme.method, *scheme.aliases), scheme)
    return schemes


def find_scheme(method: str, registry: Registry = levels) -> Scheme | None:
    """The scheme of a ``quant_method``: of this package, or of a plugin that a registry sees; None if none has it."""
    scheme = shipped_scheme(method)
    if scheme:
        return scheme
    from quantlevels.schemes.plugins import SCHEME_PLUGINS  # here: most checkpoints need no plugin

    try:
        return registry._installed.find(SCHEME_PLUGINS, method)
    except (PluginError, AmbiguousLevelError):  # warned about; a reader reports the method as unknown
        return None
