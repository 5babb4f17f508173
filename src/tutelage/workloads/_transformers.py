"""Models of the transformers library: found locally first, weights from safetensors only, every fault in one line."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, DataError, DataNotFound, did_you_mean
from tutelage.workloads._cache import content_key, file_digest

#: How the library's classifiers call what sits on top; these weights may be fresh.
_HEADS = ("classifier", "score", "pooler", "pre_classifier", "classification_head", "sequence_summary", "bert.pooler")
Init = Literal["pretrained", "random"]


class HubModel:
    """A model folder or hub id: its configuration and tokenizer, and fresh models of it.

    Args:
        model: Folder that ``save_pretrained`` wrote, or a hub id, looked for in the local cache before the hub.
        init: ``"pretrained"`` weights, or ``"random"`` ones of the same shape.
        tokenizer: Whether a tokenizer must come with it.

    Raises:
        DataNotFound: There is no such folder or id, or it lacks configuration, tokenizer or weights.
        DataError: Weights that are pickled, or files that cannot be read.
    """

    def __init__(self, model: str, init: Init) -> None:
        self.name = model
        self.init = init
        self.folder = _local_folder(model)
        if self.folder is not None:
            _check_folder(self.folder, init)
        self.config = self._load("AutoConfig", "configuration")
        self.tokenizer = self._load("AutoTokenizer", "tokenizer")
        size, known = self.vocabulary_size, len(self.tokenizer)
        if known > size:
            raise ConfigError(
                f"{model}: its tokenizer has {known} tokens, its model only {size}; they do not belong together."
            )

    @property
    def vocabulary_size(self) -> int:
        """Tokens the model has embeddings for."""
        return int(self.config.get_text_config().vocab_size)

    def check_context(self, context: int, argument: str) -> None:
        """Refuse more tokens than the model has positions for.

        Raises:
            ConfigError: Naming both numbers.
        """
        longest = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        if isinstance(longest, int) and 0 < longest < context:
            raise ConfigError(f"{argument} must be <= {longest}, the positions of {self.name}, got {context}.")

    def causal_lm(self) -> Any:
        """Return a fresh causal language model in float32."""
        model = self._make("AutoModelForCausalLM", copy.deepcopy(self.config))
        model.config.use_cache = False
        return model

    def sequence_classifier(self, labels: int) -> Any:
        """Return a fresh classifier over ``labels`` labels in float32; a head of another size is made anew."""
        config = self._load("AutoConfig", "configuration", num_labels=labels)
        config.pad_token_id = self.padding
        return self._make("AutoModelForSequenceClassification", config, _HEADS, ignore_mismatched_sizes=True)

    @property
    def padding(self) -> int:
        """Token that fills up short texts: the tokenizer's own, else the one that ends a text."""
        for name in ("pad_token_id", "eos_token_id", "sep_token_id"):
            value = getattr(self.tokenizer, name, None)
            if value is not None:
                return int(value)
        raise ConfigError(
            f"{self.name}: its tokenizer has neither a padding nor an end token; set tokenizer.pad_token."
        )

    def digest(self) -> str:
        """Return a hash of configuration, tokenizer, and weights where they are used."""
        config = {
            key: value
            for key, value in self.config.to_dict().items()
            if key not in ("_name_or_path", "transformers_version")
        }
        weights: list[str] = []
        if self.init == "pretrained" and self.folder is not None:
            weights = [file_digest(path) for path in sorted(self.folder.glob("*.safetensors"))]
        elif self.init == "pretrained":
            weights = [str(getattr(self.config, "_commit_hash", self.name))]
        return content_key(
            json.dumps(config, sort_keys=True, default=str), self.init, self.tokenizer_digest(), *weights
        )

    def tokenizer_digest(self) -> str:
        """Return a hash of everything that decides which tokens a text becomes."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        text = backend.to_str() if backend is not None else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        marks = [getattr(self.tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "sep", "cls", "pad")]
        settings = (type(self.tokenizer).__name__, marks, self.tokenizer.truncation_side, self.vocabulary_size)
        return hashlib.sha256(f"{text}{settings}".encode()).hexdigest()

    def _make(self, auto: str, config: Any, new_head: tuple[str, ...] = (), **settings: Any) -> Any:
        import transformers

        factory = getattr(transformers, auto)
        try:
            if self.init == "random":
                return factory.from_config(config).float()
            model, info = self._load(
                auto, "weights", config=config, use_safetensors=True, output_loading_info=True, **settings
            )
            missing = sorted(name for name in info["missing_keys"] if not name.startswith(new_head))
            if missing:
                raise DataError(
                    f"{self.name}: its weights lack {len(missing)} tensors of a {type(model).__name__}, "
                    f"such as {missing[0]}."
                )
            return model.float()
        except ValueError as error:
            # The library's answer to a kind of model it has no such head for lists all it has: hundreds of names.
            if "Unrecognized configuration class" in str(error):
                raise ConfigError(
                    f"{self.name} is a {config.model_type} model, which transformers cannot load as {auto}."
                ) from error
            raise

    def _load(self, auto: str, what: str, **settings: Any) -> Any:
        import transformers

        load: Callable[..., Any] = getattr(transformers, auto).from_pretrained
        with _quiet():
            if self.folder is not None:
                try:
                    return load(str(self.folder), local_files_only=True, **settings)
                except Exception as error:  # transformers, safetensors and tokenizers each raise classes of their own
                    if "Unrecognized configuration class" in str(error):
                        raise
                    raise DataError(f"{self.folder}: its {what} cannot be loaded: {_first_line(error)}") from error
            try:
                return load(self.name, local_files_only=True, **settings)
            except OSError:
                try:
                    return load(self.name, **settings)
                except OSError as error:
                    raise DataNotFound(
                        f'No model "{self.name}": there is no folder {Path(self.name).absolute()}, it is not in '
                        f"the local Hugging Face cache, and the hub did not give its {what}: {_first_line(error)}"
                    ) from error


class HubCodec:
    """The tokenizer of a transformers model; documents are separated by its end token.

    Args:
        model: The model.
    """

    def __init__(self, model: HubModel) -> None:
        tokenizer = model.tokenizer
        self.tokenizer = tokenizer
        self.vocabulary_size = model.vocabulary_size
        ends = (tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id)
        self.separator: int | None = next((int(token) for token in ends if token is not None), None)

    def encode(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """Return the tokens of each text, without added ones."""
        sayable = [text.encode("utf-8", "replace").decode() for text in texts]
        return list(self.tokenizer(sayable, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def token_bytes(self) -> NDArray[np.float64] | None:
        """Return ``None``: tokenizers differ in what a token stands for."""
        return None

    def save(self, folder: Path) -> None:
        """Store nothing: the tokenizer stays where it is."""


def _local_folder(model: str) -> Path | None:
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise DataError(f"model={model} is a file; give the folder it is in, as save_pretrained writes it.")
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model) and not model.startswith("."):
        return None
    near = did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else [])
    raise DataNotFound(
        f"No model folder {path.absolute()}.{near} Give a folder that save_pretrained wrote, "
        "or a hub id such as owner/name."
    )


def _check_folder(folder: Path, init: Init) -> None:
    present = sorted(path.name for path in folder.iterdir())
    if "config.json" not in present:
        shown = ", ".join(present[:8]) or "nothing"
        raise DataNotFound(f"{folder} is no model folder: config.json is missing. It holds: {shown}.")
    if not any(re.search(r"token|vocab|piece|merges", name) for name in present):
        # Without these files the library would return an empty tokenizer as if nothing were wrong.
        raise DataNotFound(f"{folder} has no tokenizer (tokenizer.json); add one: tokenizer.save_pretrained(folder).")
    if init == "pretrained" and not any(name.endswith(".safetensors") for name in present):
        pickled = next((name for name in present if name.endswith((".bin", ".pt", ".pth"))), None)
        if pickled is not None:
            raise DataError(
                f"{folder} holds {pickled}, which is pickled and could run code when loaded; only safetensors are "
                "read. Convert it where you trust it: model.save_pretrained(folder)."
            )
        raise DataNotFound(
            f"{folder} has no weights (*.safetensors); to train its architecture from scratch, set init=random."
        )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars and notices off the terminal; a new head's fresh weights are no news here."""
    from transformers.utils import logging

    library: Any = logging  # its functions carry no types
    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()
