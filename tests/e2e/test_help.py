"""Every command's help shows two examples, and they run as they are written, in the order of the commands."""

from __future__ import annotations

import re
import shlex

import typer

from tutelage import cli


def commands():
    return typer.main.get_command(cli.app).commands


def examples(command):
    return [line.strip()[2:] for line in (command.epilog or "").splitlines() if line.strip().startswith("$ ")]


def test_every_command_says_what_it_does_and_shows_two_examples(run):
    for name, command in commands().items():
        assert command.help, name
        assert len(examples(command)) >= 2, name
        shown = run(name, "--help")
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
            # the grid of runs to fit that of test_fit_power.
            if name in ("study", "score-submissions", "fit-power"):
                continue
            outcome = run(*words)
            assert outcome.code == 0, f"{line}\n{outcome.err}"
            assert outcome.out.strip()
