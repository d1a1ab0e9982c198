"""Levels in cattrs: hooks that teach any converter the class, and the texts of its errors."""

from quantlevels.config.converters import configure_converter as configure_converter
from quantlevels.config.converters import format_exception as format_exception

__all__ = ["configure_converter", "format_exception"]
