"""Black Forest Labs: FP8 with a scale per row (``fp8r``), or NVFP4 as ModelOpt stores it.

The config of diffusers names the method alone; the metadata of the files names the format.

Source: diffusers 0.42.1, ``quantizers/bfl/utils.py``; sglang 0.5.23, ``pipelines/flux3_image_weights.py``.
"""

from __future__ import annotations

from typing import ClassVar, Final

from attrs import frozen

from quantlevels.scheme import DeclaredLevel, MethodConfig, Scheme, Storage, TensorRule, UnknownTypeError, words
from quantlevels.schemes.common import declared_as
from quantlevels.schemes.scaled import PACKINGS as SCALED

#: ``quantization`` in the metadata of a file → level
_FORMATS: Final = {"fp8r": "Float8E4M3FN", "nvfp4": "NVFP4"}


@frozen(kw_only=True, eq=False, repr=False)
class BFLConfig(MethodConfig):
    """A ``quantization_config`` of method bfl, or the format in the metadata of a file."""

    ignored_keys: ClassVar[frozenset[str]] = words("compute_dtype pre_quantized scale")

    quantization: str | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of the format; None if only the method is named.

        Raises:
            UnknownTypeError: for another format.
        """
        if self.quantization is None:  # the config of diffusers; the metadata of each file is a claim beside it
            return None
        if self.quantization not in _FORMATS:
            raise UnknownTypeError(
                f"quantization {self.quantization!r:.80} is not known; known are {', '.join(_FORMATS)}"
            )
        return declared_as(_FORMATS[self.quantization])


_SOURCE: Final = "diffusers 0.42.1, quantizers/bfl/utils.py"
_STORAGE: Final = (
    Storage(
        format="bfl",
        levels=("Float8E4M3FN",),
        tensors=(
            TensorRule("weight", ("Float8E4M3FN",), "rows columns", role="codes"),
            TensorRule("weight_scale", ("None",), "rows", role="scale"),
        ),
        grouped=False,
        source=_SOURCE,
    ),
    Storage(
        format="bfl",
        levels=("NVFP4",),
        tensors=(
            TensorRule("weight", ("UInt8",), "rows packed_columns", role="codes"),
            TensorRule("weight_scale", ("Float8E4M3FN",), "rows groups", role="scale"),
            TensorRule("weight_scale_2", ("None",), "1", role="scale"),
            TensorRule("input_scale", ("None",), "1", role="activation"),
        ),
        grouped=False,
        ragged="refuses",
        source=_SOURCE,
    ),
)

SCHEMES = (Scheme(method="bfl", config=BFLConfig, packings=SCALED, storage=_STORAGE),)
