"""Write the pages that are read off the code and the stored results; nothing in them is typed.

python docs/generate.py            write docs/cards/, docs/parts.md, docs/status.md, docs/reference.md,
                            docs/benchmarks.md, docs/studies.md, README.md (its table)
python docs/generate.py --check    change nothing; exit 1 and name the files that are stale
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from measured import benchmarks_page, studies_page, verdict_table

from tutelage.cards import SECTIONS, Card, read_card, split_items
from tutelage.registry import FAMILIES
from tutelage.studies import StatusRow, papers, status_rows
from tutelage.studies.status import own_parts

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py from {source}; edit that, not this. -->\n\n"
#: Modules whose ``__all__`` is the public interface.
PUBLIC = (
    "tutelage",
    "tutelage.schedules",
    "tutelage.signals",
    "tutelage.curricula",
    "tutelage.selection",
    "tutelage.merging",
    "tutelage.optimizers",
    "tutelage.models",
    "tutelage.workloads",
    "tutelage.training",
    "tutelage.comparison",
    "tutelage.evaluation",
    "tutelage.forecast",
    "tutelage.studies",
    "tutelage.testing",
)


def to_markdown(text: str) -> str:
    """Turn a docstring's markup into Markdown: literals, roles, literal blocks, examples, arXiv links."""
    blocks: list[str] = []
    plain: list[str] = []
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        example = lines[index].lstrip().startswith(">>>")
        literal = bool(plain) and plain[-1].rstrip().endswith("::") and not lines[index].strip()
        if not example and not literal:
            plain.append(lines[index])
            index += 1
            continue
        if literal:
            plain[-1] = re.sub(r"\s*::\s*$", ":", plain[-1])
        end = index + literal
        while end < len(lines) and (lines[end][:1].isspace() or not lines[end] if literal else lines[end].strip()):
            end += 1
        blocks += [_inline("\n".join(plain)), _fenced(lines[index:end], "pycon" if example else "text")]
        plain = []
        index = end
    return "\n\n".join(block.strip() for block in [*blocks, _inline("\n".join(plain))] if block.strip())


def _fenced(lines: list[str], language: str) -> str:
    body = inspect.cleandoc("\n" + "\n".join(lines)).rstrip()
    return f"```{language}\n{body}\n```"


def _inline(text: str) -> str:
    text = re.sub(r":(?:class|func|meth|mod|attr|data|exc|obj):`~?(?:[\w.]*\.)?([\w]+)`", r"`\1`", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    text = re.sub(r"(?<![\[/`])arXiv[:\s](\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else piece.replace("<", "&lt;") for piece in pieces)


def _cell(text: str) -> str:
    return _inline(" ".join(text.split())).replace("|", "\\|")


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def card_page(card: Card) -> str:
    """Return the page of one part."""
    parts = [NOTE.format(source=f"the docstring of {card.module}.{card.title}")]
    parts.append(f"# {card.title}\n\n")
    parts.append(f"`{card.name}` in [{card.family}](../../parts.md#{card.family}) · `{card.module}.{card.title}`\n\n")
    parts.append(to_markdown(card.opening) + "\n\n")
    if card.arguments:
        rows = [
            [f"`{item.name}`", f"`{_code(item.type)}`", _default(item.default), _cell(item.meaning)]
            for item in card.arguments
        ]
        parts.append("## Args\n\n" + _table(["name", "type", "default", "meaning"], rows) + "\n")
    for section in (name for name in SECTIONS if name != "Args" and name in card.sections):
        text = card.sections[section]
        if section == "Raises":
            body = "\n".join(f"- `{name}`: {_inline(meaning)}" for name, meaning in split_items(text).items())
        else:
            body = to_markdown(text)
        parts.append(f"## {section}\n\n{body}\n\n")
    return "".join(parts).rstrip() + "\n"


def _code(text: str) -> str:
    return text.replace("|", "\\|")


def _default(default: str | None) -> str:
    return "required" if default is None else f"`{_code(default)}`"


def parts_page(cards: list[Card]) -> str:
    """Return the table of all parts, family by family."""
    text = NOTE.format(source="the parts tables and docstrings")
    text += (
        "# Parts\n\nEvery part has a name for spec strings (`uba:phi=5`) and a card. `tutelage parts` prints this.\n"
    )
    for family, question in FAMILIES.items():
        rows = [
            [f"[`{card.name}`](cards/{family}/{card.name}.md)", f"`{card.title}`", _cell(card.summary)]
            for card in cards
            if card.family == family
        ]
        text += f'\n<a id="{family}"></a>\n\n## {family}: {question}\n\n'
        text += _table(["spec name", "class", "what it is"], rows)
    return text


def _part_link(part: str) -> str:
    """Return a link to the card of ``family:name``, or to the table that lists ``package.Name``."""
    if ":" in part:
        return f"[{part.split(':')[1]}](cards/{part.replace(':', '/')}.md)"
    package, _, name = part.rpartition(".")
    return f"[{name}](reference.md#tutelage{package})"


def status_page(rows: tuple[StatusRow, ...]) -> str:
    """Return the table of papers."""
    measured = sum(row.verdict is not None for row in rows)
    text = NOTE.format(source="the parts' sources, the study files and their stored results")
    text += "# Status\n\n"
    text += (
        f"Of {len(rows)} papers, {sum(bool(row.parts) for row in rows)} have a part here, "
        f"{sum(row.study is not None for row in rows)} a study and {measured} a stored verdict. An empty cell means "
        "that nothing is there yet. *Other seeds* says whether the result comes again on them: the two estimates of "
        "each claim differ by no more than half the 95 % interval of their difference. `tutelage papers --json` prints "
        "this table.\n\n"
    )
    table = [
        [
            str(row.paper.number),
            f'[{row.paper.name}]({row.paper.url} "{_title(row.paper.title)}")',
            ", ".join(row.paper.slots),
            ", ".join(row.paper.roles),
            ", ".join(map(_part_link, row.parts)),
            row.study or "",
            row.verdict or "",
            row.scale or "",
            "" if row.effect is None else f"{row.effect:+.4g}",
            row.date or "",
            row.reproduced or "",
        ]
        for row in rows
    ]
    header = ["#", "paper", "slot", "role", "part", "study", "verdict", "scale", "effect", "date", "other seeds"]
    return text + _table(header, table)


def _title(title: str) -> str:
    return title.replace('"', "'")


def reference_page() -> str:
    """Return the list of all public names with the first line of what they say of themselves."""
    text = NOTE.format(source="the modules' `__all__` and docstrings")
    text += "# Reference\n\nEvery public name. `help(name)` in Python says the rest.\n"
    for module_name in PUBLIC:
        if importlib.util.find_spec(module_name) is None:
            continue
        module = importlib.import_module(module_name)
        names = [name for name in sorted(getattr(module, "__all__", ()), key=str.lower) if not name.startswith("__")]
        if names:
            text += f"\n## {module_name}\n\n{_cell(_first_paragraph(module.__doc__))}\n\n"
            rows = [[f"`{name}`", _cell(_describe(getattr(module, name)))] for name in names]
            text += _table(["name", "what it is"], rows)
    return text


def _describe(value: object) -> str:
    # What another library says of its own names differs between its versions.
    ours = str(getattr(value, "__module__", "")).startswith("tutelage")
    return _first_paragraph(value.__doc__) if ours and callable(value) else ""


def _first_paragraph(docstring: str | None) -> str:
    return inspect.cleandoc(docstring or "").split("\n\n")[0]


def pages() -> Iterator[tuple[Path, Callable[[], str]]]:
    """Yield each generated page's path under ``docs`` and what writes it."""
    cards = [read_card(entry) for entry in own_parts()]
    for card in cards:
        yield Path("cards", card.family, f"{card.name}.md"), lambda card=card: card_page(card)
    yield Path("parts.md"), lambda: parts_page(cards)
    yield Path("status.md"), lambda: status_page(status_rows())
    yield Path("reference.md"), reference_page
    note = NOTE.format(source="docs/measured.py and benchmarks/results")
    yield Path("benchmarks.md"), lambda: note + benchmarks_page()
    studies_note = NOTE.format(source="the study files and their stored results")
    yield Path("studies.md"), lambda: studies_note + studies_page(status_rows())
    yield Path("../README.md"), readme


def readme() -> str:
    """Return the README with its table of verdicts made anew."""
    start, end = "<!-- verdicts: written by docs/generate.py -->\n", "<!-- end of verdicts -->\n"
    before, _, rest = (DOCS.parent / "README.md").read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    return before + start + verdict_table(status_rows()) + end + after


def main(arguments: list[str] | None = None) -> int:
    """Write all pages, or check them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is stale")
    check = parser.parse_args(arguments).check
    wanted = {(DOCS / path).resolve(): text() for path, text in pages()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    surplus = [path for path in sorted((DOCS / "cards").rglob("*.md")) if path not in wanted]
    if check:
        for path in stale + surplus:
            print(f"stale: {path.relative_to(DOCS.parent)}; run python docs/generate.py", file=sys.stderr)
        return 1 if stale or surplus else 0
    for path in surplus:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(DOCS.parent)}")
    print(f"{len(papers())} papers, {len(wanted)} pages, {len(stale)} written, {len(surplus)} removed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
