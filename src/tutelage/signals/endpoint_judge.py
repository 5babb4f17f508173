"""EndpointJudge: compares two texts by asking a language model behind an OpenAI-compatible address."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from tutelage.errors import ConfigError
from tutelage.signals._protocol import fingerprint_of

_LOG = logging.getLogger("tutelage.signals")
#: Answers that another attempt may change: the server is busy, slow or restarting.
_BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
_LETTER = re.compile(r"\b([AB])\b")
PROMPT = (
    "Compare two texts. {question} The length of the texts, their topic and the order in which they are shown must not "
    "matter.\n\nText A:\n{a}\n\nText B:\n{b}\n\nAnswer with the letter A or B alone."
)


@dataclass(frozen=True, kw_only=True)
class EndpointJudge:
    """A judge for :func:`judge_pairs`: a language model behind an address that speaks OpenAI's chat protocol.

    Such addresses are served by vLLM, llama.cpp, Ollama, TGI and most providers. What fails is tried again; what still
    fails has no answer, and the next call of :func:`judge_pairs` asks once more.

    **Formula**: with ``logprobs``, ``P(a) / (P(a) + P(b))`` from the probabilities of the letters A and B as the first
    token of the answer; else 1 or 0 by the letter it names.

    Args:
        url: The address up to ``/v1``, such as ``http://localhost:8000/v1``, or the whole of it.
        model: The name it goes by there.
        key_variable: Environment variable with the key, sent if it is set; a key never stands in a recipe or a file.
        prompt: What is asked, with ``{question}``, ``{a}`` and ``{b}``.
        characters: Of a text that are shown, from its beginning, >= 1.
        answer_tokens: Of an answer at most, >= 1; a model that thinks aloud first needs many.
        temperature: Of the answer, >= 0; above 0 where several votes are wanted.
        logprobs: Whether to ask for probabilities, which say more than a letter; not all servers give them, and where
            they do not, the letter counts.
        timeout: Seconds to wait for an answer, > 0.
        retries: Further attempts, >= 0.
        pause: Seconds before the first of them, doubled each time, >= 0; a server that says how long to wait is obeyed
            up to a minute.

    Returns:
        ``judge(question, a, b)``: the probability that ``a`` is the better one, NaN where no answer could be had.

    Raises:
        ValueError: An argument out of range, or a prompt without its places.
        ConfigError: The server refuses the question for good (no such model, no key), which no attempt would change.

    Example:
        >>> judge = EndpointJudge(url="http://localhost:8000/v1", model="qwen3-8b")
        >>> judge.address
        'http://localhost:8000/v1/chat/completions'

    Use with:
        ``judge_pairs(texts, pairs, judge, workers=16)``.

    Helps / does not help:
        A model judges by its own taste, and short excerpts may misrepresent a document. Ask for a few dozen pairs you
        judged yourself first.

    Relations:
        Any function can be a judge; this is one that asks elsewhere.

    Source:
        Wettig et al., QuRating, 2024, arXiv 2402.09739: pairs of excerpts judged by a chat model. The prompt is ours.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    prompt: str = PROMPT
    characters: int = 2000
    answer_tokens: int = 16
    temperature: float = 0.0
    logprobs: bool = True
    timeout: float = 60.0
    retries: int = 3
    pause: float = 1.0

    def __post_init__(self) -> None:
        """Check every argument."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"EndpointJudge: url must begin with http:// or https://, got {self.url}.")
        missing = [name for name in ("{question}", "{a}", "{b}") if name not in self.prompt]
        if missing:
            raise ValueError(f"EndpointJudge: prompt must hold {', '.join(missing)}.")
        for name, fine in (
            ("characters", self.characters >= 1),
            ("answer_tokens", self.answer_tokens >= 1),
            ("temperature", 0 <= self.temperature < math.inf),
            ("timeout", 0 < self.timeout < math.inf),
            ("retries", self.retries >= 0),
            ("pause", 0 <= self.pause < math.inf),
        ):
            if not fine:
                least = {"characters": ">= 1", "answer_tokens": ">= 1", "timeout": "> 0"}.get(name, ">= 0")
                raise ValueError(f"EndpointJudge: {name} must be {least}, got {getattr(self, name)}.")

    @property
    def address(self) -> str:
        """Where questions go."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"

    def fingerprint(self) -> str:
        """Return a hash of what decides an answer, under which answers are kept: not the address or the patience."""
        return fingerprint_of(
            self.model, self.prompt, self.characters, self.answer_tokens, self.temperature, self.logprobs
        )

    def __call__(self, question: str, a: str, b: str) -> float:
        """Ask, and ask again where that may help."""
        shown = {"{question}": question, "{a}": a[: self.characters], "{b}": b[: self.characters]}
        # In one pass, so that a text that holds "{b}" itself is left as it is.
        content = re.sub(r"\{question\}|\{a\}|\{b\}", lambda found: shown[found[0]], self.prompt)
        wait, said = self.pause, ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(wait, _LONGEST_WAIT))
                wait = self.pause * 2**attempt
            try:
                answer = self._ask(content)
                value = _probability(answer)
                if value is not None:
                    return value
                said = f"no A or B in {str(answer)[:120]}"
            except urllib.error.HTTPError as error:
                said = f"{error.code} {error.reason}"
                if error.code not in _BUSY:
                    raise ConfigError(
                        f"{self.address} refuses the question ({said}); check url, model and {self.key_variable}."
                    ) from None
                wait = max(wait, _seconds(error.headers.get("Retry-After")))
            except (OSError, HTTPException, ValueError) as error:  # no connection, a time-out, or no JSON
                said = str(error) or type(error).__name__
        _LOG.info("%s gave no answer: %s", self.address, said)
        return math.nan

    def _ask(self, content: str) -> Any:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": self.temperature,
            "max_tokens": self.answer_tokens,
        }
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": 10}
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(self.key_variable)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.address, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            return json.loads(response.read())


def _probability(answer: Any) -> float | None:
    """Return the probability of A, or ``None`` where the answer names neither or both."""
    try:
        choice = answer["choices"][0]
        text = str(choice["message"]["content"] or "")
    except (KeyError, IndexError, TypeError):
        return None
    letters = set(_LETTER.findall(text))
    if len(letters) != 1:
        return None
    try:
        first = choice["logprobs"]["content"][0]["top_logprobs"]
        likely = {"A": 0.0, "B": 0.0}
        for item in first:
            letter = str(item["token"]).strip()
            if letter in likely:
                likely[letter] += math.exp(min(0.0, float(item["logprob"])))
    except (KeyError, IndexError, TypeError, ValueError):
        likely = {}
    total = sum(likely.values())
    return likely["A"] / total if total > 0 else float(letters == {"A"})


def _seconds(text: str | None) -> float:
    """Return the seconds a server asks to wait; 0 where it names a date or nothing."""
    try:
        return min(_LONGEST_WAIT, max(0.0, float(text or 0)))
    except ValueError:
        return 0.0
