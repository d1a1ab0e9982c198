"""See how a model's weights are really stored, and use one exact, strictly typed name for every format."""

from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:  # the same modules as in _MODULES
    from quantlevels.errors import *
    from quantlevels.findings import *
    from quantlevels.inspection.comparison import *
    from quantlevels.inspection.planning import *
    from quantlevels.inspection.report import *
    from quantlevels.inspection.totals import *
    from quantlevels.inspection.verification import *
    from quantlevels.schemes.declaration.declared import *
    from quantlevels.vocabulary.builtin import *
    from quantlevels.vocabulary.layout import *
    from quantlevels.vocabulary.level import *
    from quantlevels.vocabulary.registry import *

#: The modules whose ``__all__`` are the public names, cheapest import first: a name is looked for in this order.
_MODULES = (
    "errors",
    "vocabulary.builtin",
    "vocabulary.level",
    "vocabulary.registry",
    "vocabulary.layout",
    "findings",
    "inspection.report",
    "inspection.verification",
    "inspection.comparison",
    "inspection.planning",
    # records in an inspection, for annotations
    "inspection.totals",
    "schemes.declaration.declared",
)

if not TYPE_CHECKING:  # else checkers would believe that every name of this package exists

    def __getattr__(name: str) -> object:
        """Import a public name on its first use, so that importing the package costs nothing."""
        from importlib import import_module

        if name == "__all__":
            value = []
            for path in _MODULES:
                value += import_module(f"{__name__}.{path}").__all__
            value.sort()
        elif name.startswith("__") or _is_submodule(name):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        else:
            value = _find(name)
        globals()[name] = value
        return value

    def _is_submodule(name: str) -> bool:
        """Whether ``from quantlevels import name`` is to import a module, for which none of the others is needed."""
        from os.path import exists  # pathlib takes several milliseconds to import

        path = f"{__path__[0]}/{name}"  # noqa: F405  # it does not come from a star import
        return exists(path) or exists(f"{path}.py")  # noqa: PTH110

    def _find(name: str) -> object:
        from importlib import import_module

        # private names are in pickles only: see quantlevels.vocabulary.pickling
        for path in ("vocabulary.pickling",) if name.startswith("_") else _MODULES:
            module = import_module(f"{__name__}.{path}")
            if name in module.__all__:
                return getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return [*(globals().get("__all__") or __getattr__("__all__")), "__version__"]
