"""Recipes: one string says how a run is trained, and reads back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError, DataNotFound, UnknownPart
from tutelage.training import Recipe

positive = st.floats(min_value=1e-12, max_value=1e12)
recipes = st.builds(
    Recipe,
    schedule=st.sampled_from(
        ["cosine", "uba:phi=5,warmup=0.05", "constant@0.5+linear:final=1e-05", "auto-lrs:tau=16steps"]
    ),
    optimizer=st.sampled_from([None, "sgd", "adamw:weight_decay=0.01,beta2=0.999"]),
    peak=st.none() | positive,
    batch_size=st.none() | st.integers(1, 10**6),
    accumulate=st.integers(1, 64),
    clip=st.none() | positive,
)  # fmt: skip


@pytest.mark.parametrize(("text", "recipe"), [
    ("cosine", Recipe()),
    ("uba:phi=5", Recipe(schedule="uba:phi=5")),
    ("sgd:momentum=0.9", Recipe(optimizer="sgd:momentum=0.9")),
    ("adamw ; wsd:decay=0.2 ; clip = none", Recipe(schedule="wsd:decay=0.2", optimizer="adamw", clip=None)),
    ("peak=3e-4;batch_size=64;accumulate=2;clip=0.5",
     Recipe(peak=3e-4, batch_size=64, accumulate=2, clip=0.5)),
    ("uba: phi = 5, warmup = 0.1", Recipe(schedule="uba:phi=5,warmup=0.1")),
    ("top : share = 0.5, by = run:my runs/one", Recipe(selection="top:share=0.5,by=run:my runs/one")),
    ("constant@300steps + linear: final=0", Recipe(schedule="constant@300steps+linear:final=0")),
    ("peak=none;batch_size=none", Recipe()),
])  # fmt: skip
def test_what_a_string_says(text: str, recipe: Recipe) -> None:
    assert Recipe.parse(text) == recipe
    assert Recipe.parse(recipe) is recipe


@given(recipes)
def test_its_string_reads_back_as_it_was(recipe: Recipe) -> None:
    assert Recipe.parse(str(recipe)) == recipe
    assert str(Recipe.parse(str(recipe))) == str(recipe)


def test_the_shortest_string() -> None:
    assert str(Recipe()) == "cosine"
    assert str(Recipe(clip=None, accumulate=1)) == "cosine;clip=none"


@pytest.mark.parametrize(("text", "error", "message"), [
    ("ubba:phi=5", UnknownPart, 'No schedule or other part "ubba". Did you mean "uba"? All: tutelage parts'),
    ("adamm", UnknownPart, 'Did you mean "adamw"?'),
    ("batchsize=3", ConfigError, 'no setting "batchsize". Did you mean "batch_size"? It takes: peak, batch_size'),
    ("cosine;uba:phi=5", ConfigError, 'schedule is given twice, "cosine" and "uba:phi=5"'),
    ("sgd;adamw", ConfigError, "optimizer is given twice"),
    ("clip=1;clip=2", ConfigError, 'clip is given twice, "1" and "2"'),
    ("sgd:momentum=2", ConfigError, "momentum must be in [0, 1), got 2.0"),
    ("sgd:momentun=0.9", ConfigError, 'no argument "momentun". Did you mean "momentum"?'),
    ("batch_size=many", ConfigError, 'batch_size must be a whole number, got "many"'),
    ("batch_size=0", ConfigError, "batch_size must be a whole number >= 1, got 0"),
    ("batch_size=1.5", ConfigError, 'must be a whole number, got "1.5"'),
    ("accumulate=none", ConfigError, 'accumulate must be a whole number, got "none"'),
    ("accumulate=-1", ConfigError, "accumulate must be a whole number >= 1, got -1"),
    ("peak=fast", ConfigError, 'peak must be a number, got "fast"'),
    ("peak=nan", ConfigError, "peak must be a finite number > 0, got nan"),
    ("clip=0", ConfigError, "clip must be a finite number > 0, got 0.0"),
    ("", ConfigError, "is empty; write a spec such as uba:phi=5"),
    (" ; ", ConfigError, "is empty"),
    ("none.toml", DataNotFound, "No recipe file none.toml (No such file or directory); give a spec such as uba"),
])  # fmt: skip
def test_bad_recipes(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Recipe.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"accumulate": None}, "accumulate must be a whole number >= 1, got None"),
    ({"batch_size": 2.5}, "batch_size must be a whole number >= 1, got 2.5"),
    ({"schedule": "uba;sgd"}, 'schedule takes one spec, got "uba;sgd"'),
    ({"peak": float("inf")}, "peak must be a finite number > 0"),
])  # fmt: skip
def test_bad_values_from_python(arguments, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(**arguments)


def test_a_recipe_file(tmp_path: Path) -> None:
    flat, table = tmp_path / "flat.toml", tmp_path / "table.toml"
    content = 'schedule = "uba:phi=5"\noptimizer = "sgd:momentum=0.8"\npeak = 0.1\nbatch_size = 16\nclip = "none"\n'
    flat.write_text(content)
    table.write_text('name = "mine"\n[recipe]\n' + content)
    expected = Recipe(schedule="uba:phi=5", optimizer="sgd:momentum=0.8", peak=0.1, batch_size=16, clip=None)
    assert Recipe.parse(flat) == Recipe.parse(str(table)) == expected


@pytest.mark.parametrize(("content", "message"), [
    ("schedule = ", "not TOML"),
    ("\xff", "not TOML"),
    ('shedule = "uba"\nbatch = 3', 'no recipe setting "shedule". Did you mean "schedule"? "batch".'),
    ("peak = true", 'peak must be a number, got "True"'),
    ('recipe = "uba"', "recipe must be a table, [recipe], with schedule, optimizer, peak"),
])  # fmt: skip
def test_bad_recipe_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        Recipe.parse(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value) or "recipe:" in str(caught.value)


def test_another_peak() -> None:
    assert Recipe.parse("uba:phi=5,peak=1").with_peak(0.5) == Recipe(schedule="uba:phi=5", peak=0.5)
    assert Recipe.parse("uba:peak=1").with_peak(0.5) == Recipe(schedule="uba", peak=0.5)
    assert Recipe.parse("cosine;clip=3").with_peak(0.5) == Recipe(clip=3.0, peak=0.5)
    phases = Recipe.parse("constant@0.5+linear").with_peak(0.5)
    assert (phases.schedule, phases.peak) == ("constant@0.5+linear", 0.5)


def test_whether_the_peak_is_fixed() -> None:
    fixed = {"cosine": False, "cosine;peak=1": True, "uba:peak=1": True, "auto-lrs:lr_max=1": True}
    assert {text: Recipe.parse(text).fixed_peak for text in fixed} == fixed
