"""Storage of what each batch would have done at each checkpoint: in memory, on disk, or randomly projected."""

from __future__ import annotations

import errno
import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.errors import ConfigError, CorruptRun, StorageFull
from tutelage.randomness import numpy_generator

_META = "forecast.json"
#: Columns of the random matrix that are made at a time, and the elements up to which all of it is kept.
_COLUMNS, _KEPT = 4096, 50_000_000


def byte_text(count: float) -> str:
    """Return a number of bytes as text, ``3.4 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def pair_bytes(batches: int, widths: Mapping[str, int], item: int) -> int:
    """Return the bytes that the terms of all pairs of checkpoint and batch take."""
    return batches * batches * sum(widths.values()) * item


class Projection:
    """A random matrix with independent entries of variance ``1 / p``, made again from its seed wherever it is needed.

    ``R^T (R x)`` has mean ``x``; its relative error is about ``sqrt(d / p)``.

    Args:
        d: Elements of what is projected.
        p: Elements of what is stored, ``1 <= p < d``.
        seed: Names the matrix.
        dtype: Type of the entries.
    """

    def __init__(self, d: int, p: int, seed: int, dtype: torch.dtype) -> None:
        self.d, self.p, self.seed, self.dtype = d, p, seed, dtype
        self._blocks: dict[int, torch.Tensor] = {}

    def _block(self, start: int) -> torch.Tensor:
        if start in self._blocks:
            return self._blocks[start]
        columns = min(_COLUMNS, self.d - start)
        drawn = numpy_generator(self.seed, "projection", start).standard_normal((self.p, columns), dtype=np.float32)
        block: torch.Tensor = torch.from_numpy(drawn).to(self.dtype) / math.sqrt(self.p)
        if self.d * self.p <= _KEPT:
            self._blocks[start] = block
        return block

    def down(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``R x`` of rows ``x (n, d)``, shape ``(n, p)``."""
        found = x.new_zeros(len(x), self.p)
        for start in range(0, self.d, _COLUMNS):
            found += x[:, start : start + _COLUMNS] @ self._block(start).T
        return found

    def up(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``R^T x`` of rows ``x (n, p)``, shape ``(n, d)``."""
        return torch.cat([x @ self._block(start) for start in range(0, self.d, _COLUMNS)], dim=1)


class PairTerms:
    """Named vectors for each pair (checkpoint ``t``, batch ``l``), and which of them are there.

    On disk every file is a plain array that the system writes as it is filled, so a process that is killed loses only
    the pair it was at. Every pair has a check sum, which is looked at when the folder is opened again.

    Args:
        count: Batches, and checkpoints.
        widths: Elements of each term by its name.
        dtype: Type of the elements.
        folder: Where files lie; memory where ``None``.
        projection: How vectors are shortened, or ``None``.
        facts: What the terms belong to, as JSON; a folder that belongs to something else is refused.

    Raises:
        ConfigError: The folder holds the terms of another forecaster.
        StorageFull: The disk has no room for the files.
    """

    def __init__(
        self,
        count: int,
        widths: Mapping[str, int],
        *,
        dtype: torch.dtype,
        folder: Path | None,
        projection: Projection | None,
        facts: Mapping[str, Any],
    ) -> None:
        self.count, self.folder, self.projection = count, folder, projection
        self._dtype = np.dtype(str(dtype).removeprefix("torch."))
        self.seconds = 0.0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._claim(folder, facts)
        stored = {name: projection.p if projection else width for name, width in widths.items()}
        self._arrays = {name: self._array(name, (count, count, width), self._dtype) for name, width in stored.items()}
        # The reference run itself is kept exactly: the order that was trained is then given back as it was.
        self._exact = self._array("reference", (count, widths["g"]), self._dtype) if projection else None
        self._sums = self._array("sums", (count, count), np.dtype(np.int64))
        for t, one in np.argwhere(self._sums):
            if self._sums[t, one] != self._sum(t, one):
                self._sums[t, one] = 0

    def _claim(self, folder: Path, facts: Mapping[str, Any]) -> None:
        path = folder / _META
        if path.exists():
            try:
                found = json.loads(path.read_text())
                self.seconds = float(found.pop("seconds"))
            except (ValueError, KeyError) as error:
                raise CorruptRun(f"{path} cannot be read ({error}). Delete the folder and fit again.") from error
            differing = [name for name in facts if found.get(name) != json.loads(json.dumps(facts[name]))]
            if differing:
                raise ConfigError(
                    f"{folder} holds the terms of another forecaster; {', '.join(differing)} differ. "
                    "Choose another folder, or delete this one."
                )
        self._facts = dict(facts)
        self._write_meta()

    def _write_meta(self) -> None:
        if self.folder is None:
            return
        path = self.folder / _META
        part = path.with_suffix(".part")
        with open(part, "w") as file:
            file.write(json.dumps({**self._facts, "seconds": self.seconds}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    def _array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        if self.folder is None:
            return np.zeros(shape, dtype)
        path, size = self.folder / f"{name}.bin", int(np.prod(shape)) * dtype.itemsize
        if not path.exists() or path.stat().st_size != size:
            try:
                with open(path, "wb") as file:
                    # Room is taken now: a file with holes would end the process later, without a word, on a full disk.
                    os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                path.unlink(missing_ok=True)
                if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                    raise StorageFull(f"{path} needs {byte_text(size)}, which the disk has no room for.") from error
                raise
        return np.memmap(path, dtype, "r+", shape=shape)

    def _sum(self, t: int, one: int) -> int:
        found = 0
        for array in self._arrays.values():
            found = zlib.crc32(array[t, one].tobytes(), found)
        if self._exact is not None and t == one:
            found = zlib.crc32(self._exact[t].tobytes(), found)
        return found + 1

    def has(self, t: int, one: int) -> bool:
        """Return whether the terms of batch ``one`` at checkpoint ``t`` are there."""
        return bool(self._sums[t, one])

    def put(self, t: int, one: int, terms: Mapping[str, torch.Tensor]) -> None:
        """Store the terms of a pair."""
        for name, value in terms.items():
            flat = value.detach().reshape(1, -1).cpu()
            self._arrays[name][t, one] = (self.projection.down(flat) if self.projection else flat)[0].numpy()
        if self._exact is not None and t == one:
            self._exact[t] = terms["g"].detach().cpu().numpy()
        self._sums[t, one] = self._sum(t, one)

    def end_row(self, seconds: float) -> None:
        """Make what was stored last survive a power cut too."""
        self.seconds += seconds
        arrays = [*self._arrays.values(), self._sums, *([] if self._exact is None else [self._exact])]
        for array in arrays:
            if isinstance(array, np.memmap):
                array.flush()
        self._write_meta()

    def row(self, t: int, name: str = "g") -> torch.Tensor:
        """Return the term of every batch at checkpoint ``t``, shape ``(batches, width)``."""
        found = torch.from_numpy(np.asarray(self._arrays[name][t]))
        if self.projection is None:
            return found
        found = self.projection.up(found)
        if name == "g" and self._exact is not None:
            found[t] = torch.from_numpy(np.array(self._exact[t]))
        return found

    def own(self, t: int) -> torch.Tensor:
        """Return the gradient of the reference run at update ``t``, exact, shape ``(d,)``."""
        exact = self._arrays["g"][t, t] if self._exact is None else self._exact[t]
        return torch.from_numpy(np.array(exact))

    def mixed(self, weights: torch.Tensor, one: int) -> torch.Tensor:
        """Return sums over checkpoints of the gradients of batch ``one``, by rows of ``weights (n, checkpoints)``."""
        found = weights @ torch.from_numpy(np.asarray(self._arrays["g"][:, one]))
        return self.projection.up(found) if self.projection else found
