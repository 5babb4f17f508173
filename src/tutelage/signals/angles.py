"""AngleConcentration: how alike the directions of a text's hidden states are, from one forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._language_model import LanguageModel, opened
from tutelage.signals._protocol import Batch, Direction, Scored, spec_of
from tutelage.signals._words import texts_of
from tutelage.signals.text_loss import check_batch_tokens

if TYPE_CHECKING:
    from tutelage.signals._angle_scores import TextAngles

Term = Literal["total", "intra", "inter"]


@dataclass(frozen=True, kw_only=True, repr=False)
class AngleConcentration:
    """How concentrated the directions of a prompt's hidden states are: the learning-order signal of GAIN-RL.

    No label, no generation and no backward pass: the larger it is, the larger gradients the prompt makes, all else
    equal, and the earlier GAIN-RL trains on it.

    **Formula**: ``x_i`` what the MLP of the last decoder layer reads at token ``i``, ``u_i = x_i / |x_i|``, ``P`` the
    prefix (system prompt, solved examples) and ``Q`` the question::

        intra = mean over i, j in Q of u_i . u_j            inter = mean over i in Q, j in P of u_i . u_j
        total = intra + inter

    Why: for a linear map ``y_i = W x_i`` with gradients ``d_i`` at its output, exactly ``||dL/dW||_F^2 = sum over i, j
    of |x_i| |x_j| cos(x_i, x_j) <d_i, d_j>``. The means come from the norms of summed unit vectors, in ``O(length
    width)``; the matrix of cosines is never made, and the pass ends where the layer has been read.

    Args:
        model: As for :class:`Loss`. The paper uses the model that will be trained, before training.
        term: ``"total"``, the paper's ranking, or one of its two terms.
        layer: ``"last-mlp"``, the paper's choice, or the dotted name of a module whose input is read, such as
            ``model.layers.3.mlp.up_proj``.
        pairs: ``"all"`` pairs of question tokens, each with itself included, or ``"causal"``: only ``j < i``.
        column: Column with the question.
        prefix: Column with the prefix, cut into tokens apart from the question; ``None`` for none.
        template: Text that stands before every question, as prefix; not together with ``prefix``.
        batch_tokens: Places of a batch at most, padding included.

    Returns:
        ``score(batch)``: float64 ``(n,)``; ``intra`` in [0, 1] for all pairs, ``inter`` in [-1, 1]; high = easy (to be
        learned first). NaN for a question without tokens (``"causal"``: fewer than two). ``terms(batch)`` returns all
        three.

    Raises:
        ValueError: An unknown term or choice of pairs, ``inter`` without a prefix, ``prefix`` and ``template`` both.
        ConfigError: A layer that is not there, or a prefix that leaves no room in the context.
        DataNotFound: There is no such model.
        BadRow: A value that is no text.

    Example:
        >>> import torch
        >>> from tutelage.models import Decoder, DecoderConfig
        >>> from tutelage.signals import language_model
        >>> _ = torch.manual_seed(0)
        >>> module = Decoder(DecoderConfig.preset("nano", vocabulary_size=257))
        >>> model = language_model(module, lambda texts: [list(text.encode()) for text in texts])
        >>> scores = AngleConcentration(model=model).score({"text": ["aaaa", "abcd"]})
        >>> bool(scores[0] > 0.99 > 0.5 > scores[1])  # one direction, four directions
        True

    Use with:
        ``tutelage score data.jsonl --signal angle:model=DIR,column=question``; the GAIN-RL curriculum takes the score.
        In a loop of your own :class:`AngleProbe` reads it off the passes that are made anyway.

    Helps / does not help:
        Depends on length (short questions have fewer pairs of unlike tokens) and on the template: rank within one
        template and look at the correlation with length. A question beyond the context is cut at its end.

    Relations:
        :class:`Loss` costs a little more: it goes on to the output layer.

    Source:
        GAIN-RL: Angles don't lie, 2025, arXiv 2506.02281. Layer and sum of two terms checked in the authors' code
        (wangqinsi1/GAINRL, ``data_processor.py``); their exact means are from memory of the paper. That code differs
        from the definition (fixed prefix of 110 tokens, rows sliced twice and columns never, the prefix term times 8);
        the definition is what is computed here. The start token counts as prefix where there is one, else for nothing.
    """

    spec_name: ClassVar[str] = "angle"
    direction: ClassVar[Direction] = "easy"
    per_example: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("batch_tokens",)

    model: str | LanguageModel
    term: Term = "total"
    layer: str = "last-mlp"
    pairs: Literal["all", "causal"] = "all"
    column: str = "text"
    prefix: str | None = None
    template: str | None = None
    batch_tokens: int = 4096

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.term not in ("total", "intra", "inter"):
            raise ValueError(f'AngleConcentration: term must be total, intra or inter, got "{self.term}".')
        if self.pairs not in ("all", "causal"):
            raise ValueError(f'AngleConcentration: pairs must be "all" or "causal", got "{self.pairs}".')
        if self.prefix is not None and self.template is not None:
            raise ValueError("AngleConcentration: give prefix (a column) or template (a text), not both.")
        if self.term == "inter" and self.prefix is None and self.template is None:
            raise ValueError("AngleConcentration: term=inter needs prefix (a column) or template (a text).")
        check_batch_tokens("AngleConcentration", self.batch_tokens)

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns of question and prefix."""
        return (self.column,) if self.prefix is None else (self.column, self.prefix)

    def scored(self, batch: Batch) -> Scored:
        """Return the chosen term of each row, and what it cost."""
        found = self._run(batch)
        return Scored(getattr(found.scores, self.term), tokens=found.read, forward_passes=found.passes)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the chosen term of each row."""
        return self.scored(batch).values

    def terms(self, batch: Batch) -> dict[Term, NDArray[np.float64]]:
        """Return ``intra``, ``inter`` and ``total`` of each row, from one pass."""
        found = self._run(batch).scores
        return {"intra": found.intra, "inter": found.inter, "total": found.total}

    def _run(self, batch: Batch) -> TextAngles:
        from tutelage.signals._angle_scores import text_angles

        questions = texts_of(batch, self.column)
        prefixes = None if self.prefix is None else texts_of(batch, self.prefix)
        if self.template is not None:
            prefixes = [self.template] * len(questions)
        return text_angles(
            opened(self.model),
            questions,
            prefixes,
            layer=self.layer,
            pairs=self.pairs,
            batch_tokens=self.batch_tokens,
        )

    def fingerprint(self) -> str:
        """Return a hash of the model."""
        return opened(self.model).fingerprint
