"""Reads pickles without Python's unpickler: no name in the file is ever imported, nothing it brings along is called.

A pickle is a small program for a stack machine. This machine knows the instructions that a file of weights needs. Where
the program names a function, it gets the stand-in that a table of ours holds under that name, and an unknown name ends
the reading. Every length is compared with the bytes that are left before anything of that length is made.
"""

import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from export.reading.byte_reader import SAVE_AGAIN, ByteReader, UnreadableError, damaged, shown
from export.reading.pickle_literals import COUNTED, FIXED, LINES, utf8

# A checkpoint with its optimiser's state takes some ten thousand; each costs about a microsecond and up to 100 bytes.
MOST_INSTRUCTIONS = 4_000_000
NEWEST_PROTOCOL = 5


@dataclass(frozen=True)
class StandIn:
    """What the machine uses in the place of a function or class that the file names.

    Attributes:
        name: Dotted name in the file.
        make: Checks the arguments and returns what stands for the result.
    """

    name: str
    make: Callable[..., Any]


Names = Mapping[tuple[str, str], Callable[..., Any]]


class Buildable:
    """What the instruction BUILD may fill with a state."""

    def build(self, state: Any) -> None:
        """Check and take over the state that the file holds for this object."""
        raise NotImplementedError


class PickleMachine:
    """Runs one pickle.

    Args:
        source: Positioned on the first byte of the pickle.
        names: Module and name to what stands in for it; any other name is refused.
        storage: Takes a persistent id, PyTorch's way to point at values outside the pickle; None refuses them.
    """

    def __init__(self, source: ByteReader, names: Names, storage: Callable[[Any], Any] | None = None) -> None:
        self.source, self.names, self.storage = source, names, storage
        self.protocol = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each MARK
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The object that the pickle describes.

        Raises:
            UnreadableError: It is damaged, too long, or wants more than weights need.
        """
        try:
            for _ in range(MOST_INSTRUCTIONS):
                code = self.source.take(1)
                if code == pickle.STOP:
                    return self.pop()
                self._step(code)
        except (ValueError, LookupError, struct.error) as error:
            raise damaged(f"byte {self.source.position}: {error}") from error
        raise UnreadableError(f"takes more than {MOST_INSTRUCTIONS} instructions to read: no file of weights does")

    def _step(self, code: bytes) -> None:
        if code in FIXED:
            length, decode = FIXED[code]
            self.stack.append(decode(self.source.take(length)))
        elif code in COUNTED:
            width, decode = COUNTED[code]
            self.stack.append(decode(self.source.take(int.from_bytes(self.source.take(width), "little"))))
        elif code in LINES:
            self.stack.append(LINES[code](self.source.line()))
        elif code in _ACTIONS:
            _ACTIONS[code](self)
        else:
            raise _unknown(code, self.source.position - 1)

    def pop(self) -> Any:
        """Take the top of the stack; never past a MARK."""
        if not self.stack:
            raise damaged(f"byte {self.source.position}: the stack is empty")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """Take all that was put on the stack since the last MARK."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def top(self, kind: type) -> Any:
        """Look at the top of the stack, which must be of exactly this type."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise damaged(f"byte {self.source.position}: no {kind.__name__} on the stack")
        return self.stack[-1]

    def name(self, module: Any, name: Any) -> None:
        """Put the stand-in for a named function or class on the stack."""
        make = self.names.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if make is None:
            raise UnreadableError(
                f"holds a {shown(module)}.{shown(name)}, which is no plain array or tensor: building it would run code "
                f"that the file chooses, so it is refused. {SAVE_AGAIN}"
            )
        self.stack.append(StandIn(f"{module}.{name}", make))

    def call(self) -> None:
        """Replace a stand-in and its arguments by what it makes of them."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, StandIn) or type(arguments) is not tuple:
            raise damaged(f"byte {self.source.position}: it calls a {type(function).__name__}")
        try:
            self.stack.append(function.make(*arguments))
        except TypeError as error:
            raise damaged(f"{function.name} got the wrong arguments") from error

    def build(self) -> None:
        """Hand a state to the object on top of the stack."""
        state = self.pop()
        target = self.stack[-1] if self.stack else None
        if isinstance(target, Buildable):
            target.build(state)
        elif type(target) is not dict or type(state) is not dict:  # an OrderedDict may carry attributes: not needed
            raise damaged(f"byte {self.source.position}: a state for a {type(target).__name__}")

    def point_outside(self) -> None:
        """Replace a persistent id by what it points at."""
        if self.storage is None:
            raise UnreadableError(
                "points at values outside the pickle: it was not written by pickle.dump or torch.save"
            )
        self.stack.append(self.storage(self.pop()))

    def read_protocol(self) -> None:
        """Take note of the protocol."""
        self.protocol = self.source.take(1)[0]
        if self.protocol > NEWEST_PROTOCOL:
            raise damaged(f"pickle protocol {self.protocol}, and {NEWEST_PROTOCOL} is the newest")


def set_items(target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    """Put items into a dictionary; a key must be a name or a number, and new.

    Other keys have hashes that a file can make endless (a tuple of tuples) or equal (long numbers).
    """
    if len(keys) != len(values):
        raise damaged("a key without a value")
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, (str, bytes, int)) or (isinstance(key, int) and abs(key) >= 2**63):
            raise UnreadableError(f"has a {type(key).__name__} as a key: no file of weights does")
        if key in target:
            raise UnreadableError(
                f"holds the key {shown(key)!r} twice: which one is meant? Save it again with one of them"
            )
        target[key] = value


def _set_pairs(machine: PickleMachine, items: list[Any]) -> None:
    set_items(machine.top(dict), items[::2], items[1::2])


def _set_item(machine: PickleMachine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_pairs(machine, [key, value])


def _dict(machine: PickleMachine) -> None:
    items = machine.pop_mark()
    machine.stack.append({})
    _set_pairs(machine, items)


def _append(machine: PickleMachine) -> None:
    item = machine.pop()
    machine.top(list).append(item)


def _extend(machine: PickleMachine) -> None:
    items = machine.pop_mark()
    machine.top(list).extend(items)


def _mark(machine: PickleMachine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _tuple(machine: PickleMachine, length: int) -> None:
    items = [machine.pop() for _ in range(length)]
    machine.stack.append(tuple(reversed(items)))


def _tuple_of_mark(machine: PickleMachine) -> None:
    items = machine.pop_mark()
    machine.stack.append(tuple(items))


def _list_of_mark(machine: PickleMachine) -> None:
    items = machine.pop_mark()
    machine.stack.append(items)


def _remember(machine: PickleMachine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _little(machine: PickleMachine, width: int) -> int:
    return int.from_bytes(machine.source.take(width), "little")


def _unknown(code: bytes, position: int) -> UnreadableError:
    name = next((opcode.name for opcode in pickletools.opcodes if opcode.code == code.decode("latin1")), None)
    if name is None:
        return damaged(f"byte {position} is no pickle instruction")
    return UnreadableError(
        f"uses the pickle instruction {name} at byte {position}, which weights do not need and which may run code, "
        f"so it is refused. {SAVE_AGAIN}"
    )


_ACTIONS: dict[bytes, Callable[[PickleMachine], Any]] = {
    pickle.PROTO: PickleMachine.read_protocol,
    pickle.FRAME: lambda machine: machine.source.take(8),  # a hint for readers that read ahead
    pickle.GLOBAL: lambda machine: machine.name(utf8(machine.source.line()), utf8(machine.source.line())),
    pickle.STACK_GLOBAL: lambda machine: machine.name(*reversed([machine.pop(), machine.pop()])),
    pickle.REDUCE: PickleMachine.call,
    pickle.NEWOBJ: PickleMachine.call,
    pickle.BUILD: PickleMachine.build,
    pickle.BINPERSID: PickleMachine.point_outside,
    pickle.MARK: _mark,
    pickle.POP: lambda machine: machine.pop() if machine.stack else machine.pop_mark(),
    pickle.POP_MARK: PickleMachine.pop_mark,
    pickle.TUPLE: _tuple_of_mark,
    pickle.TUPLE1: lambda machine: _tuple(machine, 1),
    pickle.TUPLE2: lambda machine: _tuple(machine, 2),
    pickle.TUPLE3: lambda machine: _tuple(machine, 3),
    pickle.LIST: _list_of_mark,
    pickle.DICT: _dict,
    pickle.APPEND: _append,
    pickle.APPENDS: _extend,
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: lambda machine: _set_pairs(machine, machine.pop_mark()),
    pickle.PUT: lambda machine: _remember(machine, int(machine.source.line())),
    pickle.BINPUT: lambda machine: _remember(machine, _little(machine, 1)),
    pickle.LONG_BINPUT: lambda machine: _remember(machine, _little(machine, 4)),
    pickle.MEMOIZE: lambda machine: _remember(machine, len(machine.memo)),
    pickle.GET: lambda machine: machine.stack.append(machine.memo[int(machine.source.line())]),
    pickle.BINGET: lambda machine: machine.stack.append(machine.memo[_little(machine, 1)]),
    pickle.LONG_BINGET: lambda machine: machine.stack.append(machine.memo[_little(machine, 4)]),
}
