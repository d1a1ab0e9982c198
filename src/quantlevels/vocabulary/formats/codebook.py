"""Codebooks of one weight: a code is an index into a table of values; blocks and scales are the scheme's to say."""

from __future__ import annotations

from typing import Final

from quantlevels.vocabulary.level import QuantizationLevel

CODEBOOKS: Final[tuple[QuantizationLevel, ...]] = (
    QuantizationLevel(
        name="NF4",
        bits_per_param=4,
        aliases=("normalfloat4", "bnb_nf4"),
        spellings={"bitsandbytes": ("nf4",)},
        kind="codebook",
        summary="4-bit NormalFloat: 16 quantiles of the normal distribution",
        source="QLoRA (arXiv:2305.14314), bitsandbytes 0.50.2",
    ),
    QuantizationLevel(
        name="BNB_FP4",
        bits_per_param=4,
        spellings={"bitsandbytes": ("fp4",)},
        kind="codebook",
        summary="bitsandbytes' 4-bit float: 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1 and their negatives; not E2M1",
        source="bitsandbytes 0.50.2",
    ),
)
