"""What the pages promise is there: links, commands and options."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import seit.cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMAND = typer.main.get_command(seit.cli.app)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"https?:|#|mailto:", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


def shown(page: Path) -> list[str]:
    """Returns the commands of a page: lines of its code blocks that start with `seit`."""
    text = re.sub(r"\\\n\s*", "", page.read_text())
    return [line.strip() for line in re.findall(r"^(?:    |\t|\$ )?(seit [a-z].*)$", text, re.MULTILINE)]


def check(line: str) -> None:
    """Finds the command that a line names, and each of its options."""
    words = shlex.split(line, comments=True)[1:]
    command = COMMAND
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"there is no `seit {words[0]}`"
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in parameter.opts}
    for word in words:
        if word in ("&&", "|", ";", ">"):
            return
        if word.startswith("--"):
            assert word.partition("=")[0] in options, f"`{line}` has no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_the_pages_exist_with_their_options(page):
    for line in shown(page):
        check(line)


def test_the_readme_shows_the_main_job():
    verbs = {line.split()[1] for line in shown(ROOT / "README.md")}
    assert {"tokenize", "info", "show", "train", "eval", "predict"} <= verbs


def test_commands_in_the_recipes_exist():
    for path in (ROOT / "src" / "seit" / "recipes").glob("*.py"):
        for line in re.findall(r"^ *(seit [a-z].*)$", path.read_text(), re.MULTILINE):
            for part in line.split(" && "):
                check(part)
