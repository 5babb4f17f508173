from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.comparison.config import ComparisonConfig
from tutelage.errors import ConfigError, DataNotFound

GIVEN = {"workload": ["digits"], "arms": ["cosine", "uba:phi=5"], "budget": ["10steps"]}


def test_what_is_written_is_read_back(tmp_path):
    config = ComparisonConfig.load(
        None, {**GIVEN, "arms": {'a "quoted" ü': "cosine", "b": "uba"}, "tune": "3", "seeds": "4,5", "margin": 0.01}
    )
    config.write(tmp_path / "c.toml")
    assert ComparisonConfig.load(tmp_path / "c.toml", {}) == config
    assert config.seeds == [4, 5]


def test_flags_win_over_the_file(tmp_path):
    (tmp_path / "c.toml").write_text(
        'workload = "digits"\nbudget = "5steps"\nseeds = 2\ntune = [0.1, 0.2]\n[arms]\na = "cosine"\nb = "uba"\n'
    )
    config = ComparisonConfig.load(tmp_path / "c.toml", {"seeds": "7"})
    assert config.seeds == 7
    assert config.options()["tune"].peaks == (0.1, 0.2)
    assert config.slug() == "digits-5steps"


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("workload = ", "not TOML"),
        ('wrkload = "digits"\nbudget = "5steps"\narms = ["cosine", "uba"]', 'Did you mean "workload"?'),
        ('workload = "digits"\nbudget = "5steps"', "--arm missing"),
        ('workload = "digits"\nbudget = "5steps"\narms = ["cosine", "uba"]\nmargin = -1', "margin"),
        ('workload = "digits"\nbudget = "5steps"\narms = ["cosine", "uba"]\nseeds = "many"', "seeds"),
        ('workload = "digits"\nbudget = "5steps"\narms = 3', "arms"),
    ],
)
def test_faults_of_a_file(tmp_path, text, fragment):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        ComparisonConfig.load(path, {})
    assert fragment in str(caught.value)
    assert "c.toml" in str(caught.value)


def test_a_missing_file():
    with pytest.raises(DataNotFound, match="nowhere"):
        ComparisonConfig.load(Path("nowhere.toml"), {})


RECIPE = 'workload = "digits"\nbudget = "10steps"\nseed = 4\n[recipe]\nschedule = "uba:phi=5"\nclip = "none"\n'


def test_a_recipes_file_is_an_arm_beside_others(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    config = ComparisonConfig.load(path, {"arms": ["cosine", "flat=constant"]})
    assert config.arms == {"recipe": "uba:phi=5;clip=none", "cosine": "cosine", "flat": "constant"}
    assert (config.seeds, config.budget, config.workload) == ([4], ["10steps"], ["digits"])
    path.write_text(
        'name = "mine"\nseeds = [1, 2]\nthreads = 1\nmixed_precision = "bf16"\n' + RECIPE + '[arms]\ncosine = "cosine"'
    )
    config = ComparisonConfig.load(path, {})
    assert config.arms == {"mine": "uba:phi=5;clip=none", "cosine": "cosine"}
    assert config.seeds == [1, 2]
    assert config.settings() == {"threads": 1, "mixed_precision": "bf16"}
    # Arms of the command line take the place of the file's others, never that of its recipe.
    assert ComparisonConfig.load(path, {"arms": ["linear"]}).arms == {"mine": "uba:phi=5;clip=none", "linear": "linear"}
    config.write(tmp_path / "c.toml")
    assert ComparisonConfig.load(tmp_path / "c.toml", {}) == config
    with pytest.raises(ConfigError, match='Two arms are called "mine"'):
        ComparisonConfig.load(path, {"arms": ["mine=linear"]})


def test_a_recipes_file_refuses_other_data_unless_told(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('data_fingerprint = "0123"\n' + RECIPE)
    with pytest.raises(ConfigError, match="data_fingerprint is 0123"):
        ComparisonConfig.load(path, {"arms": ["cosine"]}).prepare()
    assert ComparisonConfig.load(path, {"arms": ["cosine"], "workload": ["digits"]}).prepare()[0].name == "digits"
