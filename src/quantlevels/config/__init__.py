"""Config files: JSON, TOML, YAML or MessagePack into your own class, strictly, with all mistakes named at once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantlevels.config.files import levels_file as levels_file
    from quantlevels.config.files import load as load
    from quantlevels.config.files import loads as loads
    from quantlevels.config.files import save as save

__all__ = ["levels_file", "load", "loads", "save"]

if not TYPE_CHECKING:  # else checkers would believe every name of this package exists

    def __getattr__(name: str) -> object:
        # here, for other modules of this package do without the readers of files
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from quantlevels.config import files

        return getattr(files, name)
