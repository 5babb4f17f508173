"""Reading what users bring: every kind of file, and every way in which one can be broken."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.workloads import data
from tutelage.workloads.data import open_data, read_table, read_texts

TEXTS = ["One, two.", 'A "quoted"\nsecond line; with more.', "Grün und weiß.", "日本語"]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") and not raw.startswith(b"\x1f\x8b") else raw)
    return path


def jsonl(texts: list[str], column: str = "text") -> str:
    return "".join(json.dumps({"id": number, column: text}) + "\n" for number, text in enumerate(texts))


def as_csv(texts: list[str], delimiter: str = ",") -> str:
    quoted = ('"' + text.replace('"', '""') + '"' for text in texts)
    return f"id{delimiter}text\n" + "".join(f"{number}{delimiter}{text}\n" for number, text in enumerate(quoted))


def parquet(folder: Path, name: str, columns: dict[str, list[object]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", jsonl(TEXTS)),
        ("a.ndjson", jsonl(TEXTS)),
        ("a.JSONL", jsonl(TEXTS)),
        ("a.jsonl.gz", jsonl(TEXTS)),
        ("a.jsonl", "\ufeff" + jsonl(TEXTS)),
        ("a.jsonl", jsonl(TEXTS).replace("\n", "\r\n")),
        ("a.jsonl", jsonl(TEXTS).replace("\n", "\n\n")),
        ("a.jsonl", jsonl(TEXTS).rstrip("\n")),
        ("a.json", json.dumps([{"text": text} for text in TEXTS], indent=1)),
        ("a.json", jsonl(TEXTS)),
        ("a.csv", as_csv(TEXTS)),
        ("a.csv", "\ufeff" + as_csv(TEXTS)),
        ("a.csv.gz", as_csv(TEXTS)),
        ("a.csv", as_csv(TEXTS, ";")),
        ("a.tsv", as_csv(TEXTS, "\t")),
    ],
)
def test_rows_of_every_kind_give_the_same_texts(tmp_path: Path, name: str, content: str) -> None:
    assert list(read_texts(write(tmp_path, name, content))) == TEXTS


def test_parquet_gives_the_same_texts(tmp_path: Path) -> None:
    assert list(read_texts(parquet(tmp_path, "a.parquet", {"n": [1, 2, 3, 4], "text": TEXTS}))) == TEXTS


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1), min_size=1, max_size=5))
def test_any_text_survives_csv_and_jsonl(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("texts")
    kept = [text for text in texts if text.strip()]
    assert list(read_texts(write(folder, "a.jsonl", jsonl(texts)))) == kept
    # CSV's own line ends are \r, \n and \r\n; the reader is given lines as they stand and keeps them.
    plain = [text.replace("\r", " ") for text in texts]
    assert list(read_texts(write(folder, "a.csv", as_csv(plain)))) == [text for text in plain if text.strip()]


def test_a_field_may_be_longer_than_the_csv_module_likes(tmp_path: Path) -> None:
    text = "word " * 100_000
    assert list(read_texts(write(tmp_path, "long.csv", as_csv([text])))) == [text]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz", "notes"])
def test_a_plain_text_file_is_one_document_word_for_word(tmp_path: Path, name: str) -> None:
    content = "First line.\r\n\r\n  Second: é\n"
    assert list(read_texts(write(tmp_path, name, content))) == [content]


def test_a_large_text_file_comes_in_blocks_that_join_to_the_whole(tmp_path: Path) -> None:
    content = "".join(f"line {number} of many\n" for number in range(120_000))
    blocks = list(read_texts(write(tmp_path, "large.txt", content)))
    assert len(blocks) == 3
    assert "".join(blocks) == content
    assert all(block.endswith("\n") for block in blocks)


TREEBANK = """# newdoc id = one
# sent_id = one-1
# text = Where is it?
1\tWhere\twhere\tADV

# sent_id = one-2
# text = Here.
1\tHere\there\tADV

# newdoc id = two
# text = Grün.
1\tGrün\tgrün\tADJ
"""


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
def test_a_treebank_gives_its_sentences_by_document(tmp_path: Path, name: str) -> None:
    assert list(read_texts(write(tmp_path, name, TREEBANK))) == ["Where is it?\nHere.\n", "Grün.\n"]
    assert list(read_texts(tmp_path)) == ["Where is it?\nHere.\n", "Grün.\n"]


def test_what_is_no_treebank(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conllu", "1\tWhere\twhere\tADV\n")
    with pytest.raises(DataError, match=r"a\.conllu holds no sentence: a treebank has a line .# text = .... for each"):
        list(read_texts(path))
    with pytest.raises(DataError, match=r"a\.conllu is plain text and has no columns"):
        read_table(write(tmp_path, "a.conllu", TREEBANK), ["text"])


def test_texts_of_white_space_are_left_out(tmp_path: Path) -> None:
    assert list(read_texts(write(tmp_path, "a.jsonl", jsonl(["a", " \n", "", "b"])))) == ["a", "b"]


def test_a_folder_is_read_in_order_and_without_its_readme(tmp_path: Path) -> None:
    write(tmp_path, "README.md", "about")
    write(tmp_path, "LICENSE.txt", "terms")
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git", "x.txt", "hidden")
    write(tmp_path / "b", "deep.txt", "deep")
    write(tmp_path, "a.jsonl", jsonl(["one", "two"]))
    write(tmp_path, "c.txt", "three")
    write(tmp_path, "d.png", b"\x89PNG")
    assert list(read_texts(tmp_path)) == ["one", "two", "deep", "three"]


def test_a_pattern_reads_what_it_matches(tmp_path: Path) -> None:
    write(tmp_path, "a1.txt", "one")
    write(tmp_path, "a2.txt", "two")
    write(tmp_path, "b.txt", "three")
    assert list(read_texts(tmp_path / "a*.txt")) == ["one", "two"]


def test_a_path_may_hold_anything_and_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "my, notes: [1]=2.txt", "here")
    assert list(read_texts(path)) == ["here"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(read_texts("~/" + path.name)) == ["here"]


def test_another_column_can_hold_the_text(tmp_path: Path) -> None:
    assert list(read_texts(write(tmp_path, "a.jsonl", jsonl(["x"], "body")), text_column="body")) == ["x"]


def test_the_digest_follows_the_content_not_the_place(tmp_path: Path) -> None:
    first = open_data(write(tmp_path, "a.txt", "same"))
    second = open_data(write(tmp_path, "b.txt", "same"))
    third = open_data(write(tmp_path, "c.txt", "other"))
    assert first.digest == second.digest != third.digest


def test_data_sets_of_the_datasets_library_are_read(tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_dict({"text": ["one", "", "two"], "label": [1, 2, 3]})
    rows.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"test": rows.select([0]), "train": rows}).save_to_disk(tmp_path / "split")
    write(tmp_path, "hub.jsonl", jsonl(["three"]))
    assert list(read_texts(tmp_path / "saved")) == ["one", "two"]
    assert list(read_texts(tmp_path / "split")) == ["one", "two"]
    with pytest.raises(DataError, match=r'saved: no column "txt". Did you mean "text"\? It has: text, label\.'):
        list(read_texts(tmp_path / "saved", "txt"))
    (tmp_path / "local").mkdir()
    write(tmp_path / "local", "hub.jsonl", jsonl(["three"]))
    assert list(read_texts(f"hub:{tmp_path}/local")) == ["three"]
    with pytest.raises(DataNotFound, match=r"datasets.load_dataset\(.*nowhere"):
        read_texts(f"hub:{tmp_path}/nowhere")


def test_a_table_keeps_values_and_places(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": 1, "more": 0}\n\n{"text": "b", "label": null}\n')
    assert read_table(path, ["text", "label"]) == {
        "": [f"{path} line 1", f"{path} line 3"],
        "text": ["a", "b"],
        "label": [1, None],
    }


def test_a_table_names_the_line_a_csv_row_begins_on(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,label\n"two\nlines",x\nnext,y\n')
    assert read_table(path, ["text"])[""] == [f"{path} line 2", f"{path} line 4"]


GOOD = jsonl(["a", "b", "c"]).encode()
BROKEN = [
    ("broken.jsonl", GOOD + b'{"text": oops}\n', r"broken.jsonl line 4: not JSON: Expecting value at column 10"),
    ("cut.jsonl", GOOD + b'{"text": "and th', r"cut.jsonl line 4: not JSON: Unterminated string"),
    ("list.jsonl", GOOD + b"[1, 2]\n", r"list.jsonl line 4: expected an object such as"),
    ("column.jsonl", b'{"txt": "a", "id": 1}\n', r'line 1: no column "text"\. Did you mean "txt"\? It has: txt, id\.'),
    ("late.jsonl", GOOD + b'{"id": 4}\n', r'late.jsonl line 4: no column "text"\. It has: id\.'),
    ("null.jsonl", GOOD + b'{"text": null}\n', r'null.jsonl line 4: column "text" is missing \(null\)'),
    ("number.jsonl", b'{"text": 3.5}\n', r'number.jsonl line 1: column "text" is float .3\.5., not text'),
    ("empty.jsonl", b"", r"empty.jsonl is empty\."),
    ("empty.txt", b"", r"empty.txt is empty\."),
    ("empty.csv", b"", r"empty.csv is empty\."),
    ("empty.parquet", b"", r"empty.parquet is empty\."),
    ("empty.jsonl.gz", b"", r"empty.jsonl.gz is empty\."),
    (
        "latin.jsonl",
        '{"text": "a"}\n{"text": "é"}\n'.encode("latin1"),
        r"latin.jsonl line 2: not UTF-8 \(byte 0xe9 at column 11\)",
    ),
    (
        "latin.csv",
        "text\na\né\n".encode("latin1"),
        r"latin.csv line 3: not UTF-8 .* iconv -f latin1 -t utf-8 latin.csv > new.csv",
    ),
    ("latin.txt", "ab\né\n".encode("latin1"), r"latin.txt line 2: not UTF-8"),
    ("wide.txt", "text".encode("utf-16"), r"wide.txt is UTF-16, not UTF-8 text"),
    ("wide.csv", "text".encode("utf-16-le"), r"wide.csv line 1: holds zero bytes"),
    ("sheet.csv", b"PK\x03\x04....", r"sheet.csv is a zip archive, not UTF-8 text"),
    ("paper.txt", b"%PDF-1.7\n", r"paper.txt is a PDF file"),
    ("column.csv", b"txt,id\na,1\n", r'column.csv line 1: no column "text"\. Did you mean "txt"\? It has: txt, id\.'),
    ("short.csv", b"text,id\na,1\nb\n", r"short.csv line 3: 1 fields, but the header has 2"),
    (
        "comma.csv",
        b"text,id\na,1\nb, and c,2\n",
        r'comma.csv line 3: 3 fields, .* a text that holds "," needs double quotes',
    ),
    ("quote.csv", b'text,id\na,1\n"b,2\n', r"quote.csv line 3: not CSV: unexpected end of data"),
    ("broken.json", b'[{"text": "a"},\n {"text" "b"}]', r"broken.json line 2: not JSON: Expecting ':' delimiter"),
    ("late.json", b'[{"text": "a"}, {"id": 1}]', r'late.json row 2: no column "text"'),
    ("corrupt.parquet", b"PAR1 this is not parquet PAR1", r"corrupt.parquet: not a readable Parquet file"),
    ("plain.gz", b"\x1f\x8b", None),
    (
        "cut.jsonl.gz",
        gzip.compress(GOOD * 500, mtime=0)[:-20],
        r"cut.jsonl.gz: the compressed data stop in the middle, after line \d+",
    ),
    ("bad.jsonl.gz", b"\x1f\x8b" + b"garbage" * 9, r"bad.jsonl.gz: not readable as gzip after line 0"),
    ("slides.pptx", b"x", r'slides.pptx: cannot read "\.pptx" files; give \.jsonl, .*\.txt'),
]


@pytest.mark.parametrize(
    ("name", "content", "message"), [case for case in BROKEN if case[2]], ids=lambda case: str(case)[:24]
)
def test_what_is_broken_is_named_by_file_and_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name == "empty.jsonl.gz" else content)
    with pytest.raises(DataError, match=message) as caught:
        list(read_texts(path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_gzip_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl.gz"
    path.write_bytes(GOOD)
    with pytest.raises(DataError, match=r"plain.jsonl.gz: not readable as gzip after line 0 \(Not a gzipped file"):
        list(read_texts(path))


def test_a_gzip_file_with_a_flipped_bit(tmp_path: Path) -> None:
    raw = bytearray(gzip.compress(GOOD * 500, mtime=0))
    raw[-5] ^= 1  # the checksum
    path = tmp_path / "flipped.jsonl.gz"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"flipped.jsonl.gz: not readable as gzip after line \d+ \(CRC check failed"):
        list(read_texts(path))


def test_a_parquet_file_cut_short_or_without_the_column(tmp_path: Path) -> None:
    whole = parquet(tmp_path, "whole.parquet", {"txt": ["a"] * 1000, "n": [1] * 1000})
    with pytest.raises(DataError, match=r'whole.parquet: no column "text"\. Did you mean "txt"\? It has: txt, n\.'):
        list(read_texts(whole))
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cut.parquet: not a readable Parquet file \(after row 0\)"):
        list(read_texts(cut, "txt"))
    with pytest.raises(DataError, match=r'whole.parquet row 1: column "n" is int'):
        list(read_texts(whole, "n"))


def test_what_is_nowhere_is_looked_for_and_said(tmp_path: Path) -> None:
    write(tmp_path, "notes.jsonl", jsonl(["a"]))
    with pytest.raises(DataNotFound, match=rf'looked for {tmp_path}/note.jsonl\)\. Did you mean "notes.jsonl"\?'):
        open_data(tmp_path / "note.jsonl")
    with pytest.raises(DataNotFound, match=r'Did you mean "shakespeare"\? Named data sets: instr-sni, law-de,'):
        open_data("shakespear")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"holds no data: no \.jsonl"):
        open_data(tmp_path / "none")
    with pytest.raises(DataError, match="is plain text and has no columns"):
        read_table(write(tmp_path, "a.txt", "a"), ["text"])
    with pytest.raises(DataError, match="holds no rows"):
        read_table(write(tmp_path, "a.csv", "text,label\n"), ["text"])


def test_named_data_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "src" / "tutelage").mkdir(parents=True)
    monkeypatch.setattr(data.tutelage, "__file__", str(checkout / "src" / "tutelage" / "__init__.py"))
    monkeypatch.delenv("TUTELAGE_DATA", raising=False)
    with pytest.raises(
        DataNotFound,
        match=r'"shakespeare" \(text_shakespeare/input.txt\) is not in \$TUTELAGE_DATA \(not set\), and no',
    ):
        open_data("shakespeare")
    write(checkout, "pyproject.toml", "")
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "mine"))
    beside = rf"is not in \$TUTELAGE_DATA \({tmp_path}/mine\) nor in {tmp_path}/shared/data, and no download"
    with pytest.raises(DataNotFound, match=beside):
        open_data("shakespeare")
    (tmp_path / "shared" / "data" / "text_shakespeare").mkdir(parents=True)
    write(tmp_path / "shared" / "data" / "text_shakespeare", "input.txt", "beside")
    assert list(read_texts("shakespeare")) == ["beside"]
    (tmp_path / "mine" / "text_shakespeare").mkdir(parents=True)
    write(tmp_path / "mine" / "text_shakespeare", "input.txt", "chosen")
    assert list(read_texts("shakespeare")) == ["chosen"]
    # A file of that name in the working folder must not silently change what the name means.
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "shakespeare", "working folder")
    assert list(read_texts("shakespeare")) == ["chosen"]
    assert list(read_texts(f".{os.sep}shakespeare")) == ["working folder"]
    with pytest.raises(ConfigError, match=r'No data set "shake"\. .*All: instr-sni, law-de'):
        data.find_named("shake")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder", "documents", "characters"),
    [
        ("shakespeare", "text_shakespeare", 2, 1_115_394),
        ("tinystories", "text_tinystories", 1, 940_000),
        ("wiki-en", "text_wiki_en", 4, 2_400_000),
        ("novels-en", "text_novels_en", 14, 5_700_000),
        ("novels-de", "text_novels_de", 12, 4_800_000),
        ("speeches", "text_speeches", 65, 2_100_000),
        ("law-de", "text_law_de", 55, 3_500_000),
    ],
)
def test_named_data_are_what_their_readme_says(shared_data, name, folder, documents, characters) -> None:
    shared_data(folder)
    texts = list(read_texts(name))
    assert len(texts) == documents
    assert sum(map(len, texts)) == pytest.approx(characters, rel=0.05)
