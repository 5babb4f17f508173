"""The workload that goes on where a run stopped: its model and tokenizer, other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.registry import find
from tutelage.specs import parse_spec
from tutelage.training.folder import read_run, run_folder
from tutelage.workloads import from_spec
from tutelage.workloads._protocol import WorkloadPart


def continuing(spec: str, run: str | Path, **overrides: Any) -> WorkloadPart:
    """Return the workload of a spec with the model and the tokenizer of a run, to train on from its weights.

    Args:
        spec: The new workload, such as ``text-lm:data=new.jsonl,replay=old.jsonl``; what it says itself stays.
        run: Run folder, or one of its folders of checkpoints.
        **overrides: Arguments that win over the spec's; see :func:`tutelage.workloads.from_spec`.

    Returns:
        Settings; a workload of another kind than the run's, or one that takes nothing over, is as its spec says.

    Raises:
        DataNotFound: There is no run.
        CorruptRun: It cannot be read.
        UnknownPart: No such workload; names the nearest.
        ConfigError: Every fault of the spec in one message.

    Example:
        >>> import tempfile
        >>> from tutelage import train
        >>> from tutelage.workloads import prepare
        >>> folder = tempfile.mkdtemp() + "/first"
        >>> first = prepare("text-lm:tokenizer=bytes,context=16,validation_windows=4")
        >>> _ = train(first, "infinite", budget="3steps", out=folder)
        >>> continuing("text-lm:validation_windows=2", folder).spec
        'text-lm:context=16,tokenizer=bytes,validation_windows=2'
    """
    parsed = parse_spec(spec)
    folder = run_folder(run)
    record = read_run(folder)
    part = find("workloads", parsed.name).load()
    take_over = getattr(part, "continued", None)
    if take_over is None or record.workload not in getattr(part, "continues", (parsed.name,)):
        return from_spec(spec, **overrides)
    chosen = {**parsed.arguments, **{name: value for name, value in overrides.items() if value is not None}}
    # A model of one's own choice brings its own sizes and tokenizer.
    taken = {} if "model" in chosen else take_over(record, folder)
    kept = {name: value for name, value in taken.items() if name not in chosen}
    if {"tokenizer", "vocabulary"} & set(chosen):
        kept.pop("tokenizer", None)
    return from_spec(spec, **overrides, **kept)
