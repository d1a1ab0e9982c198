"""Where the blocks of ggml types keep their scales.

Sources: ``ggml-common.h`` of llama.cpp; every offset was confirmed by setting it to NaN and decoding with gguf-py 0.19,
but those of Q1_0, Q2_0, Q8_1 and Q8_K.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from quantlevels.values.encodings import E4M3, E8M0, F16, F32, Encoding


class BlockScales(NamedTuple):
    """The scale fields of one block.

    A field begins at each of ``offsets`` and is an element of ``encoding``.
    """

    nbytes: int
    offsets: tuple[int, ...]
    encoding: Encoding = F16
    #: bytes of the packed weights: begin and end; empty if they are not kept apart from finer scales
    codes: tuple[int, int] = (0, 0)


#: Name of a ggml type → the scales of its blocks.
BLOCK_SCALES: Final[dict[str, BlockScales]] = {
    "Q4_0": BlockScales(18, (0,), codes=(2, 18)),
    "Q4_1": BlockScales(20, (0, 2), codes=(4, 20)),
    "Q5_0": BlockScales(22, (0,), codes=(6, 22)),
    "Q5_1": BlockScales(24, (0, 2), codes=(8, 24)),
    "Q8_0": BlockScales(34, (0,), codes=(2, 34)),
    "Q8_1": BlockScales(36, (0, 2), codes=(4, 36)),
    "Q1_0": BlockScales(18, (0,), codes=(2, 18)),
    "Q2_0": BlockScales(18, (0,), codes=(2, 18)),
    "Q2_K": BlockScales(84, (80, 82), codes=(16, 80)),
    "Q3_K": BlockScales(110, (108,), codes=(32, 96)),
    "Q4_K": BlockScales(144, (0, 2), codes=(16, 144)),
    "Q5_K": BlockScales(176, (0, 2), codes=(48, 176)),
    "Q6_K": BlockScales(210, (208,), codes=(0, 128)),
    "Q8_K": BlockScales(292, (0,), F32, codes=(4, 260)),
    "IQ1_S": BlockScales(50, (0,)),
    "IQ2_XXS": BlockScales(66, (0,)),
    "IQ2_XS": BlockScales(74, (0,)),
    "IQ2_S": BlockScales(82, (0,)),
    "IQ3_XXS": BlockScales(98, (0,)),
    "IQ3_S": BlockScales(110, (0,)),
    "IQ4_NL": BlockScales(18, (0,), codes=(2, 18)),
    "IQ4_XS": BlockScales(136, (0,), codes=(8, 136)),
    "TQ1_0": BlockScales(54, (52,), codes=(0, 32)),
    "TQ2_0": BlockScales(66, (64,), codes=(0, 64)),
    "MXFP4": BlockScales(17, (0,), E8M0, codes=(1, 17)),
    "NVFP4": BlockScales(36, (0, 1, 2, 3), E4M3, codes=(4, 36)),
}
#: A block of IQ1_M has its FP16 scale in the top four bits of each of the last four 16-bit words, lowest bits first.
IQ1_M_BYTES: Final = 56
IQ1_M_SCALE: Final = 48
