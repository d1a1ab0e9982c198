"""What a pickle would build, as plain symbols: nothing is imported, called or built.

Opcodes and their order on the stack: ``pickletools`` of CPython, protocols 2 to 5.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from attrs import define

from quantlevels.checkpoint.source import shown
from quantlevels.container import TruncatedError
from quantlevels.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from quantlevels.container import Source

_NEWEST_PROTOCOL: Final = 5
_STOP: Final = ord(".")
#: bytes read at once
_CHUNK: Final = 1 << 16
#: after so many opcodes the memory that the values take is compared with its limit
_OPCODES_AT_ONCE: Final = 1 << 14
#: bytes of memory that the values of any pickle may take, and how many more for each of its bytes: a list of a
#: distributed checkpoint takes 12, while a pickle of opcodes that each make an empty dict would take 72
_LEAST_MEMORY: Final = 32 << 20
_MEMORY_PER_BYTE: Final = 14
#: bytes; sizes take 8, and the first number of a file of torch before 1.6 takes 10
_LONGEST_INTEGER: Final = 64
_LONGEST_TEXT: Final = 1 << 24
#: entries of the memo that may be passed over in all, and bytes of the pickle for each more
_MOST_SKIPPED, _BYTES_PER_SKIPPED = 1 << 16, 4
#: of a module's or a class's name; Python has no limit, and a line need never end
_LONGEST_LINE: Final = 1 << 10


class Global(NamedTuple):
    """A name a pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Persistent(NamedTuple):
    """A reference to something kept outside of the pickle."""

    key: Value


@define(eq=False, weakref_slot=False)
class Object:
    """What a call would return, or a dict, which no name makes; filled by what follows in the pickle."""

    function: Global | None = None
    arguments: tuple[Value, ...] = ()
    #: keys and values in turn, as keys need not be hashable here; most objects have none, and share the empty tuple
    content: list[Value] | tuple[()] = ()
    state: Value = None

    def items(self) -> Iterator[tuple[Value, Value]]:
        """The keys, each with its value, in their order."""
        values = iter(self.content)
        return zip(values, values, strict=True)


#: an entry of the memo that was passed over
_UNWRITTEN: Final = Object()

Value: TypeAlias = "bool | int | float | str | list[Value] | tuple[Value, ...] | Global | Persistent | Object | None"


class Pickle(NamedTuple):
    """What one pickle says."""

    value: Value
    #: every reference to the outside, reachable from the value or not
    persistent: list[Persistent]
    #: the offset behind it
    end: int
    nbytes: int


def interpret(source: Source, start: int, end: int, known: Container[Global], *, nbytes: int = 0) -> Pickle:
    """What the pickle at ``start`` stands for.

    Args:
        source: the open file.
        start: where it begins.
        end: where it ends at the latest.
        known: the names it may use.
        nbytes: its bytes if they are known before: a part of it may need more memory per byte than all of it.

    Raises:
        CheckpointError: if it is malformed, uses any other name or an opcode that tensors do not need, or takes far
            more memory than its bytes.
    """
    machine = _Machine(source, start, end, known, nbytes)
    value = machine.run()
    return Pickle(value, machine.persistent, machine.position, machine.position - start)


@final
class _Machine:
    def __init__(self, source: Source, start: int, end: int, known: Container[Global], nbytes: int) -> None:
        self.source = source
        self.start = start
        self.end = end
        self.known = known
        self.nbytes = nbytes
        self.buffer = b""
        self.buffer_start = start
        self.at = 0
        self.stack: list[Value] = []
        #: the stacks below each mark
        self.marks: list[list[Value]] = []
        #: picklers number what they keep one by one, so a list holds it in a tenth of the memory of a dict
        self.memo: list[Value] = []
        #: how many entries of the memo were passed over
        self.skipped = 0
        self.persistent: list[Persistent] = []

    @property
    def position(self) -> int:
        return self.buffer_start + self.at

    def run(self) -> Value:
        operations, sizes = _OPERATIONS, _SIZES  # local names: this loop is most of the time a PyTorch file takes
        memory = 0
        try:
            while True:
                for _ in range(_OPCODES_AT_ONCE):
                    if self.at == len(self.buffer):
                        self.fill(1)
                    opcode = self.buffer[self.at]
                    self.at += 1
                    if opcode == _STOP:
                        return self.pop()
                    if opcode not in operations:
                        raise self.broken(f"opcode {bytes([opcode])!r} is not one that tensors need")
                    memory += sizes[opcode]
                    operations[opcode](self)
                self.check_memory(memory)
        except IndexError as error:
            raise self.broken("it takes a value from an empty stack") from error

    def check_memory(self, memory: int) -> None:
        """Raise CheckpointError if the values take far more memory than the bytes of the pickle."""
        if memory > _LEAST_MEMORY + _MEMORY_PER_BYTE * max(self.nbytes, self.position - self.start):
            raise self.broken(f"its values take over {memory >> 20:,} MiB of memory, far more than its bytes")

    def broken(self, reason: str) -> CheckpointError:
        return CheckpointError(self.source.path, f"is not a pickle of tensors: {reason}", self.position)

    def check(self, count: int) -> None:
        remain = self.end - self.position
        if count > remain:
            reason = f"truncated: {count:,} bytes are needed, {remain:,} remain"
            raise TruncatedError(self.source.path, reason, self.position)

    def fill(self, count: int) -> None:
        """Make ``count`` bytes stand at the front of the buffer."""
        self.check(count)
        start = self.position
        self.buffer = self.source.read(start, min(max(_CHUNK, count), self.end - start))
        self.buffer_start = start
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.buffer):
            self.fill(count)
        self.at += count
        return self.buffer[self.at - count : self.at]

    def number(self, size: int) -> int:
        at, following = self.at, self.at + size
        if following > len(self.buffer):
            self.fill(size)
            at, following = 0, size
        self.at = following
        return int.from_bytes(self.buffer[at:following], "little")

    def real(self) -> float:
        (value,) = struct.unpack(">d", self.take(8))
        assert isinstance(value, float)
        return value

    def text(self, size: int, errors: str = "surrogatepass") -> str | None:
        """A text; None if it is as long as only bytes in the place of one are (arrays of NumPy, of protocol 2)."""
        count = self.number(size)
        if count > _LONGEST_TEXT:
            self.pass_over(count)
            return None
        raw = self.take(count)
        try:
            return raw.decode(errors=errors)
        except UnicodeDecodeError as error:
            raise self.broken("a text that is not UTF-8") from error

    def line(self) -> str:
        end = self.buffer.find(b"\n", self.at)
        if end < 0:
            self.fill(min(_LONGEST_LINE, self.end - self.position))
            end = self.buffer.find(b"\n")
        if not 0 <= end - self.at < _LONGEST_LINE:
            raise self.broken("a name that does not end")
        line = self.buffer[self.at : end]
        self.at = end + 1
        return line.decode(errors="replace")

    def pop(self) -> Value:
        return self.stack.pop()

    def push(self, value: Value) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def unmark(self) -> list[Value]:
        above = self.stack
        self.stack = self.marks.pop()
        return above

    def tuple_of(self, count: int) -> None:
        if count > len(self.stack):  # a slice would be shorter without a word
            raise IndexError(count)
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def integer(self, size: int) -> None:
        length = self.number(size)
        if length > _LONGEST_INTEGER:
            raise self.broken(f"an integer of {length:,} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def protocol(self) -> None:
        protocol = self.number(1)
        if protocol > _NEWEST_PROTOCOL:
            raise self.broken(f"protocol {protocol}; {_NEWEST_PROTOCOL} is the newest known")

    def skip(self, size: int) -> None:
        """Pass over a bytes object: it says nothing of a tensor, and may be as long as the file."""
        self.pass_over(self.number(size))
        self.push(None)

    def pass_over(self, count: int) -> None:
        self.check(count)
        self.buffer_start, self.buffer, self.at = self.position + count, b"", 0

    def frame(self) -> None:
        # frames only help readers that stream; the length is checked as any other
        length = self.number(8)
        if length > self.end - self.position:
            raise self.broken(f"a frame of {length:,} bytes, {self.end - self.position:,} remain")

    def name(self, module: Value, name: Value) -> None:
        """Push a global, if it is known. Each is checked where it stands: what is never called is refused as well."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.broken("a global whose name is not a text")
        wanted = Global(module, name)
        if wanted not in self.known:
            raise CheckpointError(
                self.source.path,
                f"wants the global {shown(str(wanted))}, which is not part of a tensor; refused",
                self.position,
            )
        self.push(wanted)

    def line_name(self) -> None:
        self.name(self.line(), self.line())

    def stack_name(self) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not (isinstance(function, Global) and isinstance(arguments, tuple)):
            raise self.broken("a call of something other than a global")
        self.push(Object(function, arguments))

    def put(self, index: int) -> None:
        if index < len(self.memo):
            self.memo[index] = self.stack[-1]
            return
        skipped = index - len(self.memo)  # Python 2 counts from 1, a pickler that is used again from where it was
        self.skipped += skipped
        if self.skipped > _MOST_SKIPPED + (self.position - self.start) // _BYTES_PER_SKIPPED:
            raise self.broken(f"it writes memo entry {index} after {len(self.memo)} others")
        self.memo += [_UNWRITTEN] * skipped
        self.memo.append(self.stack[-1])

    def get(self, index: int) -> None:
        if index >= len(self.memo) or self.memo[index] is _UNWRITTEN:
            raise self.broken(f"it reads memo entry {index}, which was never written")
        self.push(self.memo[index])

    def append(self, values: list[Value]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise self.broken("items for something other than a list")
        target += values

    def set_items(self, values: list[Value]) -> None:
        target = self.stack[-1]
        if not isinstance(target, Object) or len(values) % 2:
            raise self.broken("keys and values for something other than a dict")
        if isinstance(target.content, list):
            target.content += values
        else:
            target.content = values

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def refer(self) -> None:
        self.persistent.append(Persistent(self.pop()))
        self.push(self.persistent[-1])

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if not isinstance(target, Object):
            raise self.broken("a state for a value that cannot have one")
        target.state = state


#: opcode → what it does. The others belong to protocol 0, to a registry of extensions, or to buffers outside the file.
_OPERATIONS: Final[dict[int, Callable[[_Machine], object]]] = {
    0x80: _Machine.protocol,  # PROTO
    0x95: _Machine.frame,  # FRAME
    # constants and numbers
    0x4E: lambda m: m.stack.append(None),  # NONE
    0x88: lambda m: m.stack.append(True),  # NEWTRUE
    0x89: lambda m: m.stack.append(False),  # NEWFALSE
    0x4B: lambda m: m.stack.append(m.number(1)),  # BININT1
    0x4D: lambda m: m.stack.append(m.number(2)),  # BININT2
    0x4A: lambda m: m.stack.append(int.from_bytes(m.take(4), "little", signed=True)),  # BININT
    0x8A: lambda m: m.integer(1),  # LONG1
    0x8B: lambda m: m.integer(4),  # LONG4
    0x47: lambda m: m.stack.append(m.real()),  # BINFLOAT
    # texts and bytes
    0x8C: lambda m: m.stack.append(m.text(1)),  # SHORT_BINUNICODE
    0x58: lambda m: m.stack.append(m.text(4)),  # BINUNICODE
    0x8D: lambda m: m.stack.append(m.text(8)),  # BINUNICODE8
    0x55: lambda m: m.stack.append(m.text(1, "replace")),  # SHORT_BINSTRING: Python 2, of text and of bytes
    0x54: lambda m: m.stack.append(m.text(4, "replace")),  # BINSTRING
    0x43: lambda m: m.skip(1),  # SHORT_BINBYTES
    0x42: lambda m: m.skip(4),  # BINBYTES
    0x8E: lambda m: m.skip(8),  # BINBYTES8
    0x96: lambda m: m.skip(8),  # BYTEARRAY8
    # containers; a set is a list here
    0x5D: lambda m: m.stack.append([]),  # EMPTY_LIST
    0x8F: lambda m: m.stack.append([]),  # EMPTY_SET
    0x7D: lambda m: m.stack.append(Object()),  # EMPTY_DICT
    0x29: lambda m: m.stack.append(()),  # EMPTY_TUPLE
    0x85: lambda m: m.tuple_of(1),  # TUPLE1
    0x86: lambda m: m.tuple_of(2),  # TUPLE2
    0x87: lambda m: m.tuple_of(3),  # TUPLE3
    0x74: lambda m: m.push(tuple(m.unmark())),  # TUPLE
    0x6C: lambda m: m.push(m.unmark()),  # LIST
    0x91: lambda m: m.push(m.unmark()),  # FROZENSET
    0x61: lambda m: m.append([m.pop()]),  # APPEND
    0x65: lambda m: m.append(m.unmark()),  # APPENDS
    0x90: lambda m: m.append(m.unmark()),  # ADDITEMS
    0x73: _Machine.set_item,  # SETITEM
    0x75: lambda m: m.set_items(m.unmark()),  # SETITEMS
    # the stack and the memo
    0x28: _Machine.mark,  # MARK
    0x30: _Machine.pop,  # POP
    0x31: _Machine.unmark,  # POP_MARK
    0x32: lambda m: m.stack.append(m.stack[-1]),  # DUP
    0x71: lambda m: m.put(m.number(1)),  # BINPUT
    0x72: lambda m: m.put(m.number(4)),  # LONG_BINPUT
    0x94: lambda m: m.put(len(m.memo)),  # MEMOIZE
    0x68: lambda m: m.get(m.number(1)),  # BINGET
    0x6A: lambda m: m.get(m.number(4)),  # LONG_BINGET
    # names of classes and functions, and the objects made with them
    0x63: _Machine.line_name,  # GLOBAL
    0x93: _Machine.stack_name,  # STACK_GLOBAL
    0x52: _Machine.call,  # REDUCE
    0x81: _Machine.call,  # NEWOBJ
    0x62: _Machine.build,  # BUILD
    0x51: _Machine.refer,  # BINPERSID
}
#: opcode → bytes of memory that it takes at most, without those of a text, in CPython 3.11; a place on the stack has 8
_SIZES: Final = [0] * 256
for _opcodes, _size in (
    (b"N\x88\x89K)h j2", 8),  # constants, small integers, the empty tuple, and values that are there already
    (b"q r\x94", 10),  # a place in the memo, which grows by an eighth at once
    (b"CB\x8e\x96", 8),  # bytes, which are passed over
    (b"MJG\x8a\x8b", 40),  # an integer, without the bytes of a long one, or a float
    (b"\x8cX\x8dUT", 64),  # a text
    (b"](\x8f", 64),  # a list, also that of a mark
    (b"}", 72),  # an `Object`
    (b"R\x81", 56),
    (b"tl\x91", 48),  # a tuple or a list of what the list of a mark held
    (b"\x85\x86\x87", 80),  # a tuple, and its entry in a set of what has been seen
    (b"a", 40),  # the first value of a list makes room for four
    (b"s", 96),  # the first pair of a dict makes a list
    (b"\x93c", 64),  # a `Global`
    (b"Q", 80),  # a `Persistent`, and its place in the list of all
):
    for _opcode in _opcodes.replace(b" ", b""):
        _SIZES[_opcode] = _size
