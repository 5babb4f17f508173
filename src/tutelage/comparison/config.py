"""A comparison in one file: TOML that is checked, run, and written back as it was resolved."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tutelage.comparison.plan import Tuning, named_arm, slug
from tutelage.errors import ConfigError, DataNotFound, did_you_mean
from tutelage.training.recipe_file import RecipeFile, check_fingerprint, toml_value
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
    prune: str | None = None
    margin: float = Field(default=0.0, ge=0)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    data: str | None = None
    model: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    eval_every: int | None = Field(default=None, ge=1)
    mixed_precision: Literal["no", "bf16", "fp16"] | None = None
    threads: int | None = Field(default=None, ge=1)
    data_fingerprint: str | None = Field(default=None, description="Hash of the data of the one workload.")

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

        The file declares a comparison, or is a recipe's (:class:`RecipeFile`): that recipe is then one of the arms,
        and those of the command line or the file are the others.

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
            if isinstance(table.get("recipe"), dict):
                table, given = _with_recipe(RecipeFile.read(path), given)
        if {"workload", "data", "model", "text_column", "label_column"} & set(given):
            table.pop("data_fingerprint", None)
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
        prepared = [from_spec(spec, **changes).prepare() for spec in self.workload]
        for workload in prepared:
            check_fingerprint(workload, self.data_fingerprint)
        return prepared

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of :func:`tutelage.compare` besides workload and arms."""
        return {
            "budget": self.budget,
            "seeds": self.seeds,
            "baseline": self.baseline,
            "tune": Tuning.parse(self.tune, seeds=self.tune_seeds),
            "prune": self.prune,
            "margin": self.margin,
            "confidence": self.confidence,
        }

    def settings(self) -> dict[str, Any]:
        """Return what of the runs is set besides: how often they are evaluated, in which precision."""
        names = ("eval_every", "mixed_precision", "threads")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def slug(self) -> str:
        """Return a folder name that says what is compared."""
        return slug("-".join(spec.partition(":")[0] for spec in self.workload) + "-" + "-".join(self.budget))

    def write(self, path: Path) -> None:
        """Write the settings in force as TOML, which ``tutelage compare FILE`` runs again."""
        lines: list[str] = []
        tables: list[str] = []
        for name, value in self.model_dump(exclude_none=True).items():
            if isinstance(value, dict):
                rows = (f"{toml_value(key)} = {toml_value(item)}" for key, item in value.items())
                tables += ["", f"[{name}]", *rows]
            else:
                lines.append(f"{name} = {toml_value(value)}")
        write_atomically(path, "\n".join(lines + tables) + "\n")


def _with_recipe(file: RecipeFile, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the declaration a recipe's file makes, its recipe being the first arm, and what was given otherwise."""
    table = {name: value for name, value in file.said().items() if name != "seed"} | dict(file.compared)
    name = table.pop("name", "recipe")
    others = given.get("arms", table.pop("arms", {}))
    items = list(others.items()) if isinstance(others, Mapping) else [named_arm(arm) for arm in others]
    if name in dict(items):
        raise ConfigError(f'Two arms are called "{name}", the recipe of the file and another; name that one otherwise.')
    if file.seed is not None:
        table.setdefault("seeds", [file.seed])
    table["arms"] = {name: str(file.recipe), **{key: str(value) for key, value in items}}
    return table, {key: value for key, value in given.items() if key != "arms"}
