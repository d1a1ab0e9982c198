"""Every level that comes with quantlevels as a typed constant: ``from quantlevels.formats import NVFP4, Q4_K``.

The constant has the level's name; the five are called FP32, FP16, BF16, INT8 and INT4, as in `quantlevels`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantlevels.vocabulary.builtin import BF16 as BF16
    from quantlevels.vocabulary.builtin import FP16 as FP16
    from quantlevels.vocabulary.builtin import FP32 as FP32
    from quantlevels.vocabulary.builtin import INT4 as INT4
    from quantlevels.vocabulary.builtin import INT8 as INT8
    from quantlevels.vocabulary.formats.codebook import *
    from quantlevels.vocabulary.formats.ggml import *
    from quantlevels.vocabulary.formats.microscaling import *
    from quantlevels.vocabulary.formats.numbers import *
else:  # not seen by checkers, else they would believe that every name exists

    def __getattr__(name: str) -> object:
        """Build the tables on the first use of a constant."""
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from quantlevels.vocabulary.builtin import BUILTIN
        from quantlevels.vocabulary.formats import SHIPPED

        constants = {level.label: level for level in BUILTIN} | {level.name: level for level in SHIPPED}
        globals().update(constants, __all__=sorted(constants))
        try:
            return globals()[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def __dir__() -> list[str]:
        return list(__getattr__("__all__"))
