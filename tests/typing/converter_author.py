"""Someone with a cattrs converter of his own, and an engine's config to read with it."""

from typing import assert_type

from attrs import frozen
from cattrs import Converter, transform_error
from cattrs.preconf.json import make_converter

from quantlevels import QuantizationLevel, Registry, levels
from quantlevels.converters import configure_converter, format_exception


@frozen
class Engine:
    weights: QuantizationLevel
    overrides: dict[str, QuantizationLevel]


def read(text: str) -> Engine:
    converter = make_converter(forbid_extra_keys=True)
    configure_converter(converter)
    try:
        return converter.loads(text, Engine)
    except Exception as error:
        messages = transform_error(error, format_exception=format_exception)
        assert_type(messages, list[str])
        raise SystemExit("\n".join(messages)) from error


configure_converter(Converter(), registry=Registry(), names="canonical")
assert_type(Converter().structure("Int8", QuantizationLevel), QuantizationLevel)

configure_converter(Converter(), names="canonic")  # error
configure_converter(levels)  # error
