r"""Where data come from: the user's files, named data sets, the hub; read a document or a row at a time.

>>> import tempfile, pathlib
>>> folder = pathlib.Path(tempfile.mkdtemp())
>>> _ = (folder / "notes.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n')
>>> list(read_texts(folder / "notes.jsonl"))
['One.', 'Two.']
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tutelage
from tutelage.errors import ConfigError, DataError, DataNotFound, did_you_mean
from tutelage.workloads._cache import content_key, file_digest
from tutelage.workloads._rows import (
    ROW_SUFFIXES,
    TEXT_SUFFIXES,
    as_text,
    kind_of,
    missing_column,
    read_lines,
    read_rows,
)

#: Named data sets: the folder each lives in and its files.
NAMED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "instr-sni": ("instr_sni", ("tasks.jsonl", "instances.jsonl.gz")),
    "law-de": ("text_law_de", ("docs.jsonl.gz",)),
    "novels-de": ("text_novels_de", ("docs.jsonl.gz",)),
    "novels-en": ("text_novels_en", ("docs.jsonl.gz",)),
    "shakespeare": ("text_shakespeare", ("input.txt",)),
    "speeches": ("text_speeches", ("docs.jsonl.gz",)),
    "tinystories": ("text_tinystories", ("stories.txt.gz",)),
    "web-en": ("treebank_en_ewt", ("train.conllu.gz", "dev.conllu.gz", "test.conllu.gz")),
    "wiki-en": ("text_wiki_en", ("valid.txt.gz", "test.txt.gz")),
}
_HUB = "hub:"
#: Passages that every Python brings: docstrings and functions of its standard library.
EMBEDDED = "standard-library"
#: A plain text file longer than this is read as several documents, so that it need not fit into memory.
_BLOCK_CHARACTERS = 1 << 20
_NOT_DATA = ("readme", "license", "licence")
#: Treebanks: their sentences stand in comments.
_TREEBANK = ".conllu"
_SENTENCE, _DOCUMENT = "# text = ", "# newdoc"


@dataclass(frozen=True)
class DataSource:
    """Data that were found: rows or documents, and a hash of their content.

    Args:
        label: What to call it.
        digest: Hash of the content.
        rows: ``rows(columns)`` yields each row and where it stands; ``None`` where the data are plain text only.
        texts: ``texts(text_column)`` yields each document.
        plain: Whether it is plain text, without columns.
        dataset: The ``datasets.Dataset`` it was read from, where it was.
    """

    label: str
    digest: str
    rows: Callable[[Sequence[str]], Iterator[tuple[str, Mapping[str, Any]]]]
    texts: Callable[[str], Iterator[str]]
    plain: bool = False
    dataset: Any = None


def open_data(data: str | os.PathLike[str]) -> DataSource:
    """Find data by path, name or hub id.

    Args:
        data: In this order: a named data set (:data:`NAMED`), looked for in ``$TUTELAGE_DATA`` and in
            ``../shared/data`` next to the checkout; ``standard-library``, passages that every Python brings;
            ``hub:NAME``, anything ``datasets.load_dataset`` takes (its training part); a file, a folder, a folder
            that ``datasets`` saved, or a pattern such as ``logs/*.jsonl``.

    Raises:
        DataNotFound: Nothing is there; the message says where it was looked for.
        DataError: The folder holds no file that can be read.
    """
    text = os.fspath(data)
    if text in NAMED:
        folder = find_named(text)
        return _from_files(text, [folder / name for name in NAMED[text][1]])
    if text == EMBEDDED:
        from tutelage.workloads._standard_library import standard_library_passages

        return standard_library_passages()
    if text.startswith(_HUB):
        return _from_dataset(text, _load_from_hub(text.removeprefix(_HUB)))
    path = Path(text).expanduser()
    if path.is_dir():
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            import datasets

            return _from_dataset(text, datasets.load_from_disk(str(path)))
        return _from_files(text, _files_in(path))
    if path.is_file():
        return _from_files(text, [path])
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if Path(name).is_file()]
    if found:
        return _from_files(text, found)
    raise _not_found(text, path)


def find_named(name: str) -> Path:
    """Return the folder of a named data set.

    Raises:
        DataNotFound: It is in none of the places that are searched.
        ConfigError: There is no data set of that name.
    """
    if name not in NAMED:
        raise ConfigError(f'No data set "{name}".{did_you_mean(name, NAMED)} All: {", ".join(NAMED)}.')
    return find_folder(*NAMED[name], name=name)


def find_folder(folder: str, files: Sequence[str], *, name: str | None = None) -> Path:
    """Return where a folder of data lies: in ``$TUTELAGE_DATA``, else in ``../shared/data`` next to the checkout.

    Args:
        folder: Name of the folder.
        files: Files that it must hold.
        name: What the data set is called, for the message.

    Raises:
        DataNotFound: It is in none of the places that are searched.
    """
    chosen = os.environ.get("TUTELAGE_DATA")
    tried = [f"$TUTELAGE_DATA ({chosen or 'not set'})"]
    places = [Path(chosen).expanduser()] if chosen else []
    checkout = Path(tutelage.__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        places.append(checkout.parent / "shared" / "data")
        tried.append(str(places[-1]))
    for place in places:
        if all((place / folder / file).is_file() for file in files):
            return place / folder
    raise DataNotFound(
        f'Data set "{name or folder}" ({folder}/{files[0]}) is not in {" nor in ".join(tried)}, and no download of it '
        "is published yet. Put it there, or give a file of your own: data=PATH."
    )


def read_texts(data: str | os.PathLike[str], text_column: str = "text") -> Iterator[str]:
    """Return the documents of a file, folder or named data set, one by one.

    A row is a document. A plain text file is one too; one above a million characters counts as several, cut at line
    ends, so that it need not fit into memory. Of a treebank (``.conllu``) the sentences are read, a line each, in the
    documents it marks. Documents of white space only are left out.

    Args:
        data: See :func:`open_data`.
        text_column: Column that holds the text; plain text files need none.

    Raises:
        DataNotFound: Nothing is there.
        DataError: The content cannot be used; names file and line or row.
    """
    return open_data(data).texts(text_column)


def read_table(data: str | os.PathLike[str], columns: Sequence[str]) -> dict[str, list[Any]]:
    """Return columns of a file, folder or data set of rows as lists of equal length.

    The list under ``""`` says where each row stands, such as ``data.csv line 3``, for messages about its content.

    Args:
        data: See :func:`open_data`.
        columns: Columns to read.

    Raises:
        DataNotFound: Nothing is there.
        DataError: The content cannot be used, or a column is missing; names file and line or row.
    """
    source = open_data(data)
    table: dict[str, list[Any]] = {name: [] for name in ("", *columns)}
    for where, row in source.rows(columns):
        table[""].append(where)
        for name in columns:
            table[name].append(row[name])
    if not table[""]:
        raise DataError(f"{source.label} holds no rows.")
    return table


def _files_in(folder: Path) -> list[Path]:
    known = (*ROW_SUFFIXES, *TEXT_SUFFIXES, _TREEBANK)
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and kind_of(path) in known
        and not path.name.lower().startswith(_NOT_DATA)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(f"{folder} holds no data: no {', '.join(known)} file (or .gz of those).")
    return files


def _from_files(label: str, files: Sequence[Path]) -> DataSource:
    def rows(columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for path in files:
            if kind_of(path) in (*TEXT_SUFFIXES, _TREEBANK):
                raise DataError(f"{path} is plain text and has no columns; give {', '.join(ROW_SUFFIXES)}.")
            yield from read_rows(path, columns)

    def texts(text_column: str) -> Iterator[str]:
        for path in files:
            # A file without a suffix is most likely text; one with a strange suffix is most likely a mistake.
            if kind_of(path) in ("", *TEXT_SUFFIXES):
                yield from _read_blocks(path)
            elif kind_of(path) == _TREEBANK:
                yield from _read_treebank(path)
            else:
                yield from _texts_of(read_rows(path, [text_column]), text_column)

    digest = content_key(*(f"{kind_of(path)}:{file_digest(path)}" for path in files))
    plain = all(kind_of(path) in ("", *TEXT_SUFFIXES, _TREEBANK) for path in files)
    return DataSource(label, digest, rows, texts, plain)


def _texts_of(rows: Iterable[tuple[str, Mapping[str, Any]]], column: str) -> Iterator[str]:
    for where, row in rows:
        text = as_text(row[column], where, column)
        if text.strip():
            yield text


def _read_blocks(path: Path) -> Iterator[str]:
    block: list[str] = []
    length = 0
    for line in read_lines(path):
        block.append(line)
        length += len(line)
        if length >= _BLOCK_CHARACTERS:
            yield "".join(block)
            block, length = [], 0
    text = "".join(block)
    if text.strip():
        yield text


def _read_treebank(path: Path) -> Iterator[str]:
    sentences: list[str] = []
    found = False
    for line in read_lines(path):
        if line.startswith(_DOCUMENT) and sentences:
            yield "".join(sentences)
            sentences = []
        elif line.startswith(_SENTENCE):
            sentences.append(line.removeprefix(_SENTENCE))
            found = True
    if not found:
        raise DataError(f'{path} holds no sentence: a treebank has a line "{_SENTENCE}..." for each.')
    if sentences:
        yield "".join(sentences)


def _load_from_hub(name: str) -> Any:
    import datasets

    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # what goes wrong between here and the hub has no common base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataNotFound(f'datasets.load_dataset("{name}") did not work: {reason}') from error
    return loaded


def _from_dataset(label: str, loaded: Any) -> DataSource:
    if hasattr(loaded, "keys"):
        loaded = loaded["train"] if "train" in loaded else loaded[next(iter(loaded))]

    def rows(columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for column in columns:
            if column not in loaded.column_names:
                raise missing_column(label, column, loaded.column_names)
        for number, row in enumerate(loaded.select_columns(list(columns)), 1):
            yield f"{label} row {number}", row

    def texts(text_column: str) -> Iterator[str]:
        return _texts_of(rows([text_column]), text_column)

    return DataSource(label, content_key(loaded._fingerprint), rows, texts, dataset=loaded)


def _not_found(text: str, path: Path) -> DataNotFound:
    near = did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else [])
    near = near or did_you_mean(text, NAMED)
    return DataNotFound(
        f"No file, folder or data set {text} (looked for {path.absolute()}).{near} Named data sets: {', '.join(NAMED)}."
    )
