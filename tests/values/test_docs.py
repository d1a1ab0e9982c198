"""What the page on values prints was really printed; ``python -m tests.values.test_docs`` prints it anew."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.consoles import commands, print_anew, printed
from tests.values.models import bf16, gauss, int4, layers, write

PAGE = Path(__file__).parents[2] / "docs" / "values.md"
COMMANDS = commands(PAGE)


def write_models(folder: Path) -> Path:
    """A "BF16" model whose linear layers were 4-bit before."""
    tensors = {
        "model.embed_tokens.weight": bf16(gauss(256, 256)),
        **layers(lambda values: bf16(int4(values, 128)), count=4, rows=512),
    }
    write(folder / "release", tensors, dtype="bfloat16")
    return folder


@pytest.mark.parametrize("arguments", COMMANDS)
def test_commands(tmp_path: Path, arguments: str) -> None:
    assert printed(write_models(tmp_path), arguments) == COMMANDS[arguments]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print_anew(PAGE, write_models(Path(folder)))
