"""A recipe: how a workload is trained, one choice for each slot."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from tutelage.durations import Clock
from tutelage.errors import ConfigError, UnknownPart, did_you_mean
from tutelage.registry import build_named, entries, find
from tutelage.schedules import Schedule
from tutelage.schedules import from_spec as schedule_from_spec
from tutelage.specs import build, field_types, parse_spec

#: Settings written ``key=value`` in a recipe string, beside the specs of its parts.
_SETTINGS = ("peak", "batch_size", "accumulate", "clip", "from_run", "keep_optimizer")
_SLOTS = ("schedule", "optimizer", *_SETTINGS, "curriculum", "selection")
#: Slots that take the spec of a part, and the family it is from; what has no other slot is a schedule.
_FAMILIES = {"optimizer": "optimizers", "curriculum": "curricula", "selection": "selection"}
#: What only a part's spec has before an equals sign: arguments, a length, another phase.
_PART = re.compile("[:@+]")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a workload is trained: a frozen value with one choice a slot; ``None`` takes the workload's default.

    In one string, parts and settings are joined by semicolons: ``uba:phi=5;sgd:momentum=0.9;batch_size=64;clip=none``.
    Parts of other kinds than a schedule may also be added with a plus: ``cosine+cyclical:alpha=0.5``.

    Args:
        schedule: Spec of the learning-rate schedule; may hold its own ``peak``.
        optimizer: Spec of the optimizer.
        peak: Highest learning rate, where the schedule's spec does not say.
        batch_size: Examples an update, over all processes and micro-batches.
        accumulate: Micro-batches an update is gathered from, >= 1.
        clip: Largest norm of the gradient, > 0; ``None`` for no clipping.
        curriculum: Spec of what decides the order of examples; a fresh permutation each epoch where ``None``.
        selection: Spec of what decides which examples of the training data are used at all; all of them where ``None``.
        from_run: Run folder (or ``FOLDER/plateau``, or one checkpoint) whose weights the run starts from; ``{seed}``
            in it stands for the run's seed, so that arms of a comparison start from one run a seed.
        keep_optimizer: Take over the optimizer's moments too, which infinite schedules want.

    Raises:
        ConfigError: A spec that cannot be used, or a setting out of range.

    Example:
        >>> str(Recipe.parse("cosine; adamw:weight_decay=0.01; clip=0.5"))
        'cosine;adamw:weight_decay=0.01;clip=0.5'
    """

    schedule: str = "cosine"
    optimizer: str | None = None
    peak: float | None = None
    batch_size: int | None = None
    accumulate: int = 1
    clip: float | None = 1.0
    curriculum: str | None = None
    selection: str | None = None
    from_run: str | None = None
    keep_optimizer: bool = False

    def __post_init__(self) -> None:
        """Check the settings; the specs are checked where they are resolved."""
        for name in ("peak", "clip"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"recipe: {name} must be a finite number > 0, got {value}.")
        for name in ("batch_size", "accumulate"):
            value = getattr(self, name)
            if value is None and name == "batch_size":
                continue
            if not isinstance(value, Integral) or value < 1:
                raise ConfigError(f"recipe: {name} must be a whole number >= 1, got {value}.")
        for name in ("schedule", *_FAMILIES):
            spec = getattr(self, name)
            if ";" in (spec or ""):
                raise ConfigError(f'recipe: {name} takes one spec, got "{spec}".')
        if ";" in (self.from_run or ""):
            raise ConfigError(f'recipe: a recipe cannot hold the path "{self.from_run}"; rename the folder.')
        if self.keep_optimizer and self.from_run is None:
            raise ConfigError("recipe: keep_optimizer takes over the moments of another run; say which with from_run.")

    @classmethod
    def parse(cls, value: str | Path | Recipe) -> Recipe:
        """Read a recipe from its string or from a ``.toml`` file (:class:`RecipeFile`); a recipe passes through.

        Raises:
            ConfigError: An unknown setting, two parts for one slot, or a value that cannot be read.
            UnknownPart: A name that is neither a schedule nor an optimizer.
            DataNotFound: A file that is not there.
        """
        if isinstance(value, Recipe):
            return value
        text = str(value)
        if text.endswith(".toml"):
            from tutelage.training.recipe_file import RecipeFile

            return RecipeFile.read(Path(text)).recipe
        chosen: dict[str, Any] = {}
        for piece in _pieces(text):
            key, equals, setting = piece.partition("=")
            if equals and not _PART.search(key):
                slot, content = key.strip(), setting.strip()
                if slot not in _SETTINGS:
                    raise ConfigError(
                        f'recipe: no setting "{slot}".{did_you_mean(slot, _SETTINGS)} It takes: {", ".join(_SETTINGS)}.'
                    )
            else:
                slot, content = _slot_of(piece), _closed_up(piece)
            if slot in chosen:
                raise ConfigError(f'recipe "{text}": {slot} is given twice, "{chosen[slot]}" and "{content}".')
            chosen[slot] = content
        if not chosen:
            raise ConfigError(f'recipe "{text}" is empty; write a spec such as uba:phi=5.')
        return cls(**{slot: _read(slot, content) for slot, content in chosen.items()})

    @classmethod
    def from_table(cls, table: Any, where: str) -> Recipe:
        """Read a recipe from the names and values of a file.

        Args:
            table: By name, as the class's arguments; text and numbers.
            where: The file, for messages.

        Raises:
            ConfigError: No table, an unknown name, or a value that cannot be used.
        """
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: recipe must be a table, [recipe], with {', '.join(_SLOTS)}.")
        unknown = [f'"{key}".{did_you_mean(key, _SLOTS)}' for key in table if key not in _SLOTS]
        if unknown:
            raise ConfigError(f"{where}: no recipe setting {' '.join(unknown)} It takes: {', '.join(_SLOTS)}.")
        return cls(**{key: _read(key, str(value)) for key, value in table.items()})

    def to_table(self) -> dict[str, Any]:
        """Return the names and values that :meth:`from_table` reads back; what is left to the workload is left out."""
        table: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            # What the workload decides by default has the default None; where None is a choice it must be said.
            if value is None and item.default is not None:
                table[item.name] = "none"
            elif value is not None and value is not False:
                table[item.name] = value
        return table

    def __str__(self) -> str:
        """Return the shortest string that parses back to this recipe."""
        pieces = [self.schedule, *filter(None, (getattr(self, slot) for slot in _FAMILIES))]
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        for name in _SETTINGS:
            value = getattr(self, name)
            if value != defaults[name]:
                pieces.append(f"{name}={'none' if value is None else str(value).lower() if value is True else value}")
        return ";".join(pieces)

    def with_peak(self, peak: float) -> Recipe:
        """Return this recipe at another peak rate, one inside the schedule's spec replaced."""
        head, colon, rest = self.schedule.partition(":")
        kept = [item for item in rest.split(",") if not item.strip().startswith("peak=")]
        schedule = self.schedule if _has_phases(self.schedule) else head + (colon + ",".join(kept) if any(kept) else "")
        return dataclasses.replace(self, schedule=schedule, peak=peak)

    @property
    def fixed_peak(self) -> bool:
        """Whether the recipe itself says its peak rate."""
        return self.peak is not None or "peak=" in self.schedule or "lr_max=" in self.schedule


def _has_phases(spec: str) -> bool:
    """Whether a schedule's spec joins phases, or takes a range of one; a peak inside it belongs to its phase."""
    return "+" in spec or "@" in spec.partition(":")[0]


def resolve_schedule(recipe: Recipe, *, clock: Clock, peak: float) -> Any:
    """Return the recipe's :class:`Schedule`, or the settings of a controller that finds its rates while it runs.

    Args:
        recipe: The recipe.
        clock: Length of the run and units of an update.
        peak: Peak rate for a spec that has none.

    Raises:
        ConfigError: The spec cannot be used, or counts tokens where the clock does not.
        UnknownPart: No such schedule.
    """
    if not _has_phases(recipe.schedule):
        parsed = parse_spec(recipe.schedule)
        part = find("schedules", parsed.name).load()
        if clock.virtual and "tokens_per_step" in field_types(part):
            raise ConfigError(
                f'"{recipe.schedule}" counts tokens and cannot follow a budget in seconds; give it in tokens or steps.'
            )
        if not issubclass(part, Schedule):
            return build(part, parsed, clock=clock, defaults={"peak": peak, "total_steps": clock.total_steps})
    return schedule_from_spec(
        recipe.schedule,
        total_steps=clock.total_steps,
        peak=peak,
        tokens_per_step=clock.tokens_per_step,
        examples_per_step=clock.examples_per_step,
        virtual=clock.virtual,
    )


def _pieces(text: str) -> list[str]:
    """Return what semicolons part, and pluses where a part that is no schedule follows."""
    others = {name for family in _FAMILIES.values() for name in entries(family)} - set(entries("schedules"))
    named = "|".join(sorted(map(re.escape, others), key=len, reverse=True))
    return [piece for part in re.split(rf";|\+(?=\s*(?:{named})\s*(?:[:;+]|$))", text) if (piece := part.strip())]


def _closed_up(spec: str) -> str:
    """Return the one spelling of a spec: spaces beside its signs mean nothing, those inside a file's name stay."""
    return re.sub(r"\s*([:,=/+@])\s*", r"\1", spec.strip())


def _slot_of(piece: str) -> str:
    name = piece.partition(":")[0].partition("@")[0].strip()
    known = list(entries("schedules"))
    if name in known:
        return "schedule"
    for slot, family in _FAMILIES.items():
        if name in entries(family):
            spec = _closed_up(piece)
            build_named(family, split_by(spec)[0] if slot == "selection" else spec)
            return slot
        known += entries(family)
    raise UnknownPart(f'No schedule or other part "{name}".{did_you_mean(name, known)} All: tutelage parts')


def split_by(spec: str) -> tuple[str, str | None]:
    """Return a selection's spec without its ``by=``, and what that names.

    Example:
        >>> split_by("top:share=0.3,by=length:unit=words")
        ('top:share=0.3', 'length:unit=words')
    """
    name, _, rest = spec.partition(":")
    items = [item.strip() for item in rest.split(",") if item.strip()]
    by = [item.partition("=")[2].strip() for item in items if item.partition("=")[0].strip() == "by"]
    if len(by) > 1:
        raise ConfigError(f'"{spec}": argument "by" is given twice.')
    own = ",".join(item for item in items if item.partition("=")[0].strip() != "by")
    return f"{name}:{own}" if own else name, by[0] if by else None


def _read(slot: str, content: str) -> Any:
    if slot in ("schedule", *_FAMILIES, "from_run"):
        return content
    if slot == "keep_optimizer":
        if content.lower() not in ("true", "false"):
            raise ConfigError(f'recipe: keep_optimizer must be true or false, got "{content}".')
        return content.lower() == "true"
    if content.lower() == "none" and slot != "accumulate":
        return None
    try:
        return int(content) if slot in ("batch_size", "accumulate") else float(content)
    except ValueError:
        kind = "a whole number" if slot in ("batch_size", "accumulate") else "a number"
        raise ConfigError(f'recipe: {slot} must be {kind}, got "{content}".') from None
