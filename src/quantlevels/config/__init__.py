"""Config files: JSON, TOML, YAML or MessagePack into your own class, strictly, with all mistakes named at once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantlevels.config.files import *
else:  # not seen by checkers, else they would believe that every name of this package exists

    def __getattr__(name: str) -> object:
        """Import the reader of files on first use: the other modules of this package do without it."""
        from importlib import import_module

        if name == "__all__" or not name.startswith("__"):
            files = import_module(f"{__name__}.files")
            if name in ("__all__", *files.__all__):
                return getattr(files, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
