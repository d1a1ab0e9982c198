"""What a plugin of the group ``quantlevels.containers`` has to be."""

from __future__ import annotations

from typing import Final

from quantlevels.checkpoint.catalogue import CONFIG_SUFFIX, CONTAINERS
from quantlevels.container import CONFIG, Container
from quantlevels.vocabulary.plugins import CONTAINER_GROUP, PluginContract


def _reserved(name: str) -> str:
    return "a format" if name == CONFIG or any(name == container.name for container in CONTAINERS) else ""


def _clash(container: Container) -> tuple[str, str] | None:
    """The first name, suffix or magic of a container that belongs to one of this package, and what it means."""
    if meaning := _reserved(container.name):
        return container.name, meaning
    for builtin in CONTAINERS:
        for suffix in container.suffixes:
            if suffix == CONFIG_SUFFIX or suffix in builtin.suffixes:
                return suffix, "files of a format"
        if container.magic and builtin.magic and _overlap(container.magic, builtin.magic):
            return repr(container.magic), "the first bytes of a format"
    return None


def _overlap(magic: bytes, other: bytes) -> bool:
    """Whether a file can begin with both."""
    return magic.startswith(other) or other.startswith(magic)


CONTAINER_PLUGINS: Final = PluginContract(
    group=CONTAINER_GROUP,
    class_=Container,
    noun="format",
    names=lambda container: (container.name,),
    reserved=_reserved,
    clash=_clash,
    places=lambda container: (
        *(("suffix", suffix) for suffix in container.suffixes),
        *([("magic", container.magic.hex())] if container.magic else []),
    ),
)
