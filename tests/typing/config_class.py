"""A serving engine with a level as a field of its config, as an attrs class and as a dataclass."""

from dataclasses import dataclass, field
from typing import assert_type

from attrs import frozen

from quantlevels import FP16, INT8, QuantizationLevel


@frozen
class Cache:
    level: QuantizationLevel = FP16


@dataclass(frozen=True)
class Engine:
    weights: QuantizationLevel
    activations: QuantizationLevel | None = None
    overrides: dict[str, QuantizationLevel] = field(default_factory=dict[str, QuantizationLevel])
    cache: Cache = Cache()


engine = Engine(weights=INT8, overrides={"lm_head": FP16})
assert_type(engine.cache.level, QuantizationLevel)
assert_type(engine.overrides["lm_head"].label, str)

Engine(weights="Int8")  # error
engine.activations.name  # error
