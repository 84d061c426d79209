"""Reads the tensors of a `torch.save` file without running anything that the file names.

For files that `torch.load(weights_only=True)` refuses: Lightning's hold configuration objects beside the weights.
A pickle is a program for a stack machine; this one knows dicts, lists, numbers, text and torch's tensor records,
and turns everything else into a `Foreign` that only remembers its name. Nothing is imported or called, and size,
instructions, nesting and memo are capped. Both containers are read: zip (torch 1.6 on) and the older plain one.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from seit.errors import TokenizerError

_MOST_BYTES = 64 << 20  # of one pickle, which holds no tensor data; a ViT-VQGAN's has about 100 kB
_MOST_STEPS = 1_000_000  # ViT-VQGAN large with its optimizer takes about 100,000
_MOST_STACKED = 100_000
_MOST_MARKS = 1_000
_MOST_MEMO = 500_000
_MOST_DIMENSIONS = 16
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Instructions whose argument is the value itself.
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_VALUES = _NUMBERS | _TEXTS | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    OSError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
)


class Foreign(NamedTuple):
    """Something of a class that this reader does not know."""

    name: str


class _Storage(NamedTuple):
    """A block of numbers elsewhere in the file."""

    dtype: torch.dtype
    key: str
    offset: int  # of a legacy view into its block, elements


class Stored(NamedTuple):
    """A tensor whose numbers are still in the file."""

    storage: _Storage
    offset: int  # elements
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Mark:
    """Where a group of stack items starts."""


def read(path: str | os.PathLike[str]) -> tuple[Any, Callable[[Stored], Tensor]]:
    """Reads the object of a `torch.save` file.

    Args:
        path: the file.

    Returns:
        The object, its tensors as `Stored`, and the function that fetches a `Stored`'s numbers.

    Raises:
        TokenizerError: it is no such file, is damaged, or exceeds a cap.
    """
    with _reading(path):
        found, fetch = (_read_zip if zipfile.is_zipfile(path) else _read_legacy)(Path(path))

    def checked(stored: Stored) -> Tensor:
        with _reading(path):
            return fetch(stored)

    return found, checked


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what damaged and hostile bytes raise into one error that names the file."""
    try:
        yield
    except _DAMAGE as error:
        raise TokenizerError(
            f"cannot be read as a PyTorch checkpoint ({error})", str(path), "get it again"
        ) from error


def _read_zip(path: Path) -> tuple[Any, Callable[[Stored], Tensor]]:
    """Reads the container of torch 1.6 and later: `data.pkl` and one uncompressed entry per storage."""
    budget = path.stat().st_size  # entries may overlap; honest ones add up to no more than the file
    blocks: dict[str, Tensor] = {}

    def entry(archive: zipfile.ZipFile, name: str) -> bytes:
        nonlocal budget
        info = archive.getinfo(name)
        budget -= info.file_size
        if info.compress_type != zipfile.ZIP_STORED or budget < 0:
            raise ValueError(f"its entry {name} is compressed or overlaps others")
        return archive.read(info)

    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        root = next(
            (n.removesuffix("data.pkl") for n in names if n.endswith("data.pkl") and n.count("/") < 2), None
        )
        if root is None:
            held = [n for n in names if n.endswith((".ckpt", ".pt", ".pth"))]
            raise ValueError(
                f"a zip archive holding {held[0]}: unpack it" if held else "a zip archive of other things"
            )
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("big-endian numbers")
        data = entry(archive, f"{root}data.pkl")
    found, _ = _run(io.BytesIO(data))

    def fetch(stored: Stored) -> Tensor:
        key = stored.storage.key
        if key not in blocks:
            with zipfile.ZipFile(path) as archive:
                numbers = bytearray(entry(archive, f"{root}data/{key}"))
            blocks[key] = (
                torch.frombuffer(numbers, dtype=torch.uint8) if numbers else torch.empty(0, dtype=torch.uint8)
            )
        return _view(blocks[key], stored)

    return found, fetch


def _read_legacy(path: Path) -> tuple[Any, Callable[[Stored], Tensor]]:
    """Reads the container before torch 1.6: five pickles, then every storage with its length."""
    places: dict[str, tuple[int, int]] = {}  # byte offset, bytes
    with open(path, "rb") as file:
        magic, _ = _next(file)
        if magic != _LEGACY_MAGIC:
            raise ValueError("neither a zip archive nor an old PyTorch file")
        _next(file)  # protocol version
        system, _ = _next(file)
        if not system.get("little_endian", True):
            raise ValueError("big-endian numbers")
        found, dtypes = _next(file)
        keys, _ = _next(file)
        size = path.stat().st_size
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            length = count * dtypes[key].itemsize
            places[key] = file.tell(), length
            if count < 0 or file.tell() + length > size:
                raise ValueError("it ends early")
            file.seek(length, os.SEEK_CUR)

    def fetch(stored: Stored) -> Tensor:
        offset, length = places[stored.storage.key]
        block = torch.empty(0, dtype=torch.uint8)
        if length:
            block = torch.from_file(str(path), shared=False, size=offset + length, dtype=torch.uint8)[
                offset:
            ].clone()
        return _view(block, stored)

    return found, fetch


def _view(block: Tensor, stored: Stored) -> Tensor:
    """Returns a tensor's numbers out of its storage's bytes [n] uint8, checked to lie inside them."""
    numbers = block.view(stored.storage.dtype)
    start = stored.storage.offset + stored.offset
    last = start + sum((n - 1) * s for n, s in zip(stored.size, stored.stride, strict=True))
    inside = start >= 0 and min(stored.size, default=0) >= 0 and min(stored.stride, default=0) >= 0
    # A stride of zero would let a few bytes claim any amount of memory.
    count = math.prod(list(stored.size))
    if not inside or count > len(numbers) or (count and last >= len(numbers)):
        raise ValueError(f"a tensor of {list(stored.size)} is larger than its storage")
    return numbers.as_strided(stored.size, stored.stride, start).clone()


def _next(file: BinaryIO) -> tuple[Any, dict[str, torch.dtype]]:
    """Runs the pickle that starts here and leaves the file behind it."""
    start = file.tell()
    stream = io.BytesIO(file.read(_MOST_BYTES))
    found = _run(stream)
    file.seek(start + stream.tell())
    return found


def _run(stream: io.BytesIO) -> tuple[Any, dict[str, torch.dtype]]:
    """Runs one pickle on the restricted machine: its object, and the dtype of every storage by key."""
    if len(stream.getbuffer()) > _MOST_BYTES:
        raise ValueError(f"its pickle has more than {_MOST_BYTES >> 20} MiB")
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        machine.step(opcode.name, argument)
        if count > _MOST_STEPS or len(machine.stack) > _MOST_STACKED or len(machine.memo) > _MOST_MEMO:
            raise ValueError("its pickle is implausibly long or deep")
    return machine.stack[-1], machine.dtypes


class _Machine:
    """The pickle machine's state: a stack, a memo, and the storages that were named."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.marks = 0
        self.dtypes: dict[str, torch.dtype] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carries out one instruction.

        Raises:
            ValueError: an instruction that no checkpoint needs.
        """
        stack = self.stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marks += 1
                if self.marks > _MOST_MARKS:
                    raise ValueError("its pickle is implausibly deep")
                stack.append(_Mark)
            case "POP":
                stack.pop()
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])  # a set would hash its members, which can run for ever on nested tuples
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "LIST" | "FROZENSET":
                stack.append(self.group())
            case "TUPLE":
                stack.append(tuple(self.group()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "DICT":
                stack.append(_mapping(self.group()))
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = [stack.pop()] if name == "APPEND" else self.group()
                if isinstance(stack[-1], list):
                    stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self.group()
                if isinstance(stack[-1], dict):
                    stack[-1].update(_mapping(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(Foreign(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                stack[-2:] = [Foreign(".".join(stack[-2:]))]
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(_call(stack.pop(), arguments))
            case "BUILD":
                stack.pop()
            case "BINPERSID":
                stack.append(self.storage(stack.pop()))
            case _ if name in _VALUES:
                stack.append(argument)
            case _:
                raise ValueError(f"its pickle has an instruction {name}, which no checkpoint needs")

    def group(self) -> list[Any]:
        """Takes the items above the last mark, and the mark, off the stack."""
        stack, start = self.stack, len(self.stack) - 1
        while stack[start] is not _Mark:
            start -= 1
        items = stack[start + 1 :]
        del stack[start:]
        self.marks -= 1
        return items

    def storage(self, described: Any) -> _Storage:
        """Returns the storage that a persistent id ("storage", type, key, device, numel[, view]) names."""
        kind, foreign, key = described[:3]
        dtype = _DTYPES.get(foreign.name.rpartition(".")[2])
        if kind != "storage" or dtype is None or not isinstance(key, str):
            raise ValueError(f"it holds numbers of an unknown kind ({foreign.name})")
        self.dtypes[key] = dtype
        view = described[5] if len(described) > 5 else None
        return _Storage(dtype, key, int(view[1]) if view else 0)


def _mapping(items: list[Any]) -> dict[Any, Any]:
    """Returns a dict of alternating keys and values; other keys than text and numbers are left out."""
    pairs = zip(items[::2], items[1::2], strict=True)
    return {key: value for key, value in pairs if isinstance(key, str | int | float)}


def _call(function: Any, arguments: Any) -> Any:
    """Returns what torch's few rebuilding functions would, and a `Foreign` for all others; calls nothing."""
    name = function.name if isinstance(function, Foreign) else ""
    match name:
        case "collections.OrderedDict":
            return _mapping([item for pair in arguments[0] for item in pair]) if arguments else {}
        case "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor":
            storage, offset, size, stride = arguments[:4]
            whole = all(type(n) is int for n in (offset, *size, *stride))
            if not isinstance(storage, _Storage) or not whole or len(size) > _MOST_DIMENSIONS:
                raise ValueError("it holds a malformed tensor")
            return Stored(storage, offset, size, stride)
        case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
            return arguments[0]
        case _:
            return Foreign(name)
