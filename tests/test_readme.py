"""What the README prints was really printed."""

import doctest
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_python_examples() -> None:
    failed, attempted = doctest.testfile(str(README), module_relative=False)
    assert attempted
    assert not failed
