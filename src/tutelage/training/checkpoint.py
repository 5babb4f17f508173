"""Checkpoints: weights and exact state in safetensors and JSON, complete or absent, never half.

A checkpoint is a folder ``step-00000300`` with ``model.safetensors``, ``optimizer.safetensors``, ``state.json`` and a
``manifest.json`` of their hashes. It is written under a temporary name, flushed and renamed, so a kill at any moment
leaves the one before. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tutelage.errors import CorruptRun, StorageFull
from tutelage.training.storage import storage, sync_folder, write_json

FORMAT = 1


class NewerFormat(CorruptRun):
    """A checkpoint that a later version of this library wrote."""


_FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def flatten(state: Any, prefix: str = "") -> tuple[dict[str, torch.Tensor], Any]:
    """Split nested state into its tensors by path and a JSON-able skeleton that refers to them.

    Tuples become lists and integer keys are kept as such in the skeleton.
    """
    tensors: dict[str, torch.Tensor] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, torch.Tensor):
            tensors[path] = value.detach().cpu().contiguous().clone()
            return {"__tensor__": path}
        if isinstance(value, Mapping):
            return {"__items__": [[key, walk(item, f"{path}.{key}")] for key, item in value.items()]}
        if isinstance(value, (list, tuple)):
            return [walk(item, f"{path}.{index}") for index, item in enumerate(value)]
        return value

    skeleton = walk(state, prefix or "state")
    return tensors, skeleton


def unflatten(tensors: Mapping[str, torch.Tensor], skeleton: Any) -> Any:
    """Put together what :func:`flatten` took apart; tensors are copies of their own."""
    if isinstance(skeleton, dict):
        if "__tensor__" in skeleton:
            # A copy has the allocator's alignment; one that maps the file may round differently in vector code.
            return tensors[skeleton["__tensor__"]].clone()
        return {key: unflatten(tensors, item) for key, item in skeleton["__items__"]}
    if isinstance(skeleton, list):
        return [unflatten(tensors, item) for item in skeleton]
    return skeleton


def save(
    folder: Path,
    step: int,
    model: Mapping[str, torch.Tensor],
    optimizer: Any,
    state: Mapping[str, Any],
    *,
    keep: int = 2,
) -> Path:
    """Write a checkpoint; drop the oldest beyond ``keep``, and newer ones, which a resumed run had to pass over.

    Args:
        folder: The run's ``checkpoint`` folder.
        step: Updates made.
        model: State dict of the model.
        optimizer: Nested state of optimizer and whatever else holds tensors.
        state: JSON-able state.
        keep: Newest checkpoints to keep, >= 1.

    Returns:
        The checkpoint's folder.

    Raises:
        StorageFull: No space is left; earlier checkpoints are intact.
    """
    from safetensors.torch import save as encode

    final = folder / f"step-{step:08d}"
    temporary = folder / f".writing-{os.getpid()}"
    tensors, skeleton = flatten(optimizer)
    weights, model_skeleton = flatten(dict(model), "model")
    content = {
        "model.safetensors": encode(weights),
        "optimizer.safetensors": encode(tensors),
        "state.json": json.dumps({"state": dict(state), "optimizer": skeleton, "model": model_skeleton}).encode(),
    }
    try:
        with storage(final):
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".writing-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            temporary.mkdir()
            for name, data in content.items():
                with open(temporary / name, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            hashes = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
            write_json(temporary / "manifest.json", {"format": FORMAT, "step": step, "sha256": hashes})
            sync_folder(temporary)
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
            sync_folder(folder)
    except StorageFull:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    every = checkpoints(folder)
    place = every.index(final) + 1
    for stale in every[: max(0, place - keep)] + every[place:]:
        shutil.rmtree(stale, ignore_errors=True)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir()) if folder.exists() else []


def load(path: Path) -> tuple[dict[str, torch.Tensor], Any, dict[str, Any]]:
    """Read a checkpoint and check every file against its hash.

    Returns:
        The model's state dict, the nested optimizer state, the JSON state.

    Raises:
        CorruptRun: A file is missing, truncated or altered, or the format is a newer one.
    """
    from safetensors.torch import load as decode

    try:
        manifest = json.loads((path / "manifest.json").read_text())
        if manifest["format"] > FORMAT:
            raise NewerFormat(
                f"{path} has format {manifest['format']}, newer than this version reads ({FORMAT}); upgrade tutelage."
            )
        content = {name: (path / name).read_bytes() for name in _FILES}
        for name, data in content.items():
            if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
                raise CorruptRun(f"{path / name} is damaged (its hash is not the one recorded)")
        record = json.loads(content["state.json"])
        model = unflatten(decode(content["model.safetensors"]), record["model"])
        optimizer = unflatten(decode(content["optimizer.safetensors"]), record["optimizer"])
        return model, optimizer, record["state"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptRun(f"{path} is incomplete ({error})") from error


def load_newest(folder: Path) -> tuple[Path, dict[str, torch.Tensor], Any, dict[str, Any], list[str]] | None:
    """Read the newest sound checkpoint of a run.

    Returns:
        Its path, the three parts of :func:`load` and a sentence for each damaged one passed over; ``None`` where the
        run has no checkpoint at all.

    Raises:
        CorruptRun: There are checkpoints and none is sound, or the newest has a newer format.
    """
    faults: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            model, optimizer, state = load(path)
        except NewerFormat:
            raise  # nothing is damaged: going back to an older one would throw updates away
        except CorruptRun as error:
            faults.append(str(error))
            continue
        return path, model, optimizer, state, faults
    if faults:
        raise CorruptRun(
            f"No sound checkpoint is left: {'; '.join(faults)}. Delete {folder} to start this run again from its "
            "beginning."
        )
    return None
