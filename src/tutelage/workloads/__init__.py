"""What is learned, and how is learning measured? Data + model + loss + metrics.

>>> names()
['breast-cancer', 'digits', 'instructions', 'sequence-copy', 'text-classification', 'text-lm']
>>> from_spec("digits", net="mlp").net
'mlp'
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError
from tutelage.lazy import lazy_attributes
from tutelage.registry import entries, find
from tutelage.specs import PartSpec, build, parse_spec
from tutelage.workloads._protocol import Batch, EvaluationSet, ExampleStore, Workload, WorkloadPart

if TYPE_CHECKING:
    from tutelage.workloads._continuing import continuing
    from tutelage.workloads.breast_cancer import BreastCancer
    from tutelage.workloads.custom import from_torch
    from tutelage.workloads.data import open_data, read_table, read_texts
    from tutelage.workloads.digits import Digits
    from tutelage.workloads.instructions import Instructions, instruction_prompt
    from tutelage.workloads.probe_text import write_probe_text
    from tutelage.workloads.sequence_copy import SequenceCopy
    from tutelage.workloads.stores import DatasetStore, RaggedStore, TensorStore, WindowStore
    from tutelage.workloads.text_classification import TextClassification
    from tutelage.workloads.text_lm import TextLM

_LAZY = {
    "BreastCancer": "breast_cancer",
    "DatasetStore": "stores",
    "Digits": "digits",
    "Instructions": "instructions",
    "RaggedStore": "stores",
    "SequenceCopy": "sequence_copy",
    "TensorStore": "stores",
    "TextClassification": "text_classification",
    "TextLM": "text_lm",
    "WindowStore": "stores",
    "continuing": "_continuing",
    "from_torch": "custom",
    "instruction_prompt": "instructions",
    "open_data": "data",
    "read_table": "data",
    "read_texts": "data",
    "write_probe_text": "probe_text",
}

__all__ = [
    "Batch",
    "BreastCancer",
    "DatasetStore",
    "Digits",
    "EvaluationSet",
    "ExampleStore",
    "Instructions",
    "RaggedStore",
    "SequenceCopy",
    "TensorStore",
    "TextClassification",
    "TextLM",
    "WindowStore",
    "Workload",
    "WorkloadPart",
    "continuing",
    "from_spec",
    "from_torch",
    "instruction_prompt",
    "names",
    "open_data",
    "prepare",
    "read_table",
    "read_texts",
    "write_probe_text",
]


__getattr__ = lazy_attributes(__name__, _LAZY)


def names() -> list[str]:
    """Return the spec names of all workloads, plug-ins included."""
    return list(entries("workloads"))


def from_spec(spec: str, **overrides: Any) -> WorkloadPart:
    """Return the workload settings a spec such as ``text-lm:data=notes.jsonl,context=256`` names.

    Args:
        spec: ``NAME[:ARGUMENT=VALUE,...]``.
        **overrides: Arguments as Python values, which win over the spec's; a path with a comma or an equals sign can
            only be given here. Those that are ``None`` are left out; text is read as in a spec where it has to be.

    Raises:
        UnknownPart: No such workload; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    parsed = parse_spec(spec)
    part: type[Any] = find("workloads", parsed.name).load()
    known = {item.name: item for item in dataclasses.fields(part) if item.init}
    given = {key: value for key, value in overrides.items() if value is not None}
    # Text for a field that is no text goes the way of a spec, as do unknown names, so that their faults read the same.
    spelled = {
        key: str(value)
        for key, value in given.items()
        if key not in known or (isinstance(value, str) and "str" not in str(known[key].type))
    }
    arguments = {key: value for key, value in parsed.arguments.items() if key not in given} | spelled
    values = {key: value for key, value in given.items() if key not in spelled}
    settings: WorkloadPart = build(part, PartSpec(parsed.name, arguments), defaults=values)
    return settings


def prepare(workload: str | WorkloadPart | Workload, **overrides: Any) -> Workload:
    """Return a workload that is ready to train, from a spec, settings, or one that is ready already.

    Args:
        workload: A spec string, a settings object such as :class:`TextLM`, or a :class:`Workload`.
        **overrides: Arguments that win over a spec's (:func:`from_spec`).

    Raises:
        UnknownPart: No such workload; names the nearest.
        ConfigError: A spec or setting that cannot be used.
        DataNotFound: Data or model are not where they were said to be.
        DataError: The data cannot be used; names file and line or row.

    Example:
        >>> ready = prepare("digits:net=mlp")
        >>> ready.name, len(ready.train), len(ready.validation)
        ('digits', 1437, 360)
    """
    if isinstance(workload, str):
        return from_spec(workload, **overrides).prepare()
    if overrides:
        raise ConfigError(f"{', '.join(overrides)}: only a spec takes arguments, not a {type(workload).__name__}.")
    return workload if isinstance(workload, Workload) else workload.prepare()
