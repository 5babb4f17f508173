"""Models merged from disk to disk, a piece of a tensor at a time: memory does not grow with the model."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import tutelage
from tutelage.errors import ConfigError, DataError, StorageFull
from tutelage.merging._combination import Combination
from tutelage.merging._matching import Matched, Spread, TensorInfo, match
from tutelage.merging._safetensors import PIECE, TensorHashes, as_tensor, header_of, pieces, torch_dtype, width
from tutelage.merging.checkpoint import INDEX, SINGLE, Checkpoint
from tutelage.merging.states import cast_to, check_finite, fingerprint_of, working_dtype
from tutelage.storage import storage, sync_folder, write_json

DTYPES = ("float32", "float16", "bfloat16", "float64")
#: Files beside the weights that belong to a model.
_BESIDE = (
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "*.model", "*.tiktoken", "chat_template*", "*processor_config.json",
    "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "*_Pooling/config.json",
    "LICENSE*", "NOTICE*",
)  # fmt: skip
#: Differences of configurations that say nothing of the weights.
_PASSING = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache"}
_AGAIN = "merge again"


@dataclass(frozen=True)
class Merged:
    """What a merge did; ``merge.json`` in the result holds the same.

    Args:
        out: Where the result is.
        method: Such as ``"residual"``.
        scales: Factor of each difference added, by the model it comes from; of an average each model's weight.
        models: Path, fingerprint and hashes of the vocabulary of each model by its role.
        fingerprint: Of the result.
        tensors: Number of tensors.
        combined: Number of those that were combined; the others were copied.
        bytes: Size of the result's tensors.
        distances: How far each model lies from what it is compared with, relative to the weights' size.
        notes: What a user should know.
        version: Of this library.
    """

    out: str
    method: str
    scales: dict[str, float]
    models: dict[str, dict[str, Any]]
    fingerprint: str
    tensors: int
    combined: int
    bytes: int
    distances: dict[str, float]
    notes: list[str]
    version: str


def merge_folders(
    combination: Combination,
    models: Sequence[str | Path],
    out: str | Path,
    *,
    dtype: str | None = None,
    include: str | None = None,
    exclude: str | None = None,
    mixed_dtypes: bool = False,
    files_of: int | None = None,
    overwrite: bool = False,
    watch: Callable[[int, int], object] | None = None,
) -> Merged:
    """Merge models on the disk into a new one, with a few megabytes of memory whatever their size.

    The result appears whole or not at all: it is written under another name and renamed. It has the layout of the
    first model (one file or several), the configuration and tokenizer of one of them, and ``merge.json``, which says
    what it was made of.

    Args:
        combination: What is added: :meth:`Combination.task_arithmetic`, ``.residual`` or ``.average``.
        models: A path for each role of it; see :class:`tutelage.merging.Checkpoint`.
        out: A folder to be made, or a ``.safetensors`` file for the weights alone.
        dtype: Type of the result's floating tensors, ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"float64"``;
            that of the first model where not given. Sums are made in float32 or wider.
        include: Only tensors whose name this regular expression is found in are combined.
        exclude: Tensors whose name this regular expression is found in are copied from the first model.
        mixed_dtypes: Allow models of different floating types.
        files_of: Number of the model whose configuration and tokenizer the result gets; said so, tokenizers may differ.
        overwrite: Replace what ``out`` holds.
        watch: Called with the bytes done and all bytes to be written.

    Returns:
        What was done.

    Raises:
        DataNotFound: A model is not there.
        DataError: Models do not fit: a tensor is missing, surplus, of another shape or type, not finite, or too large
            for ``dtype``; or their tokenizers differ.
        ConfigError: ``out`` exists or is one of the models, or ``dtype`` is not known.
        StorageFull: No space is left; nothing is left behind.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import load_file, save_file
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name, row in (("base", [1.0, 2.0, 3.0]), ("model", [2.0, 2.0, 4.0])):
        ...     save_file({"w": torch.tensor(row)}, folder / f"{name}.safetensors")
        >>> paths = [folder / "base.safetensors", folder / "model.safetensors"]
        >>> done = merge_folders(Combination.task_arithmetic(1, 0.5), paths, folder / "half.safetensors")
        >>> load_file(folder / "half.safetensors")["w"], done.combined
        (tensor([1.5000, 2.0000, 3.5000]), 1)

    Source:
        As for :func:`tutelage.merging.task_arithmetic`, :func:`add_residual` and :func:`average`.
    """
    target = Path(out)
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f'merge: dtype must be one of {", ".join(DTYPES)}, got "{dtype}".')
    if len(models) != len(combination.roles):
        raise ConfigError(f"merge: {combination.method} takes {len(combination.roles)} models, got {len(models)}.")
    _check_out(target, models, overwrite)
    opened = [Checkpoint(path, role) for path, role in zip(models, combination.roles, strict=True)]
    try:
        notes = _check_vocabularies(combination, opened, said=files_of is not None)
        matched = match(combination, opened, include=include, exclude=exclude, mixed_dtypes=mixed_dtypes)
        infos = {
            name: info if dtype is None or not info.floating else TensorInfo(dtype, info.shape)
            for name, info in matched.infos.items()
        }
        job = _Job(combination, opened, matched, infos, target, watch)
        beside = opened[combination.files if files_of is None else files_of]
        with _appearing(target) as written:
            _check_room(written, job.total)
            result = job.write(written)
            record = Merged(
                out=str(target),
                method=combination.method,
                scales=combination.scales(),
                models=job.sources(),
                fingerprint=result,
                tensors=len(infos),
                combined=len(matched.combined),
                bytes=job.total,
                distances=job.spread.distances(),
                notes=[*notes, *_config_notes(opened), *job.spread.notes()],
                version=tutelage.__version__,
            )
            with storage(target, _AGAIN):
                _finish(written, target, beside, dtype, infos, record)
    finally:
        for model in opened:
            model.close()
    return record


class _Job:
    """Writes the tensors."""

    def __init__(
        self,
        combination: Combination,
        models: Sequence[Checkpoint],
        matched: Matched,
        infos: dict[str, TensorInfo],
        out: Path,
        watch: Callable[[int, int], object] | None,
    ) -> None:
        self.combination, self.models, self.matched, self.infos = combination, models, matched, infos
        self.out, self.watch = out, watch
        self.total = sum(info.size * width(info.dtype) for info in infos.values())
        self.done = 0
        self.spread = Spread(combination)
        self._rooms = [bytearray(PIECE) for _ in models]
        self._hashes: list[dict[str, str]] = [{} for _ in models]

    def write(self, folder: Path) -> str:
        """Write all files of the result; return its fingerprint."""
        anchor = self.models[0]
        found: dict[str, tuple[TensorInfo, str]] = {}
        for file in self.files():
            mine = {
                name: info for name, info in self.infos.items() if len(self.files()) == 1 or anchor.placed[name] == file
            }
            header, order = header_of(mine, {"format": "pt"})
            with storage(self.out, _AGAIN), open(folder / file, "wb") as output:
                output.write(header)
                for name in order:
                    digest = hashlib.blake2b(digest_size=16)
                    for part in self._parts(name):
                        output.write(part)
                        digest.update(part)
                        self.done += len(part)
                        if self.watch is not None:
                            self.watch(self.done, self.total)
                    found[name] = (mine[name], digest.hexdigest())
                output.flush()
                os.fsync(output.fileno())
        return fingerprint_of(found)

    def files(self) -> list[str]:
        """Return the names of the result's weight files."""
        if self.out.suffix == ".safetensors":
            return [self.out.name]
        files = list(self.models[0].files)
        return files if len(files) > 1 else [SINGLE]

    def sources(self) -> dict[str, dict[str, Any]]:
        """Return what each model was."""
        described = {}
        for role, model, hashes in zip(self.combination.roles, self.models, self._hashes, strict=True):
            # Tensors that were not combined have been read from the first model only.
            known = {name: (info, hashes.get(name) or model.digest(name)) for name, info in model.infos.items()}
            described[role] = {
                "path": str(model.path),
                "fingerprint": fingerprint_of(known),
                "vocabulary": model.vocabulary(),
            }
        return described

    def _parts(self, name: str) -> Iterator[memoryview]:
        """Yield the bytes of a tensor of the result, piece by piece."""
        if name in self.matched.combined:
            yield from self._combined(name)
            return
        model, info = self.models[0], self.models[0].infos[name]
        final = torch_dtype(self.infos[name].dtype)
        hashes = TensorHashes(1)
        for start, count in pieces(info.size, max(width(info.dtype), final.itemsize)):
            part = model.read(name, start, count, self._rooms[0])
            hashes.update(0, part)
            yield part if info.dtype == self.infos[name].dtype else _bytes(as_tensor(part, info.dtype).to(final))
        self._hashes[0][name] = hashes.digests()[0]

    def _combined(self, name: str) -> Iterator[memoryview]:
        names = self.matched.sources[name]
        infos = [model.infos[there] for model, there in zip(self.models, names, strict=True)]
        working = working_dtype(torch_dtype(info.dtype) for info in infos)
        final = torch_dtype(self.infos[name].dtype)
        hashes = TensorHashes(len(self.models))
        for start, count in pieces(infos[0].size, 8):
            read = [self._read(number, names[number], start, count, hashes) for number in range(len(names))]
            values = [part.to(working) for part in read]
            for value, model in zip(values, self.models, strict=True):
                check_finite(value, name, model.name)
            self.spread.add(values)
            yield _bytes(cast_to(self.combination.apply(values), final, name))
        # Rows of added tokens follow: numbers lie row by row.
        more = self.combination.new_rows
        if more is not None and infos[more].size > infos[0].size:
            for start, count in pieces(infos[more].size - infos[0].size, 8):
                part = self._read(more, names[more], infos[0].size + start, count, hashes)
                check_finite(part.to(working), name, self.models[more].name)
                yield _bytes(cast_to(part, final, name))
        for number, (there, digest) in enumerate(zip(names, hashes.digests(), strict=True)):
            self._hashes[number][there] = digest

    def _read(self, number: int, name: str, start: int, count: int, hashes: TensorHashes) -> torch.Tensor:
        model = self.models[number]
        part = model.read(name, start, count, self._rooms[number])
        hashes.update(number, part)
        return as_tensor(part, model.infos[name].dtype)


def _bytes(piece: torch.Tensor) -> memoryview:
    return piece.contiguous().view(torch.uint8).numpy().data


def _check_out(out: Path, models: Sequence[str | Path], overwrite: bool) -> None:
    for path in models:
        one, other = out.resolve(), Path(path).resolve()
        if one == other or one in other.parents:
            raise ConfigError(f"merge: {out} is or holds {path}, which is to be merged; choose another --out.")
    if out.exists() and not overwrite:
        raise ConfigError(f"merge: {out} exists; replace it with --force, or choose another --out.")
    if out.exists() and out.is_dir() == (out.suffix == ".safetensors"):
        kind = "a folder" if out.is_dir() else "a file"
        raise ConfigError(f"merge: {out} is {kind}, and would not be one after; choose another --out.")
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in (SINGLE, INDEX)):
        raise ConfigError(f"merge: {out} holds something else than a model and is not replaced; choose another --out.")


def _check_vocabularies(combination: Combination, models: Sequence[Checkpoint], *, said: bool) -> list[str]:
    """Return what to note of the tokenizers.

    Raises:
        DataError: They differ, and nobody said whose to keep.
    """
    notes = []
    first = models[0]
    for number, model in enumerate(models[1:], 1):
        mine, theirs = first.vocabulary(), model.vocabulary()
        if mine == theirs:
            continue
        if not (mine and theirs):
            without = model if mine else first
            notes.append(f"{without.name} has no tokenizer: that its token numbers are the same is not checked.")
            continue
        same = bool(first.pieces_of_text()) and first.pieces_of_text() == model.pieces_of_text()
        if same and number == combination.new_rows:
            notes.append(f"The tokenizer of {model.name} has the same pieces and other added tokens or settings.")
        elif said:
            notes.append(f"The tokenizers of {model.name} and {first.name} differ.")
        else:
            names = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
            raise DataError(
                f"{names[0]} differs between {model.name} and {first.name}: the same number may stand for other text; "
                "if it does not, say whose tokenizer the result gets (--tokenizer-of)."
            )
    return notes


def _config_notes(models: Sequence[Checkpoint]) -> list[str]:
    first = models[0].config()
    notes = []
    for model in models[1:]:
        other = model.config()
        keys = sorted(
            key for key in first.keys() | other.keys() if key not in _PASSING and first.get(key) != other.get(key)
        )
        if first and other and keys:
            notes.append(f"config.json of {model.name} differs in {', '.join(keys)}.")
    return notes


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageFull(
            f"No room to write {needed / 1e9:.2f} GB beside {folder.parent}: {free / 1e9:.2f} GB are free; free some "
            "space, then merge again."
        )


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Give a folder to write to; at the end it, or the file in it, is renamed to ``out``."""
    folder = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    with storage(out, _AGAIN):
        folder.mkdir(parents=True)
        try:
            yield folder
            sync_folder(folder)
            if out.suffix == ".safetensors":
                for file in sorted(folder.iterdir(), key=lambda one: one.name == out.name):
                    os.replace(file, out.with_name(file.name))
            else:
                if out.exists():
                    os.replace(out, old)
                os.replace(folder, out)
            sync_folder(out.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _finish(
    folder: Path, out: Path, beside: Checkpoint, dtype: str | None, infos: dict[str, TensorInfo], record: Merged
) -> None:
    """Write what belongs beside the weights."""
    if out.suffix == ".safetensors":
        write_json(folder / f"{out.stem}.merge.json", asdict(record))
        return
    anchor_files = sorted(file.name for file in folder.glob("*.safetensors"))
    if len(anchor_files) > 1:
        table = {name: file for file in anchor_files for name in _tensors_of(folder / file)}
        index = {"metadata": {"total_size": record.bytes}, "weight_map": dict(sorted(table.items()))}
        write_json(folder / INDEX, index)
    for pattern in _BESIDE:
        for file in sorted(beside.folder.glob(pattern)):
            if file.is_file() and not fnmatch.fnmatch(file.name, "*.index.json"):
                place = folder / file.relative_to(beside.folder)
                place.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, place)
    config = folder / "config.json"
    if dtype is not None and config.exists():
        content = json.loads(config.read_text(encoding="utf-8"))
        for key in ("torch_dtype", "dtype"):
            if key in content:
                content[key] = dtype
        write_json(config, content)
    write_json(folder / "merge.json", asdict(record))


def _tensors_of(path: Path) -> list[str]:
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return [name for name in header if name != "__metadata__"]
