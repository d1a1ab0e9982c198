"""Verdicts: what a checkpoint claims beside what it stores, totals, findings, sizes."""

from typing import Final

#: version of the JSON records; one that only gains keys keeps it
SCHEMA_VERSION: Final = 1
