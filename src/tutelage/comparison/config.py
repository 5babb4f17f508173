"""A comparison in one file: TOML that is checked, run, and written back as it was resolved."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tutelage.comparison.plan import Tuning, slug
from tutelage.errors import ConfigError, DataNotFound, did_you_mean
from tutelage.training.storage import write_atomically

if TYPE_CHECKING:
    from tutelage.workloads import Workload


class ComparisonConfig(BaseModel):
    """All that ``tutelage compare`` takes, from flags, a file or both; flags win."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workload: list[str] = Field(min_length=1, description="Specs of workloads.")
    arms: dict[str, str] | list[str] = Field(description="Recipes, or recipes by name.")
    budget: list[str] = Field(min_length=1, description="Budgets with units.")
    seeds: int | list[int] = 3
    baseline: str | None = None
    tune: str | None = None
    tune_seeds: int = 1
    margin: float = Field(default=0.0, ge=0)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    data: str | None = None
    model: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    eval_every: int | None = Field(default=None, ge=1)

    @field_validator("workload", "budget", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pieces = [piece.strip() for piece in value.split(",") if piece.strip()]
        return int(value) if "," not in value else [int(piece) for piece in pieces]

    @field_validator("tune", mode="before")
    @classmethod
    def _tune(cls, value: Any) -> Any:
        if isinstance(value, list):
            return "/".join(map(str, value))
        return None if value is None else str(value)

    @classmethod
    def load(cls, path: Path | None, given: Mapping[str, Any]) -> ComparisonConfig:
        """Read a file and lay what was given on the command line over it.

        Raises:
            DataNotFound: No such file.
            ConfigError: Every unknown name and unusable value in one message.
        """
        table: dict[str, Any] = {}
        if path is not None:
            try:
                table = tomllib.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                raise DataNotFound(
                    f"No file {path}; name a TOML file, or give --workload, --arm and --budget."
                ) from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{path}: not TOML: {error}.") from None
        table |= given
        missing = [
            f"--{name.removesuffix('s') if name == 'arms' else name}"
            for name in ("workload", "arms", "budget")
            if not table.get(name)
        ]
        unknown = [
            f'no setting "{key}".{did_you_mean(key, cls.model_fields)}' for key in table if key not in cls.model_fields
        ]
        where = f"{path}: " if path else ""
        if missing and not unknown:
            raise ConfigError(
                f"{where}{', '.join(missing)} missing; try --workload text-lm --arm cosine --arm uba:phi=5 "
                "--budget 300steps."
            )
        try:
            return cls(
                **{key: value for key, value in table.items() if key in cls.model_fields} if unknown else table
            )._checked(where, unknown)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            raise ConfigError(where + "; ".join(unknown + faults) + ".") from None

    def _checked(self, where: str, unknown: list[str]) -> ComparisonConfig:
        if unknown:
            raise ConfigError(f"{where}{'; '.join(unknown)} Settings: {', '.join(type(self).model_fields)}.")
        return self

    def prepare(self) -> list[Workload]:
        """Build every workload."""
        from tutelage.workloads import from_spec

        changes = {name: getattr(self, name) for name in ("data", "model", "text_column", "label_column")}
        changes = {name: value for name, value in changes.items() if value is not None}
        return [from_spec(spec, **changes).prepare() for spec in self.workload]

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of :func:`tutelage.compare` besides workload and arms."""
        return {
            "budget": self.budget,
            "seeds": self.seeds,
            "baseline": self.baseline,
            "tune": Tuning.parse(self.tune, seeds=self.tune_seeds),
            "margin": self.margin,
            "confidence": self.confidence,
        }

    def slug(self) -> str:
        """Return a folder name that says what is compared."""
        return slug("-".join(spec.partition(":")[0] for spec in self.workload) + "-" + "-".join(self.budget))

    def write(self, path: Path) -> None:
        """Write the settings in force as TOML, which ``tutelage compare FILE`` runs again."""
        lines: list[str] = []
        tables: list[str] = []
        for name, value in self.model_dump(exclude_none=True).items():
            if isinstance(value, dict):
                tables += ["", f"[{name}]", *(f"{_toml(key)} = {_toml(item)}" for key, item in value.items())]
            else:
                lines.append(f"{name} = {_toml(value)}")
        write_atomically(path, "\n".join(lines + tables) + "\n")


def _toml(value: Any) -> str:
    """Write a string, number or list of them as TOML; a JSON string is a TOML string."""
    return json.dumps(value, ensure_ascii=True)
