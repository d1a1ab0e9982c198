"""Codebooks of single weights: a code is an index into a table of values. Blocks and scales depend on the scheme."""

from __future__ import annotations

from typing import Final

from quantlevels.vocabulary.level import QuantizationLevel

NF4: Final = QuantizationLevel(
    name="NF4",
    bits_per_param=4,
    aliases=("normalfloat4", "bnb_nf4"),
    spellings={"bitsandbytes": ("nf4",), "openvino": ("nf4", "nfloat4")},
    kind="codebook",
    summary="4-bit NormalFloat: 16 quantiles of the normal distribution",
    source="QLoRA (arXiv:2305.14314), bitsandbytes 0.50.2",
)
# named with its library: the bare word "fp4" means E2M1 to most other tools
BNB_FP4: Final = QuantizationLevel(
    name="BNB_FP4",
    bits_per_param=4,
    spellings={"bitsandbytes": ("fp4",)},
    kind="codebook",
    summary="bitsandbytes' 4-bit float: 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1 and their negatives; not E2M1",
    source="bitsandbytes 0.50.2",
)
