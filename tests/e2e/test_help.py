"""Every command's help shows two examples, and they run as they are written, in the order of the commands."""

from __future__ import annotations

import re
import shlex

import typer

from tutelage import cli


def commands():
    """Return every command by its words; those of a group stand for the group."""
    found = {}
    for name, command in typer.main.get_command(cli.app).commands.items():
        below = getattr(command, "commands", None)
        found |= {name: command} if below is None else {f"{name} {word}": one for word, one in below.items()}
    return found


def examples(command):
    return [line.strip()[2:] for line in (command.epilog or "").splitlines() if line.strip().startswith("$ ")]


def test_every_command_says_what_it_does_and_shows_two_examples(run):
    for name, command in commands().items():
        assert command.help, name
        assert len(examples(command)) >= 2, name
        shown = run(*name.split(), "--help")
        assert shown.code == 0
        assert "Examples:" in shown.out
        for option in re.findall(r"(--[a-z][a-z-]+)", " ".join(examples(command))):
            assert option in shown.out, f"{name}: {option}"


def test_the_examples_run(run):
    for name, command in commands().items():
        for line in examples(command):
            program, *words = shlex.split(line)
            assert program == "tutelage"
            # A study takes minutes (tests/studies runs a small one); the logs to score are tests/evaluation's to make,
            # the runs to fit those of test_fit_power and test_fit_rule, the files to forecast those of test_forecast*.
            if name in ("study", "score-submissions", "fit-power", "fit-rule") or name.startswith("forecast "):
                continue
            outcome = run(*words)
            assert outcome.code == 0, f"{line}\n{outcome.err}"
            assert outcome.out.strip()
