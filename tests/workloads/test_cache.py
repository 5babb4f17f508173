"""The cache: built once, damage noticed, and a kill or a full disk leaves nothing half."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from tutelage.errors import ConfigError, StorageFull
from tutelage.workloads import _cache
from tutelage.workloads._cache import cache_folder, cached, content_key


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    def __init__(self, content: str = "content") -> None:
        self.content = content
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "a.txt").write_text(self.content)
        (folder / "b.bin").write_bytes(bytes(range(256)))


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("TUTELAGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "tutelage"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "tutelage"


def test_an_entry_is_built_once() -> None:
    build = Builder()
    first, second = cached("kind", "key", build), cached("kind", "key", build)
    assert first == second
    assert build.calls == 1
    assert (first / "a.txt").read_text() == "content"
    assert cached("kind", "other", build) != first
    assert build.calls == 2


def damage_cut(place: Path) -> None:
    (place / "b.bin").write_bytes(b"short")


def damage_flip(place: Path) -> None:
    (place / "a.txt").write_text("c0ntent")


def damage_lost(place: Path) -> None:
    (place / "a.txt").unlink()


def damage_record(place: Path) -> None:
    (place / "entry.json").write_text('{"a.txt": {"size"')


def damage_record_kind(place: Path) -> None:
    (place / "entry.json").write_text("[]")


def damage_record_empty(place: Path) -> None:
    (place / "entry.json").write_text("{}")


def damage_no_record(place: Path) -> None:
    (place / "entry.json").unlink()


def damage_file_in_place(place: Path) -> None:
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    place.write_text("not a folder")


@pytest.mark.parametrize(
    "damage",
    [
        damage_cut,
        damage_flip,
        damage_lost,
        damage_record,
        damage_record_kind,
        damage_record_empty,
        damage_no_record,
        damage_file_in_place,
    ],
)
def test_a_damaged_entry_is_made_anew(damage, caplog: pytest.LogCaptureFixture) -> None:
    build = Builder()
    place = cached("kind", "key", build)
    damage(place)
    assert cached("kind", "key", build) == place
    assert build.calls == 2
    assert "damaged and is made anew" in caplog.text
    assert (place / "a.txt").read_text() == "content"
    cached("kind", "key", build)
    assert build.calls == 2


def test_a_build_that_fails_leaves_nothing(own_cache: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        cached("kind", "key", fails)
    assert list((own_cache / "kind").iterdir()) == []
    build = Builder()
    cached("kind", "key", build)
    assert build.calls == 1


def test_a_full_disk_is_one_clear_error(own_cache: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageFull, match="No room left to write"):
        cached("kind", "key", full)
    assert list((own_cache / "kind").iterdir()) == []


def test_another_process_that_was_faster_wins() -> None:
    fast = Builder("same")

    def slow(folder: Path) -> None:
        cached("kind", "key", fast)
        (folder / "a.txt").write_text("same")

    place = cached("kind", "key", slow)
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "b.bin", "entry.json"]
    assert [path.name for path in place.parent.iterdir()] == ["key"]


def test_many_at_once_agree() -> None:
    gate = threading.Barrier(6)
    places: list[Path] = []

    def build(folder: Path) -> None:
        gate.wait()
        (folder / "a.txt").write_text("same")

    workers = [threading.Thread(target=lambda: places.append(cached("kind", "key", build))) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(places) == 6
    assert len(set(places)) == 1
    assert (places[0] / "a.txt").read_text() == "same"


def test_what_killed_builds_left_is_swept_away_once_old(own_cache: Path) -> None:
    folder = own_cache / "kind"
    for name, age in ((".key.1.aa", 2 * 86_400), (".key.2.bb", 60)):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (time.time() - age,) * 2)
    cached("kind", "key", Builder())
    assert sorted(path.name for path in folder.iterdir()) == [".key.2.bb", "key"]


def test_a_cache_that_cannot_be_written_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        ConfigError, match=r"Cannot write to the cache folder .*/file \(.*\); set TUTELAGE_CACHE to a folder"
    ):
        cached("kind", "key", Builder())


def test_keys_tell_parts_apart() -> None:
    assert content_key("a", "b") == content_key("a", "b")
    assert (
        len({content_key("a", "b"), content_key("ab"), content_key("b", "a"), content_key("a", "b", ""), content_key()})
        == 5
    )


def test_the_record_holds_size_and_hash() -> None:
    place = cached("kind", "key", Builder("abc"))
    record = json.loads((place / "entry.json").read_text())
    assert record["a.txt"] == {
        "size": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
    assert set(record) == {"a.txt", "b.bin"}
    assert _cache.file_digest(place / "b.bin") == record["b.bin"]["sha256"]
