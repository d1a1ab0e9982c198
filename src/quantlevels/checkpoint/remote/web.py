"""A file on a web server, which gives no listing: of the files beside it only those that are asked for are known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, final
from urllib.parse import unquote, urlsplit, urlunsplit

from attrs import field, frozen

from quantlevels.checkpoint.remote.addresses import clean, is_private, is_safe_name, quoted
from quantlevels.checkpoint.remote.client import Client
from quantlevels.checkpoint.remote.ranges import HttpFile, NotThereError
from quantlevels.checkpoint.remote.windows import RemoteFile
from quantlevels.container import TruncatedError
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from quantlevels.checkpoint.remote.client import AddressCheck
    from quantlevels.container import RemoteLimits

#: Config files that are looked for beside a file with weights: each takes a request, all of them one round trip.
#: Without one that is there, its claims would be missed and the weights reported as declared by nothing.
_LOOKED_FOR: Final = (
    "config.json",
    "quantize_config.json",
    "quantization_config.json",
    "hf_quant_config.json",
    "quanto_qmap.json",
    "quant_model_description.json",
)
#: ending of a file's name → the config file that only its container has
_LOOKED_FOR_BESIDE: Final = {
    ".xml": "openvino_config.json",
    "tensor-cache.json": "mlc-chat-config.json",
    "ndarray-cache.json": "mlc-chat-config.json",
}


@final
@frozen
class WebFolder:
    """The folder of a URL, of which one file was named.

    Args:
        path: URL of the folder, for messages.
        url: of the folder, with a slash at its end; empty if files beside the named one cannot be had.
        named: name of the file that was named.
        named_url: its URL, query included.
        client: sends requests.
        limits: of each file.
    """

    path: str
    url: str = field(repr=False)
    named: str
    named_url: str = field(repr=False)
    client: Client = field(repr=False)
    limits: RemoteLimits
    #: name → the file, once it was found; None if it is not there
    _found: dict[str, RemoteFile | None] = field(factory=dict[str, "RemoteFile | None"], init=False, repr=False)

    is_local: bool = False

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    def names(self) -> tuple[str, ...]:
        """The file that was named, and the config files beside it."""
        if not self.url:
            return (self.named,)
        of_container = [config for ending, config in _LOOKED_FOR_BESIDE.items() if self.named.endswith(ending)]
        looked_for = [name for name in (*_LOOKED_FOR, *of_container) if name != self.named]
        # a context each, which counts the requests: one cannot be entered twice at a time
        contexts = [copy_context() for _ in looked_for]
        with ThreadPoolExecutor(len(looked_for)) as pool:
            found = pool.map(lambda context, name: context.run(self._find, name), contexts, looked_for)
            beside = [name for name, file in zip(looked_for, found, strict=True) if file]
        return tuple(sorted([self.named, *beside]))

    def folders(self) -> tuple[str, ...]:
        """None are known."""
        return ()

    def dangling(self) -> tuple[str, ...]:
        """None are known."""
        return ()

    def others(self) -> tuple[str, ...]:
        """None are known."""
        return ()

    def subfolder(self, name: str) -> WebFolder:
        """A folder below it.

        Raises:
            CheckpointError: always, as nothing lists them.
        """
        raise CheckpointError(f"{self.path}/{name}", "folders of a web server cannot be listed")

    def size(self, name: str) -> int | None:
        """Bytes in a file; None if it is missing."""
        file = self._find(name)
        return file.size if file else None

    def open(self, name: str) -> RemoteFile:
        """One of its files.

        Raises:
            CheckpointError: if it cannot be read.
        """
        # the file that was opened to see whether it is there keeps its first window
        return self._found.pop(name, None) or self._open(name)

    def _find(self, name: str) -> RemoteFile | None:
        if name not in self._found:
            try:
                self._found[name] = self._open(name)
            except (NotThereError, TruncatedError):
                self._found[name] = None
        return self._found[name]

    def _open(self, name: str) -> RemoteFile:
        if name == self.named:
            return RemoteFile(HttpFile(self.client, self.named_url, self.limits), name, self.size)
        if not is_safe_name(name):
            raise CheckpointError(self.path, f"a file names {name!r:.80}, which is not a plain name in its folder")
        if not self.url:
            raise CheckpointError(
                self.path, "files beside a signed URL cannot be read; name the folder where the files are kept"
            )
        return RemoteFile(HttpFile(self.client, self.url + quoted(name), self.limits), name, self.size)


def web_folder(url: str, limits: RemoteLimits, check: AddressCheck = is_private) -> tuple[WebFolder, str]:
    """The folder of a file on a web server, and the file's name.

    Raises:
        CheckpointError: if the URL names no file.
    """
    parts = urlsplit(url)
    above, _, last = parts.path.rpartition("/")
    if not last or not parts.hostname:
        raise CheckpointError(clean(url), "name a file: a web server has no listing of a folder")
    authorization = {}
    if parts.username is not None:
        from urllib3.util import make_headers

        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = {key.title(): value for key, value in make_headers(basic_auth=credentials).items()}
    host = parts.netloc.rpartition("@")[2]
    plain = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    folder = urlunsplit((parts.scheme, host, f"{above}/", "", ""))
    client = Client(plain, authorization, limits.silence, check)
    name = unquote(last)
    # a query is often a signature of this one file: nothing beside it could be read with it
    beside = "" if parts.query else folder
    return WebFolder(folder.rstrip("/"), beside, name, plain, client, limits), name
