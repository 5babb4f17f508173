"""A model on the disk: one safetensors file, a folder with one or several, or a run of this library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, DataNotFound
from tutelage.merging._matching import TensorInfo
from tutelage.merging._safetensors import PIECE, Reader, pieces, width

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
#: What decides which number stands for which piece of text; the first kind that is there is compared.
_VOCABULARIES = (
    ("tokenizer.json",),
    ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    ("vocab.json", "merges.txt", "vocab.txt"),
)


class Checkpoint:
    """A model's tensors on the disk, read when asked for.

    Args:
        path: A ``.safetensors`` file; a folder with ``model.safetensors``, with ``model.safetensors.index.json`` and
            the files it names, or with exactly one ``.safetensors`` file; or a run folder: its newest checkpoint.
        name: What it is called in messages, such as ``base``.

    Raises:
        DataNotFound: No such file or folder, or no weights in it.
        DataError: A file is damaged, lacks a tensor of the index, or holds an adapter.
    """

    def __init__(self, path: str | Path, name: str = "model") -> None:
        self.path = Path(path)
        self.name = f"{name} ({self.path})"
        self.folder, files = _locate(self.path, name)
        self.files = {file: Reader(self.folder / file) for file in files}
        self.metadata = next(iter(self.files.values())).metadata
        self.infos: dict[str, TensorInfo] = {}
        self.placed: dict[str, str] = {}
        for file, reader in self.files.items():
            for tensor, info in reader.infos.items():
                if tensor in self.placed:
                    raise DataError(f'{self.folder}: tensor "{tensor}" is in {self.placed[tensor]} and in {file}.')
                self.placed[tensor], self.infos[tensor] = file, info
        _check_index(self.folder, files, self.placed)
        if not self.infos:
            raise DataError(f"{self.path} holds no tensors.")
        self._digests: dict[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(info.size * width(info.dtype) for info in self.infos.values())

    def read(self, tensor: str, start: int, count: int, room: bytearray) -> memoryview:
        """Return the bytes of ``count`` numbers of a tensor from number ``start`` on, in ``room``."""
        return self.files[self.placed[tensor]].read(tensor, start, count, room)

    def digest(self, tensor: str) -> str:
        """Return the hash of a tensor's bytes."""
        if tensor not in self._digests:
            info, room = self.infos[tensor], bytearray(PIECE)
            whole = hashlib.blake2b(digest_size=16)
            for start, count in pieces(info.size, width(info.dtype)):
                whole.update(self.read(tensor, start, count, room))
            self._digests[tensor] = whole.hexdigest()
        return self._digests[tensor]

    def close(self) -> None:
        """Close all files."""
        for reader in self.files.values():
            reader.close()

    def config(self) -> dict[str, Any]:
        """Return ``config.json``, empty where there is none.

        Raises:
            DataError: It is no JSON object.
        """
        return _json(self.folder / "config.json") if (self.folder / "config.json").exists() else {}

    def vocabulary(self) -> dict[str, str]:
        """Return the hash of each file that decides the tokens' numbers, empty where there is none."""
        for kind in _VOCABULARIES:
            there = [self.folder / name for name in kind if (self.folder / name).exists()]
            if there:
                return {file.name: hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest() for file in there}
        return {}

    def pieces_of_text(self) -> str:
        """Return the hash of the tokenizer's own pieces, without added tokens, chat template and the rest."""
        file = self.folder / "tokenizer.json"
        if not file.exists():
            return ""
        model = _json(file).get("model")
        return hashlib.blake2b(json.dumps(model, sort_keys=True).encode(), digest_size=16).hexdigest()


def _locate(path: Path, name: str) -> tuple[Path, list[str]]:
    """Return the folder and the names of the weight files in it."""
    if path.is_file():
        if path.suffix != ".safetensors":
            raise DataError(f"{name}: {path} is not a .safetensors file; {_CONVERT}")
        return path.parent, [path.name]
    if not path.is_dir():
        raise DataNotFound(f"{name}: no file or folder {path}.")
    steps = sorted(one for one in (path / "checkpoint").glob("step-*") if (one / SINGLE).exists())
    if steps and not (path / SINGLE).exists():
        return steps[-1], [SINGLE]
    if (path / INDEX).exists():
        table = _json(path / INDEX).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()):
            raise DataError(f"{path / INDEX} has no weight_map of file names.")
        files = sorted(set(table.values()))
        for file in files:
            if Path(file).name != file or not (path / file).is_file():
                raise DataError(f"{path / INDEX} names {file}, which is not in the folder; download it again.")
        return path, files
    if (path / SINGLE).exists():
        return path, [SINGLE]
    if (path / "adapter_config.json").exists():
        raise DataError(f"{name}: {path} holds an adapter, not a model; merge it into its base first.")
    there = sorted(file.name for file in path.glob("*.safetensors") if file.name != "optimizer.safetensors")
    if len(there) == 1:
        return path, there
    if there:
        raise DataError(f"{name}: {path} holds {len(there)} .safetensors files and no {INDEX}; name one of them.")
    remedy = f" It has weights of another kind: {_CONVERT}" if any(path.glob("*.bin")) else ""
    raise DataNotFound(f"{name}: {path} holds no {SINGLE} and no {INDEX}.{remedy}")


_CONVERT = "save the model with save_pretrained(..., safe_serialization=True)."


def _check_index(folder: Path, files: list[str], placed: Mapping[str, str]) -> None:
    if not (folder / INDEX).exists() or files == [SINGLE] or len(files) < 2:
        return
    for tensor, file in _json(folder / INDEX)["weight_map"].items():
        if placed.get(tensor) != file:
            raise DataError(f'{folder / INDEX} says that tensor "{tensor}" is in {file}, and it is not.')


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}).") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object.")
    return content
