"""Method cards: what a part's docstring says, by section, read without importing the part.

A part's docstring *is* its card; the command line shows it, the documentation is generated from it, and the table of
papers learns from its *Source* which part comes from which paper.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tutelage.errors import ConfigError
from tutelage.registry import PartEntry

#: The sections of a card, in their order.
SECTIONS = (
    "Args",
    "Returns",
    "Raises",
    "Example",
    "Use with",
    "Helps / does not help",
    "Relations",
    "Source",
)
_ALSO = ("Arguments", "Attributes", "Examples", "Yields", "Note", "Notes", "Warns", "Parameters")
_SAME = {"Arguments": "Args", "Parameters": "Args", "Examples": "Example", "Notes": "Note"}
_HEADER = re.compile(rf"^({'|'.join(re.escape(name) for name in SECTIONS + _ALSO)}):[ \t]*(.*)$")
_ITEM = re.compile(r"^(\*{0,2}[A-Za-z_][\w.]*(?:, \*{0,2}[A-Za-z_][\w.]*)*)(?: \([^)]*\))?:(?:[ \t]+(.*)|$)")
_ARXIV = re.compile(r"arXiv[:\s]\s*(\d{4}\.\d{4,5})", re.IGNORECASE)


@dataclass(frozen=True)
class Argument:
    """One argument of a part.

    Args:
        name: As it is written in a spec.
        type: As annotated in the source.
        default: As written in the source, or ``None`` where the argument must be given.
        meaning: What the card says about it.
    """

    name: str
    type: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class Card:
    """What a part's docstring says.

    Args:
        family: The part's family, such as ``schedules``.
        name: Its spec name.
        title: The name of its class.
        module: Where the class is defined.
        opening: All text before the first section: summary, formula, values.
        sections: Text of each section present, dedented, by its name.
        arguments: The arguments, in the order of the source.
    """

    family: str
    name: str
    title: str
    module: str
    opening: str
    sections: Mapping[str, str]
    arguments: tuple[Argument, ...]

    @property
    def summary(self) -> str:
        """The opening's first paragraph on one line."""
        return " ".join(self.opening.split("\n\n")[0].split())

    @property
    def has_formula(self) -> bool:
        """Whether the opening states the formula."""
        return "**Formula**" in self.opening

    @property
    def arxiv(self) -> tuple[str, ...]:
        """The arXiv identifiers of its *Source*, in order; those in brackets are mentions, not sources."""
        return arxiv_in(self.sections.get("Source", ""))


def arxiv_in(source: str) -> tuple[str, ...]:
    """Return the arXiv identifiers a *Source* names, in order; those in brackets are mentions, not sources."""
    return tuple(dict.fromkeys(_ARXIV.findall(re.sub(r"\([^()]*\)", "", source))))


def split_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """Split a Google-style docstring into the text before its first section and its sections.

    A section starts at an unindented ``Name:``, with its text on the same line or indented below it, and ends where
    unindented text begins again; that text is kept with what precedes the sections.

    Returns:
        The opening, and each section's dedented text by name; spellings such as ``Examples`` become ``Example``.
    """
    opening: list[str] = []
    sections: dict[str, list[str]] = {}
    current: list[str] = opening
    for line in inspect.cleandoc(docstring).splitlines():
        header = _HEADER.match(line)
        if header is not None:
            name = _SAME.get(header[1], header[1])
            current = sections.setdefault(name, [])
            if header[2]:
                current.append("    " + header[2])
        else:
            if line and not line[0].isspace():
                current = opening
            current.append(line)
    texts = {name: inspect.cleandoc("\n" + "\n".join(lines)) for name, lines in sections.items()}
    return "\n".join(opening).strip(), texts


def split_items(text: str) -> dict[str, str]:
    """Split the text of ``Args`` or ``Raises`` into its entries: ``name: meaning`` with indented continuation."""
    items: dict[str, list[str]] = {}
    meaning: list[str] = []
    for line in text.splitlines():
        start = _ITEM.match(line)
        if start is not None:
            meaning = [start[2] or ""]
            for name in start[1].split(", "):
                items[name.lstrip("*")] = meaning
        else:
            meaning.append(line.strip())
    return {name: " ".join(" ".join(lines).split()) for name, lines in items.items()}


def read_card(entry: PartEntry) -> Card:
    """Return the card of a listed part; its module is parsed, not run.

    Raises:
        ConfigError: The entry names no class in a Python source file.
    """
    module, _, title = entry.target.partition(":")
    classes = _classes(module)
    if title not in classes:
        raise ConfigError(f"{entry.target}, listed as {entry.family} {entry.name}, is not a class in a source file.")
    node = classes[title]
    opening, sections = split_docstring(ast.get_docstring(node, clean=False) or "")
    meanings = split_items(sections.get("Args", ""))
    arguments = tuple(
        Argument(name, kind, default, meanings.get(name, "")) for name, kind, default in _fields(node, classes)
    )
    return Card(entry.family, entry.name, title, module, opening, sections, arguments)


@functools.cache
def _classes(module: str) -> Mapping[str, ast.ClassDef]:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        return {}
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _fields(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> list[tuple[str, str, str | None]]:
    """Return name, type and default of each dataclass field, those of base classes in the same file first."""
    fields: dict[str, tuple[str, str | None]] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            fields |= {name: (kind, default) for name, kind, default in _fields(classes[base.id], classes)}
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        kind = ast.unparse(item.annotation)
        if item.target.id.startswith("_") or kind.startswith("ClassVar"):
            continue
        default = None if item.value is None else ast.unparse(item.value)
        if default is not None and default.startswith("field("):
            if "init=False" in default:
                continue
            default = re.sub(r"^field\(default(?:_factory)?=(.*)\)$", r"\1", default)
        fields[item.target.id] = (kind, default)
    return [(name, kind, default) for name, (kind, default) in fields.items()]
