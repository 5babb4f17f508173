"""open_language_model: the causal language model that a folder, a hub id or a run holds, ready to score text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.registry import find
from tutelage.training import checkpoint
from tutelage.training.folder import CHECKPOINTS, RUN_FILE, read_run, run_folder

if TYPE_CHECKING:
    from torch import nn

    from tutelage.signals._language_model import LanguageModel
    from tutelage.workloads._tokens import TextCodec
    from tutelage.workloads._transformers import HubModel

#: Workloads whose runs hold a language model.
_LANGUAGE = ("text-lm", "instructions")


def open_language_model(name: str) -> LanguageModel:
    """Return the language model called ``name``, in evaluation mode.

    Args:
        name: A run folder of ``text-lm`` or ``instructions`` (its newest weights) or one of its checkpoints; else a
            folder that ``save_pretrained`` wrote, or a hub id.

    Raises:
        ConfigError: A run of another workload.
        DataNotFound: Nothing of that name, or a run without weights or tokenizer.
        CorruptRun: A checkpoint that cannot be read or does not fit its model.
        DataError: Weights that are pickled, or files that cannot be read.
    """
    from tutelage.workloads._transformers import HubModel

    path = Path(name).expanduser()
    if path.is_dir() and any((folder / RUN_FILE).is_file() for folder in (path, *list(path.parents)[:2])):
        return _from_run(path)
    hub = HubModel(name, "pretrained")
    start = hub.tokenizer.bos_token_id
    return _ready(hub.causal_lm(), _codec(hub), start, _positions(hub), name, hub.tokenizer_digest())


def _from_run(path: Path) -> LanguageModel:
    from tutelage.workloads._codecs import codec_of
    from tutelage.workloads._transformers import HubModel

    folder = run_folder(path)
    record = read_run(folder)
    if record.workload not in _LANGUAGE:
        raise ConfigError(
            f"The run in {folder} is of {record.workload}, which trains no language model; "
            f"those of {' and '.join(_LANGUAGE)} do."
        )
    part: Any = find("workloads", record.workload).load()
    settings = part(**_typed(part, part.continued(record, folder)))
    if settings.model is not None:
        # The weights are the run's, so the folder's own would be read for nothing.
        hub = HubModel(settings.model, "random")
        module, codec, start = hub.causal_lm(), _codec(hub), hub.tokenizer.bos_token_id
        context, tokens = _positions(hub), hub.tokenizer_digest()
    else:
        from tutelage.models.decoder import Decoder, DecoderConfig

        found = codec_of(settings.tokenizer, settings.vocabulary)
        codec, tokens = found.make(iter(())), found.key
        config = DecoderConfig.preset(
            settings.size, vocabulary_size=codec.vocabulary_size, context=settings.context, fused=True
        )
        module, start, context = Decoder(config), codec.separator, settings.context
    weights = _weights(path, folder)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        told = str(error).splitlines()[0]
        raise CorruptRun(f"The weights in {path} do not fit the model of their run: {told}") from error
    return _ready(module, codec, start, context, str(path), tokens)


def _typed(part: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a run's arguments as a part takes them; what comes from its spec is text."""
    from tutelage.specs import PartSpec, build

    built = build(part, PartSpec(part.spec_name, {name: str(value) for name, value in arguments.items()}))
    return {name: getattr(built, name) for name in arguments}


def _weights(path: Path, folder: Path) -> dict[str, Any]:
    if path.name.startswith("step-"):
        return checkpoint.load(path)[0]
    newest = checkpoint.load_newest(folder / CHECKPOINTS)
    if newest is None:
        raise DataNotFound(f"The run in {folder} keeps no weights; train it with checkpoints.")
    return newest[1]


def _codec(hub: HubModel) -> TextCodec:
    from tutelage.workloads._transformers import HubCodec

    return HubCodec(hub)


def _positions(hub: HubModel) -> int | None:
    found = getattr(hub.config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def _ready(
    module: nn.Module, codec: TextCodec, start: int | None, context: int | None, name: str, tokens: str
) -> LanguageModel:
    from tutelage.signals._language_model import LanguageModel, weights_digest
    from tutelage.workloads._cache import content_key

    fingerprint = content_key(weights_digest(module), tokens)
    return LanguageModel(module.eval(), codec.encode, start, context, name, fingerprint)
