"""A folder of which all files are known from one listing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, final

from attrs import evolve, field, frozen

from quantlevels.checkpoint.remote.windows import RemoteFile
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.checkpoint.remote.windows import Ranges

#: path of a file within the listing, and as it is shown → what fetches its ranges
Opener: TypeAlias = "Callable[[str, str], Ranges]"


@final
@frozen
class ListedFolder:
    """A folder within a listing.

    Args:
        path: as it is shown: ``hf://org/name@revision``, and the folder in it.
        files: path within the listing → bytes; None for a file whose size the listing does not have.
        below: this folder within the listing, with a slash at its end; empty for the whole of it.
        opener: opens the files.
        where: what was listed, for messages: the repository, the store.
    """

    path: str
    files: Mapping[str, int | None] = field(repr=False)
    below: str
    opener: Opener = field(repr=False)
    where: str = field(repr=False)

    is_local: bool = False

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    def _inside(self) -> list[str]:
        return [file[len(self.below) :] for file in self.files if file.startswith(self.below)]

    def names(self) -> tuple[str, ...]:
        """Names of the files in it, sorted."""
        return tuple(sorted(file for file in self._inside() if "/" not in file))

    def folders(self) -> tuple[str, ...]:
        """Names of the folders in it, sorted."""
        return tuple(sorted({file.partition("/")[0] for file in self._inside() if "/" in file}))

    def dangling(self) -> tuple[str, ...]:
        """None: a listing has files only."""
        return ()

    def others(self) -> tuple[str, ...]:
        """Its folders."""
        return self.folders()

    def subfolder(self, name: str) -> ListedFolder:
        """One of its folders."""
        return evolve(self, path=f"{self.path}/{name}", below=f"{self.below}{name}/")

    def size(self, name: str) -> int | None:
        """Bytes in a file, by its path within the folder; None if the listing does not have it or its size."""
        return self.files.get(self.below + name)

    def open(self, name: str) -> RemoteFile:
        """One of its files, by its path within the folder.

        Raises:
            CheckpointError: if it is not in the listing, or cannot be read.
        """
        path = self.below + name
        shown = f"{self.path}/{name}"
        if path not in self.files:
            raise CheckpointError(shown, f"is not in the {self.where}")
        return RemoteFile(self.opener(path, shown), name, self.size)
