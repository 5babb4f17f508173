"""Pictures: names refused before any work, the same file twice, and nothing half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.errors import ConfigError, StorageFull
from tutelage.pictures import ENDINGS, new_figure, picture_path, save_picture


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_figure_gives_the_same_file(ending: str, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        figure = new_figure(2, 1)
        axes = figure.subplots()
        axes.plot([1, 2, 3], label="line")
        save_picture(figure, picture_path(tmp_path / f"{name}{ending}"))
        contents.append((tmp_path / f"{name}{ending}").read_bytes())
        assert not axes.spines["top"].get_visible()
        assert axes.spines["left"].get_visible()
    assert contents[0] == contents[1]
    assert len(contents[0]) > 500


def test_names_that_no_picture_can_have(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--plot .*a\.gif: the name must end in \.svg, \.png, \.pdf"):
        picture_path(tmp_path / "a.gif")
    with pytest.raises(ConfigError, match=r"--plot .*none/a\.svg: there is no folder .*none"):
        picture_path(tmp_path / "none" / "a.svg")


def test_an_older_picture_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    path = tmp_path / "a.svg"
    path.write_text("old", encoding="utf-8")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="No room left to write"):
        save_picture(new_figure(2, 1), path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
