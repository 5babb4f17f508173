"""What one file says of one run, and how arm and seed are read from a path or a run's name."""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, DataError, DataNotFound, did_you_mean

_FIELDS = {"arm": r"[^/]+?", "seed": r"\d+", "workload": r"[^/]+?", "budget": r"[^/]+?"}
_USUAL = re.compile(r"(?:.*/)?(?P<arm>[^/]+?)[/_-]seed[-_=]?(?P<seed>\d+)(?:/.*|\.[A-Za-z]+)?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One run, or one item of one run, as a file states it.

    Args:
        source: File, with line or row where there are several in it.
        arm: Name of the arm.
        values: Metrics by name; ``None`` where the file leaves the place empty, NaN where it says so.
        seed: Seed of the run, or ``None`` where nothing says it.
        item: Identifies the evaluated example, for per-item results.
        workload: What was evaluated, empty where nothing says it.
        budget: Budget as declared by a column or a path; such budgets are compared apart.
        length: Budget as found in the run's own record, such as ``"300steps"``.
        lower: By metric, whether lower is better, where the file says so.
        main: Metric that the format itself declares to be the result.
        version: Of the task and its data; scores of different ones cannot be compared.
        writer: Library that wrote the file, with version.
        finished: Whether the run came to its end.
        diverged: Whether the file says that the run diverged.
        recipe: Spec of the recipe.
        steps: Updates done.
        tokens: Tokens seen.
        seconds: Seconds of training.
        remarks: What a reader of the result should know of this run.
    """

    source: str
    arm: str
    values: Mapping[str, float | None]
    seed: int | None = None
    item: str | None = None
    workload: str = ""
    budget: str = ""
    length: str = ""
    lower: Mapping[str, bool] = field(default_factory=dict)
    main: str = ""
    version: str = ""
    writer: str = ""
    finished: bool = True
    diverged: bool = False
    recipe: str = ""
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a run is."""

    arm: str
    seed: int | None
    workload: str = ""
    budget: str = ""


class Naming:
    """Reads arm and seed from a path or a run's name.

    Args:
        pattern: Such as ``"{arm}/seed-{seed}"``, ``"{arm}.csv"`` or ``"{workload}/{arm}_{seed}"``: whole path
            components, the last place in the path where they fit. ``None`` takes the usual ways to write
            ``{arm}/seed-{seed}``.

    Raises:
        ConfigError: A pattern with an unknown or repeated field, or without ``{arm}``.
    """

    def __init__(self, pattern: str | None = None) -> None:
        self.pattern = pattern
        self._regex = _USUAL if pattern is None else _compile(pattern)

    def identify(
        self,
        text: str | Path,
        *,
        source: str,
        arm: object = None,
        seed: object = None,
        workload: str = "",
        budget: str = "",
        otherwise: str = "",
    ) -> Identity:
        """Return who a run is; a given pattern goes before what the file says, the usual pattern after it.

        Args:
            text: Path or name that the pattern is looked for in.
            source: Where this stands, for messages.
            arm: Arm as the file states it.
            seed: Seed as the file states it.
            workload: Workload as the file states it.
            budget: Budget as the file states it.
            otherwise: Name of the arm where neither file nor path tell one.

        Raises:
            ConfigError: Nothing tells the arm, or the given pattern does not fit.
        """
        place = text.resolve().as_posix() if isinstance(text, Path) else text
        match = self._regex.fullmatch(place)
        found = match.groupdict() if match else {}
        said = {"arm": arm, "seed": seed, "workload": workload, "budget": budget}
        said = {name: value for name, value in said.items() if value not in (None, "")}
        if self.pattern is not None and not match and "arm" not in said:
            raise ConfigError(
                f'{source}: the pattern "{self.pattern}" (--from-pattern) does not fit "{place}"; it is laid over '
                'whole parts of the path, such as "{arm}/seed-{seed}".'
            )
        merged: dict[str, Any] = {**found, **said} if self.pattern is None else {**said, **found}
        name = str(merged.get("arm") or otherwise).strip()
        if not name:
            raise ConfigError(
                f"{source}: nothing tells which arm and seed this is; name runs like cosine/seed-0, or give a pattern "
                'such as "{arm}_{seed}" (--from-pattern).'
            )
        return Identity(
            arm=name,
            seed=whole(merged.get("seed"), f"{source}: seed"),
            workload=str(merged.get("workload", "")),
            budget=str(merged.get("budget", "")),
        )


def _compile(pattern: str) -> re.Pattern[str]:
    regex, seen = "", set[str]()
    try:
        pieces = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ConfigError(f'The pattern "{pattern}" (--from-pattern) is not closed: {error}.') from None
    for literal, name, _, _ in pieces:
        regex += re.escape(literal)
        if name is None:
            continue
        if name not in _FIELDS:
            raise ConfigError(
                f'The pattern "{pattern}" (--from-pattern) has an unknown field "{name}".{did_you_mean(name, _FIELDS)} '
                f"Fields: {', '.join(_FIELDS)}."
            )
        if name in seen:
            raise ConfigError(f'The pattern "{pattern}" (--from-pattern) names {{{name}}} twice; name it once.')
        seen.add(name)
        regex += f"(?P<{name}>{_FIELDS[name]})"
    if "arm" not in seen:
        raise ConfigError(
            f'The pattern "{pattern}" (--from-pattern) must name {{arm}}, such as "{{arm}}/seed-{{seed}}".'
        )
    return re.compile(rf"(?:.*/)?{regex}(?:/.*|\.[A-Za-z]+)?", re.DOTALL)


def number(value: object, where: str) -> float | None:
    """Return a cell as a number, ``None`` where it is empty.

    Raises:
        DataError: It is something else; ``where`` names the place.
    """
    if value is None or isinstance(value, int | float):
        return None if value is None else float(value)
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("", "null", "none"):
            return None
        # Python's own parser takes "1_000" and "infinity" alike; only the underscore is no number in a table.
        if "_" not in text:
            try:
                return float(text)
            except ValueError:
                pass
    raise DataError(f"{where}: {_short(value)} is not a number.")


def numeric(value: object) -> bool:
    """Return whether a value is a number, or text that says one; flags are none."""
    if isinstance(value, bool):
        return False
    try:
        return number(value, "") is not None
    except DataError:
        return False


def whole(value: object, where: str) -> int | None:
    """Return a cell as a whole number, ``None`` where it is empty.

    Raises:
        DataError: It is no whole number.
    """
    found = number(value, where)
    if found is None:
        return None
    if not math.isfinite(found) or found != int(found):
        raise DataError(f"{where} must be a whole number, got {_short(value)}.")
    return int(found)


def flag(value: object, where: str) -> bool | None:
    """Return a cell as yes or no, ``None`` where it is empty.

    Raises:
        DataError: It is neither.
    """
    text = "" if value is None else str(value).strip().lower()
    if text in ("", "none", "null"):
        return None
    if text in ("true", "1", "1.0", "yes"):
        return True
    if text in ("false", "0", "0.0", "no"):
        return False
    raise DataError(f"{where} must be true or false, got {_short(value)}.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def text_of(path: Path) -> str:
    """Return the text of a file.

    Raises:
        DataError: It is empty or no UTF-8.
        DataNotFound: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}).") from None
    except OSError as error:
        raise DataNotFound(f"{path} cannot be read: {error.strerror}.") from None
    if not text.strip():
        raise DataError(f"{path} is empty.")
    return text


def json_of(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: It is empty or no JSON; the line is named.
        DataNotFound: It cannot be read.
    """
    text = text_of(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({_fault(error)}).") from None


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file, each with its file and line.

    Raises:
        DataError: The file is empty, or a line is no JSON object.
        DataNotFound: It cannot be read.
    """
    # Not splitlines: a JSON string may hold characters that Python takes for line ends.
    for line, text in enumerate(text_of(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{line}: not JSON ({_fault(error)}).") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}:{line}: a line must be a JSON object, got {_short(row)}.")
        yield f"{path}:{line}", row


def _fault(error: json.JSONDecodeError) -> str:
    return f"{error.msg.removesuffix(' at')} at column {error.colno}"


def scalars(values: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the entries that are numbers; non-finite ones may be written as text, as trackers do."""
    return {name: number(value, name) for name, value in values.items() if numeric(value)}


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts ``item-2`` before ``item-10``."""
    return tuple(
        (0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"(\d+)", text) if piece
    )
