"""Levels as fields in pydantic and msgspec, and a choice of levels that they and cattrs hold to."""

from quantlevels.config.fields import Level as Level
from quantlevels.config.fields import OneOf as OneOf
from quantlevels.config.fields import dec_hook as dec_hook
from quantlevels.config.fields import enc_hook as enc_hook

__all__ = ["Level", "OneOf", "dec_hook", "enc_hook"]
