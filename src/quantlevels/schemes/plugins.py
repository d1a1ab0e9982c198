"""What a plugin of the group ``quantlevels.schemes`` has to be."""

from __future__ import annotations

from typing import Final

from quantlevels.scheme import Scheme
from quantlevels.schemes.catalogue import shipped_scheme
from quantlevels.vocabulary.plugins import SCHEME_GROUP, PluginContract

SCHEME_PLUGINS: Final = PluginContract(
    group=SCHEME_GROUP,
    class_=Scheme,
    noun="method",
    names=lambda scheme: (scheme.method, *scheme.aliases),
    # no `clash`: two methods may share names of tensors, as GPTQ and AWQ do; only the names of methods must differ
    reserved=lambda method: "a method" if shipped_scheme(method) else "",
)
