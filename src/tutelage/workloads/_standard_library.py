"""Text that every Python brings along: its language reference, the docstrings of its standard library, some source.

Nothing is imported or run; sources are parsed. The text depends on the Python version, so results are compared within
one version only; the workload's fingerprint sees to that.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tutelage.errors import DataNotFound
from tutelage.workloads._cache import cached, content_key, file_digest
from tutelage.workloads.data import DataSource

_VERSION = 1
_LEFT_OUT = {
    "__pycache__",
    "dist-packages",
    "encodings",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}
#: Source text beside the prose, about this much; a module is shown as source or as docstrings, never as both.
_SOURCE_CHARACTERS = 1_500_000
_SHORTEST_PROSE, _SHORTEST_CODE, _LONGEST_PASSAGE = 60, 150, 600

#: What a module is for: the labels of the default text classification.
FAMILIES: dict[str, tuple[str, ...]] = {
    label: tuple(modules.split())
    for label, modules in {
        "concurrency": """asyncio concurrent contextlib multiprocessing queue sched selectors signal subprocess
            threading weakref""",
        "files": """_pyio bz2 codecs configparser csv dbm filecmp fileinput fnmatch genericpath glob gzip io json
            linecache lzma mimetypes ntpath os pathlib pickle pickletools plistlib posixpath shelve shutil sqlite3 stat
            tarfile tempfile tomllib zipapp zipfile""",
        "internet": """base64 cgi email ftplib html http imaplib ipaddress mailbox nntplib poplib quopri smtpd smtplib
            socket socketserver ssl telnetlib urllib webbrowser wsgiref xml xmlrpc""",
        "language": """_collections_abc abc ast bdb code codeop collections compileall copy ctypes dataclasses dis
            distutils enum functools imp importlib inspect modulefinder operator pdb pkgutil pyclbr pydoc runpy symtable
            tokenize trace traceback types typing zipimport""",
        "numbers and dates": """_pydatetime _pydecimal _strptime bisect calendar colorsys datetime fractions graphlib
            hashlib heapq hmac numbers random secrets statistics uuid zoneinfo""",
        "tests and logs": "cProfile doctest logging profile pstats timeit tracemalloc unittest warnings",
        "user interface": """argparse cmd curses difflib getopt getpass gettext locale optparse pprint readline
            rlcompleter shlex string textwrap tkinter turtle""",
    }.items()
}


def standard_library_text() -> DataSource:
    """Return the embedded text as documents: reference topics, the docstrings of each module, source files.

    Raises:
        DataNotFound: This Python has no sources of its standard library.
    """
    return _source("standard library", "documents.jsonl")


def standard_library_passages() -> DataSource:
    """Return rows with columns ``text`` and ``label``: a docstring, or a function without one, and its module's family.

    Raises:
        DataNotFound: This Python has no sources of its standard library.
    """
    return _source("standard library", "passages.jsonl")


def _source(label: str, name: str) -> DataSource:
    from tutelage.workloads import data

    files = list(_modules())
    key = content_key(_VERSION, sys.version, *(f"{name} {path.stat().st_size}" for name, path in files))
    path = cached("standard-library", key, lambda folder: _write(folder, files)) / name
    found = data.open_data(path)
    return DataSource(label, content_key(file_digest(path)), found.rows, found.texts)


def _modules() -> Iterator[tuple[str, Path]]:
    """Yield the standard library's source files by their name below its root, in a fixed order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).parts
        if not any(part in _LEFT_OUT or part.startswith("config-") for part in parts):
            found["/".join(parts)] = path
    if len(found) < 100:
        raise DataNotFound(
            f"The embedded text is made from the sources of Python's standard library, and {root} holds hardly any; "
            "give a text of your own: data=PATH."
        )
    yield from sorted(found.items())


def _write(folder: Path, files: list[tuple[str, Path]]) -> None:
    prose, source = list[str](), list[str]()
    passages: dict[str, str] = {}
    left = _SOURCE_CHARACTERS
    family = {module: label for label, modules in FAMILIES.items() for module in modules}
    # By hash of the name: a mixture of modules that hardly moves from one Python version to the next.
    order = sorted(files, key=lambda file: hashlib.sha256(file[0].encode()).digest())
    shown_as_source = set()
    for name, path in order:
        size = path.stat().st_size
        if 2_000 <= size <= min(left, 100_000):
            shown_as_source.add(name)
            left -= size
    for name, path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            tree = ast.parse(text)
        except SyntaxError:  # templates that only look like modules
            continue
        blocks = list(_documented(tree, name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")))
        if name in shown_as_source:
            source.append(text)
        elif any(docs for _, docs, _ in blocks):
            prose.append("".join(f"{title}\n\n{docs}\n\n" for title, docs, _ in blocks if docs))
        label = family.get(name.partition("/")[0].removesuffix(".py"))
        if label is not None:
            for passage in _passages(blocks, text.splitlines()):
                passages.setdefault(passage, label)
    _write_rows(folder / "documents.jsonl", [{"text": text} for text in dict.fromkeys([*_topics(), *prose, *source])])
    _write_rows(folder / "passages.jsonl", [{"text": text, "label": label} for text, label in passages.items()])


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        # ASCII on disk, so that a lone surrogate in somebody's docstring cannot stop the writing.
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _topics() -> Iterator[str]:
    """Yield the chapters of the language reference that ``help()`` shows."""
    if importlib.util.find_spec("pydoc_data") is None:
        return
    from pydoc_data.topics import topics

    for name in sorted(topics):
        yield topics[name]


def _documented(tree: ast.Module, module: str) -> Iterator[tuple[str, str, ast.AST]]:
    """Yield title, docstring and node of the module and each class and function in it, in reading order."""
    yield module, ast.get_docstring(tree) or "", tree
    yield from _definitions(tree.body, module)


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, str, ast.AST]]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            title = f"{prefix}.{node.name}"
            yield title, ast.get_docstring(node) or "", node
            yield from _definitions(node.body, title)
        elif isinstance(node, ast.If | ast.Try):
            yield from _definitions([*node.body, *node.orelse], prefix)


def _passages(blocks: list[tuple[str, str, ast.AST]], lines: list[str]) -> Iterator[str]:
    for _, docs, node in blocks:
        if len(docs.strip()) >= _SHORTEST_PROSE:
            yield docs[:_LONGEST_PASSAGE].strip()
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            code = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            if len(code) >= _SHORTEST_CODE:
                yield code[:_LONGEST_PASSAGE].rstrip()
