"""A recipe's file: what is written reads back as it was, and what cannot be used is refused in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.toys import toy

from tutelage.errors import ConfigError, DataNotFound
from tutelage.training import Recipe
from tutelage.training.recipe_file import COMPARED, RecipeFile, check_fingerprint

RECIPE = Recipe(schedule="uba:phi=5", optimizer="sgd:momentum=0.9", peak=0.1, batch_size=16, clip=None)
# Any sign a file can hold: TOML, like UTF-8, knows no halves of a character.
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
positive = st.floats(min_value=1e-12, max_value=1e12)
files = st.builds(
    RecipeFile,
    recipe=st.builds(
        Recipe,
        schedule=st.sampled_from(["cosine", "wsd:decay=0.2", "constant@0.5+linear:final=1e-05"]),
        optimizer=st.sampled_from([None, "adamw:weight_decay=0.01"]),
        peak=st.none() | positive,
        batch_size=st.none() | st.integers(1, 10**6),
        accumulate=st.integers(1, 64),
        clip=st.none() | positive,
    ),
    workload=st.none() | words,
    data=st.none() | words,
    budget=st.none() | words,
    seed=st.none() | st.integers(-(2**40), 2**40),
    mixed_precision=st.sampled_from([None, "no", "bf16"]),
    threads=st.none() | st.integers(1, 64),
    compared=st.fixed_dictionaries(
        {},
        optional={
            "name": words,
            "baseline": words,
            "seeds": st.lists(st.integers(0, 99), min_size=1),
            "margin": st.floats(0, 1e6),
            "arms": st.dictionaries(words, words, max_size=3),
        },
    ),
)


@given(files, st.lists(words, max_size=3))
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, file: RecipeFile, said: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    path.write_bytes(file.to_toml(said).encode())
    assert RecipeFile.read(path) == file


def test_the_text(tmp_path: Path) -> None:
    file = RecipeFile(
        recipe=RECIPE,
        workload="digits:net=mlp",
        budget="300steps",
        seed=3,
        threads=1,
        compared={"baseline": "cosine", "seeds": [0, 1], "arms": {"cosine": "cosine;peak=0.1"}},
    )
    assert file.to_toml(["One line,\nhowever it was given."]) == (
        "# One line, however it was given.\n"
        'workload = "digits:net=mlp"\nbudget = "300steps"\nseed = 3\nthreads = 1\n\n'
        '# What tutelage compare does with it:\nbaseline = "cosine"\nseeds = [0, 1]\n\n'
        '[recipe]\nschedule = "uba:phi=5"\noptimizer = "sgd:momentum=0.9"\npeak = 0.1\nbatch_size = 16\n'
        'accumulate = 1\nclip = "none"\n\n[arms]\n"cosine" = "cosine;peak=0.1"\n'
    )


def test_every_choice_of_a_recipe_goes_to_the_file() -> None:
    table = RECIPE.to_table()
    assert Recipe.from_table(table, "here") == RECIPE
    assert table["clip"] == "none"  # no clipping is a choice; the default is some
    assert "keep_optimizer" not in table
    assert Recipe().to_table() == {"schedule": "cosine", "accumulate": 1, "clip": 1.0}


def test_a_file_of_the_recipe_alone(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('schedule = "linear"\npeak = 1')
    assert RecipeFile.read(tmp_path / "r.toml") == RecipeFile(recipe=Recipe(schedule="linear", peak=1.0))


def test_every_name_of_a_comparison_is_known_to_it() -> None:
    from tutelage.comparison.config import ComparisonConfig

    own = {"recipe", "seed", "name"}
    assert {*COMPARED, *RecipeFile.__dataclass_fields__} - own - {"compared"} <= set(ComparisonConfig.model_fields)


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("workload = ", ["not TOML"]),
        ('sed = 3\n[recipe]\nschedule = "uba"', ['no setting "sed". Did you mean "seed"?', "it takes: workload, data"]),
        ("seed = 1.5\n[recipe]", ["seed must be a whole number, got 1.5"]),
        (
            "seed = true\nthreads = 0\n[recipe]",
            ["seed must be a whole number, got True", "threads must be", ">= 1, got 0"],
        ),
        ("workload = 3\nbudget = 300\n[recipe]", ["workload must be text, got 3", "budget must be text, got 300"]),
        ('mixed_precision = "half"\n[recipe]', ['mixed_precision must be no, bf16, fp16, got "half"']),
        ('recipe = "uba"', ["recipe must be a table, [recipe], with schedule"]),
        ('[recipe]\nshedule = "uba"', ['no recipe setting "shedule". Did you mean "schedule"?']),
        ("[recipe]\npeak = 0", ["peak must be a finite number > 0, got 0.0"]),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: str, fragments: list[str]) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        RecipeFile.read(path)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(DataNotFound, match="No recipe file nowhere"):
        RecipeFile.read("nowhere.toml")


def test_other_data_are_refused() -> None:
    workload: Any = toy()
    check_fingerprint(workload, None)
    check_fingerprint(workload, workload.fingerprint)
    with pytest.raises(ConfigError, match=r"data_fingerprint is 0123, that of the data .*--workload"):
        check_fingerprint(workload, "0123")


def test_toml_of_signs_that_json_writes_otherwise(tmp_path: Path) -> None:
    file = RecipeFile(recipe=Recipe(), data='an emoji \U0001f600, DEL \x7f, a bell \x07 and \\ "quotes"')
    assert tomllib.loads(file.to_toml())["data"] == file.data
