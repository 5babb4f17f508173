"""What the README and the pages show runs as it is written, with a smaller budget."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tutelage import cli

BUDGET = "4steps"
ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (
    "README.md",
    "docs/schedules.md",
    "docs/training.md",
    "docs/continuing.md",
    "docs/comparison.md",
    "docs/report.md",
)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def python_blocks() -> list[Any]:
    return [
        pytest.param(block, id=f"{page}-{index}")
        for page in PAGES
        for index, block in enumerate(blocks("python", (ROOT / page).read_text(encoding="utf-8")))
    ]


def shorter(text: str) -> str:
    """Return the text with budgets of a few updates and two seeds; whatever else it says stays."""
    text = re.sub(r"(--budget[ =]|\bbudget=[\"'])\d\w*", rf"\g<1>{BUDGET}", text)
    text = re.sub(r"(--seeds[ =]|\bseeds=)\d+", r"\g<1>2", text)
    return re.sub(r"(--extend[ =])\d\w*", rf"\g<1>{BUDGET}", text)


def commands() -> list[str]:
    """Return the shell lines, continuation lines joined, comments and prompts left out."""
    text = "".join(blocks("sh") + blocks("bash") + blocks("console")).replace("\\\n", " ")
    lines = [re.sub(r"^\$ ", "", line.strip()) for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.slow
@pytest.mark.parametrize("block", python_blocks())
def test_python(block: str, tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text(shorter(block))
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\bprint\(", block) or done.stdout.strip()


@pytest.mark.slow
def test_shell_lines_in_order(tmp_path: Path) -> None:
    assert commands()
    for line in commands():
        words = shlex.split(shorter(line), comments=True)
        assert words[0] == "tutelage", f"the README shows a command this test cannot judge: {line}"
        command = [sys.executable, "-c", "import tutelage.cli; tutelage.cli.main()", *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout.strip(), f"{line} printed nothing"


def test_make_targets_exist(root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.M))
    shown = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"demo", "test"} <= shown <= targets


def test_links_lead_somewhere(root: Path) -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (root / link).exists()] == []


def test_options_shown_exist(root: Path) -> None:
    """Every ``--option`` in the README and the pages is one that some command knows."""
    known = {"--index-url", "--help"}
    commands = [typer.main.get_command(cli.app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        known |= {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    for page in pages:
        text = "\n".join(re.findall(r"tutelage [a-z]+ [^`\n|]*", page.read_text()))
        assert set(re.findall(r"--[a-z][a-z-]+", text)) <= known, page.name
