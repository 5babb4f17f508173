"""Safetensors files read and written a piece at a time, so that memory does not grow with the model.

The library's own readers map the whole file, whose pages then count as memory, and its writer takes all tensors at
once. The format is short: eight bytes with the length of a JSON header, the header, the numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import torch

from tutelage.errors import DataError
from tutelage.merging._matching import TensorInfo

#: Names of types in the format and in torch.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
_CODES = {str(dtype).removeprefix("torch."): code for code, dtype in DTYPES.items()}
#: The format's own limit.
_LONGEST_HEADER = 100_000_000
#: Bytes of one tensor that are held at a time.
PIECE = 1 << 22


def torch_dtype(name: str) -> torch.dtype:
    """Return torch's type of that name, such as ``"bfloat16"``."""
    return DTYPES[_CODES[name]]


def width(dtype: str) -> int:
    """Return the bytes of one number."""
    return torch_dtype(dtype).itemsize


class Reader:
    """One safetensors file.

    Args:
        path: The file.

    Raises:
        DataError: It is damaged, or holds a type that is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(_LONGEST_HEADER, size - 8):
                raise DataError(f"{path} is not a safetensors file, or is cut off.")
            try:
                header = json.loads(file.read(length))
                self.metadata: Mapping[str, str] = header.pop("__metadata__", None) or {}
                self._offsets = {name: tuple(entry["data_offsets"]) for name, entry in header.items()}
                coded = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{path}: the header of the safetensors file is damaged ({error}).") from None
        self._begin = 8 + length
        self.infos: dict[str, TensorInfo] = {}
        for name, (code, shape) in sorted(coded.items(), key=lambda item: self._offsets[item[0]]):
            if code not in DTYPES:
                raise DataError(f'{path}: tensor "{name}" has type {code}; known are {", ".join(DTYPES)}.')
            info = TensorInfo(str(DTYPES[code]).removeprefix("torch."), shape)
            first, last = self._offsets[name]
            if not 0 <= first <= last <= size - self._begin or last - first != info.size * DTYPES[code].itemsize:
                raise DataError(f'{path}: tensor "{name}" is cut off, or its place in the file is wrong.')
            self.infos[name] = info

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self, name: str, start: int, count: int, room: bytearray) -> memoryview:
        """Return bytes of ``count`` numbers of a tensor from number ``start`` on, in ``room``."""
        if self._file is None:
            self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115  # open until close()
        each = width(self.infos[name].dtype)
        part = memoryview(room)[: count * each]
        self._file.seek(self._begin + self._offsets[name][0] + start * each)
        done = 0
        while done < len(part):
            got = self._file.readinto(part[done:])  # type: ignore[attr-defined]  # a raw file
            if not got:
                raise DataError(f"{self.path} was cut off while it was read.")
            done += got
        return part


def pieces(size: int, widest: int) -> Iterator[tuple[int, int]]:
    """Yield the first number and the count of pieces that ``size`` numbers are worked on in."""
    step = PIECE // widest
    for start in range(0, size, step):
        yield start, min(step, size - start)


def as_tensor(part: memoryview, dtype: str) -> torch.Tensor:
    """Return bytes as a flat tensor that shares them."""
    return torch.frombuffer(part, dtype=torch.uint8).view(torch_dtype(dtype))


def header_of(infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """Return the beginning of a file with these tensors, and the order in which their numbers follow."""
    # Wide numbers first, so that each lies at a multiple of its width.
    order = sorted(infos, key=lambda name: -width(infos[name].dtype))
    content: dict[str, Any] = {"__metadata__": dict(metadata)}
    place = 0
    for name in order:
        info = infos[name]
        end = place + info.size * width(info.dtype)
        content[name] = {"dtype": _CODES[info.dtype], "shape": list(info.shape), "data_offsets": [place, end]}
        place = end
    header = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header, order


class TensorHashes:
    """Hashes of one tensor of several models, while it is read."""

    def __init__(self, models: int) -> None:
        self._running = [hashlib.blake2b(digest_size=16) for _ in range(models)]

    def update(self, model: int, part: memoryview) -> None:
        """Take in the next bytes of a model's tensor."""
        self._running[model].update(part)

    def digests(self) -> Sequence[str]:
        """Return the hash of each model's tensor."""
        return [one.hexdigest() for one in self._running]
