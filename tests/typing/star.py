"""Someone at a prompt, who takes every public name."""

from typing import assert_type

from quantlevels import *  # error in pyright

assert_type(INT4, QuantizationLevel)
assert_type(levels["nf4"], QuantizationLevel)
assert_type(Block(32, 144).bits_per_weight.numerator, int)
INT5  # error
