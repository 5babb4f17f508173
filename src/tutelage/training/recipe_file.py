"""A recipe in a file: TOML that trains one run again as it was, and that a comparison reads too."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, DataNotFound, did_you_mean
from tutelage.training.recipe import Recipe

if TYPE_CHECKING:
    from tutelage.workloads import Workload

#: Names beside ``[recipe]`` that only a comparison reads (``tutelage compare FILE``).
COMPARED = ("name", "arms", "baseline", "seeds", "margin", "confidence", "tune", "tune_seeds")
_PRECISIONS = ("no", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """What a recipe's TOML file says: how to train, and where it says so, what, for how long and with which seed.

    A file is either the names of :class:`Recipe` alone, or a table ``[recipe]`` of them beside the names below. What is
    not said is left to the command line.

    Args:
        recipe: How to train.
        workload: Spec of the workload.
        data: Data of the workload, where its spec cannot hold the path; likewise the next three.
        model: Model of the workload.
        text_column: Column that holds the text.
        label_column: Column that holds the label.
        data_fingerprint: Hash of the data and model that a result belongs to; others are then refused.
        budget: What the run may spend, such as ``"300steps"``.
        seed: Seed of the run.
        mixed_precision: ``"no"``, ``"bf16"`` or ``"fp16"``.
        threads: PyTorch threads; more than one adds numbers in another order, which changes last digits.
        eval_every: Updates between evaluations.
        compared: What only a comparison reads: ``name`` (of the recipe as an arm), ``arms`` (the others), ``baseline``,
            ``seeds``, ``margin``, ...

    Example:
        >>> file = RecipeFile(recipe=Recipe(schedule="uba:phi=5", clip=None), workload="digits", budget="20steps")
        >>> print(file.to_toml(), end="")
        workload = "digits"
        budget = "20steps"
        <BLANKLINE>
        [recipe]
        schedule = "uba:phi=5"
        accumulate = 1
        clip = "none"

    Use with:
        ``tutelage train --recipe recipe.toml``, ``tutelage compare recipe.toml``; ``tutelage report RUN --card`` writes
        one.
    """

    recipe: Recipe
    workload: str | None = None
    data: str | None = None
    model: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    data_fingerprint: str | None = None
    budget: str | None = None
    seed: int | None = None
    mixed_precision: str | None = None
    threads: int | None = None
    eval_every: int | None = None
    compared: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> RecipeFile:
        """Read a file.

        Raises:
            DataNotFound: It is not there.
            ConfigError: It is no TOML, or every unknown name and unusable value in one message.
        """
        path = Path(path)
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataNotFound(
                f"No recipe file {path} ({error.strerror}); give a spec such as uba:phi=5, or the path of a TOML file."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}.") from None
        if "recipe" not in table:
            return cls(recipe=Recipe.from_table(table, str(path)))
        recipe = Recipe.from_table(table.pop("recipe"), str(path))
        faults = [fault for name, value in table.items() if (fault := _fault(name, value)) is not None]
        if faults:
            raise ConfigError(f"{path}: {'; '.join(faults)}. Beside [recipe] it takes: {', '.join(_names())}.")
        own = {name: value for name, value in table.items() if name not in COMPARED}
        return cls(recipe=recipe, **own, compared={name: table[name] for name in COMPARED if name in table})

    def to_toml(self, comments: Sequence[str] = ()) -> str:
        """Return the file's text: comments, what is trained, what it is compared with, the recipe.

        Args:
            comments: Lines to stand at the top.
        """
        # A comment may hold no control signs.
        lines = [f"# {''.join(filter(str.isprintable, ' '.join(comment.split())))}" for comment in comments]
        lines += [f"{name} = {toml_value(value)}" for name, value in self.said().items()]
        plain = {name: value for name, value in self.compared.items() if not isinstance(value, Mapping)}
        if plain:
            lines += ["", "# What tutelage compare does with it:"]
            lines += [f"{name} = {toml_value(value)}" for name, value in plain.items()]
        lines += ["", "[recipe]"]
        lines += [f"{name} = {toml_value(value)}" for name, value in self.recipe.to_table().items()]
        for name, value in self.compared.items():
            if isinstance(value, Mapping):
                lines += ["", f"[{name}]", *(f"{toml_value(key)} = {toml_value(item)}" for key, item in value.items())]
        return "\n".join(lines) + "\n"

    def workload_changes(self) -> dict[str, str]:
        """Return the arguments of the workload that stand beside its spec."""
        names = ("data", "model", "text_column", "label_column")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def said(self) -> dict[str, Any]:
        """Return what stands beside the recipe, less what only a comparison reads."""
        return {name: value for name in _own() if (value := getattr(self, name)) is not None}


def check_fingerprint(workload: Workload, expected: str | None) -> None:
    """Refuse data or a model other than those a recipe's result belongs to.

    Args:
        workload: What is about to be trained.
        expected: ``data_fingerprint`` of the file; ``None`` takes anything.

    Raises:
        ConfigError: They differ.
    """
    if expected not in (None, workload.fingerprint):
        raise ConfigError(
            f"The recipe's data_fingerprint is {expected}, that of the data and model here {workload.fingerprint} "
            f"({workload.name}): its numbers would not come out again. Name the workload yourself (--workload) to "
            "train by this recipe on other data."
        )


def _own() -> list[str]:
    return [item.name for item in dataclasses.fields(RecipeFile) if item.name not in ("recipe", "compared")]


def _names() -> list[str]:
    return [*_own(), *COMPARED]


def _fault(name: str, value: Any) -> str | None:
    """Return what is wrong with a name or its value; a comparison checks what only it reads."""
    if name not in _names():
        return f'no setting "{name}".{did_you_mean(name, _names())}'.rstrip(".")
    if name in COMPARED:
        return None
    if name in ("seed", "threads", "eval_every"):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or (name != "seed" and value < 1):
            return f"{name} must be a whole number{'' if name == 'seed' else ' >= 1'}, got {value}"
    elif not isinstance(value, str) or not value:
        return f"{name} must be text, got {value}"
    elif name == "mixed_precision" and value not in _PRECISIONS:
        return f'mixed_precision must be {", ".join(_PRECISIONS)}, got "{value}"'
    return None


def toml_value(value: Any) -> str:
    """Return text, a number, a truth value or a list of them as TOML; JSON writes these as TOML does."""
    # Two differences: TOML has no halves of a character (what JSON makes of an emoji), and no bare DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
