"""Starting from the weights of another run: found, checked to fit, and recorded, so that arms can share them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.specs import parse_spec
from tutelage.training import checkpoint
from tutelage.training.folder import CHECKPOINTS, FILES, RUN_FILE, RunRecord, read_result, read_run, run_folder
from tutelage.training.recipe import Recipe
from tutelage.training.storage import write_atomically

if TYPE_CHECKING:
    from tutelage.workloads import Workload

_MANIFEST = "manifest.json"


def find_start(choice: Recipe, workload: Workload, seed: int) -> dict[str, Any]:
    """Return what a run's record says about the weights it starts from; empty where they are fresh.

    Args:
        choice: The run's recipe.
        workload: The run's workload.
        seed: The run's seed, which ``{seed}`` in ``from_run`` stands for.

    Returns:
        ``path`` of the checkpoint, ``step`` it was made at, ``weights`` (hash of the model's file) and ``hash`` of all
        that is taken over.

    Raises:
        DataNotFound: There is no run, or it keeps no weights.
        ConfigError: It diverged, or another tokenizer or optimizer stands in the way.
        CorruptRun: The checkpoint cannot be read.
    """
    if choice.from_run is None:
        return {}
    path = checkpoint_of(Path(choice.from_run.replace("{seed}", str(seed))).expanduser())
    folder = run_folder(path)
    record, result = read_run(folder), read_result(folder)
    if result is not None and result["diverged"] and path.parent.name == CHECKPOINTS:
        raise ConfigError(f"The run in {folder} diverged; start from another one.")
    _check_files(folder, workload)
    if choice.keep_optimizer:
        _check_optimizer(record, choice, workload, folder)
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        hashes, step = manifest["sha256"], int(manifest["step"])
        weights = str(hashes["model.safetensors"])[:16]
        taken = [weights, str(hashes["optimizer.safetensors"])[:16]] if choice.keep_optimizer else [weights]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptRun(f"{path} is incomplete ({error}); start from another checkpoint.") from error
    whole = hashlib.blake2b(json.dumps(taken).encode(), digest_size=8).hexdigest()
    return {"path": os.path.abspath(path), "step": step, "weights": weights, "hash": whole}


def load_start(record: RunRecord, choice: Recipe, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the weights a run starts from into its model, and the moments into its optimizer where they are kept.

    Raises:
        ConfigError: The weights do not fit the model, or are no longer those the run was begun with.
        CorruptRun: The checkpoint cannot be read.
    """
    path = Path(record.start["path"])
    weights, tensors, _ = checkpoint.load(path)
    if str(_weights_hash(path)) != record.start["weights"]:
        raise ConfigError(f"{path} holds other weights than when this run began; begin it anew with --force.")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        # The first fault says it; a line for each weight would say no more.
        text = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise ConfigError(
            f"The weights in {path} do not fit the workload's model ({text.rstrip('.')}); give it the size and the "
            "tokenizer of the run they come from."
        ) from error
    if choice.keep_optimizer:
        # The moments are the other run's; rates, decay and the rest are this recipe's.
        stored = tensors["optimizer"]["state"]
        groups = optimizer.state_dict()["param_groups"]
        try:
            optimizer.load_state_dict({"state": stored, "param_groups": groups})
        except (ValueError, KeyError, RuntimeError) as error:
            raise ConfigError(
                f"The optimizer state in {path} does not fit ({error}); leave out keep_optimizer."
            ) from error


def store_files(folder: Path, workload: Workload) -> None:
    """Keep the files of the workload's model in the run folder, for those who train on from it.

    Raises:
        StorageFull: No space is left.
    """
    for name, content in workload.files.items():
        place = folder / FILES / name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, content)


def checkpoint_of(path: Path) -> Path:
    """Return the newest checkpoint of a run folder, of a folder of checkpoints, or the one given.

    Raises:
        DataNotFound: There is none.
    """
    if (path / _MANIFEST).is_file():
        return path
    is_run = (path / RUN_FILE).is_file()
    kept = checkpoint.checkpoints(path / CHECKPOINTS if is_run else path)
    if kept:
        return kept[-1]
    if is_run:
        raise DataNotFound(f"The run in {path} keeps no weights; train it again with keep_weights=True.")
    raise DataNotFound(
        f"{path}: no run and no checkpoint is there. Give a run folder, its plateau folder or a checkpoint."
    )


def _check_files(folder: Path, workload: Workload) -> None:
    stored = {item.name: item.read_bytes() for item in (folder / FILES).glob("*")}
    for name in sorted({*stored, *workload.files}):
        if stored.get(name) != workload.files.get(name):
            raise ConfigError(
                f"The weights of {folder} were learned with another {name} than this workload has; take over that "
                f"run's, as in text-lm:tokenizer={folder}."
            )


def _check_optimizer(record: RunRecord, choice: Recipe, workload: Workload, folder: Path) -> None:
    before = parse_spec(Recipe.parse(record.phases[-1].recipe).optimizer or workload.optimizer).name
    now = parse_spec(choice.optimizer or workload.optimizer).name
    if before != now:
        raise ConfigError(
            f"keep_optimizer takes over the state of {before}, with which {folder} was trained, and this recipe uses "
            f"{now}; leave it out, or use {before}."
        )


def _weights_hash(path: Path) -> str:
    digest: str = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["sha256"]["model.safetensors"]
    return digest[:16]
