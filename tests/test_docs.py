"""The documentation says what the code does: links, commands, settings, columns, flags."""

import re
from pathlib import Path

import alert_schema_page
import pytest
import settings_page
import typer
import yaml

from zsds.candidates.flags import CANDIDATE_FLAG_MEANINGS, CandidateFlag
from zsds.cli import all_commands
from zsds.core.flags import FLAG_MEANINGS, Mask
from zsds.io.kafka_options import PublishSettings
from zsds.report import ReportSettings
from zsds.sim import ComparisonSettings, EpochSettings, TransientSettings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
GROUPS = [group for _, group in settings_page.COMMANDS]
GROUPS += [PublishSettings(), ReportSettings(), ComparisonSettings(), EpochSettings(), TransientSettings()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert page.name == "index.md" or f"({page.name})" in index, page.name


def commands(command, name="zsds"):
    """Full names of all commands below one."""
    below = getattr(command, "commands", {})
    return (
        [full for key, one in below.items() for full in commands(one, f"{name} {key}")] if below else [name]
    )


def test_every_command_is_documented_with_an_example():
    root = typer.main.get_command(all_commands())
    for name in commands(root):
        words = name.split()
        found = re.search(rf"{name}\b|{' '.join(words[:-1])} [\w|]*\b{words[-1]}\b", TEXT)
        assert found, f"{name} is in no page"
        command = root
        for word in words[1:]:
            command = command.commands[word]
        assert f"Example: {name}" in command.help, f"{name} --help has no example"


def test_commands_named_in_the_documentation_exist():
    known = set(commands(typer.main.get_command(all_commands())))
    groups = {" ".join(name.split()[:2]) for name in known}
    code = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) + re.findall(r"`([^`\n]+)`", TEXT)
    code += re.findall(r"^    (.*)", TEXT, re.MULTILINE)
    for words in re.findall(r"^zsds ([a-z]+)(?: ([a-z]+))?", "\n".join(code), re.MULTILINE):
        assert f"zsds {words[0]}" in groups, words
        if words[1] and f"zsds {words[0]}" not in known:
            assert f"zsds {words[0]} {words[1]}" in known, words


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: type(group).__name__)
def test_every_setting_has_a_meaning(group):
    assert [one.path for one in settings_page.settings_of(group) if not one.meaning] == []


def test_the_page_of_the_stream_has_its_settings_and_messages():
    page = (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")
    for one in settings_page.settings_of(PublishSettings(), "publish."):
        assert f"| `{one.path}` | `{one.default}` | {one.meaning} |" in page
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "zsds").rglob("*.py"))
    for line in page.partition("## What may go wrong")[2].splitlines():
        for words in re.findall(r"`([^`]+)`", line):
            assert words.startswith(("No such", "another publisher", "sends this")) or words in code, words


def test_the_page_of_settings_is_up_to_date():
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), (
        "run: python tests/settings_page.py"
    )


def test_page_of_alert_schemas_is_that_of_the_schemas():
    assert alert_schema_page.PAGE.read_text(encoding="utf-8") == alert_schema_page.page(), (
        "run: python tests/alert_schema_page.py"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "schemas" / "tables").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_table_and_column_has_a_meaning(path):
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert table["name"] == path.stem
    assert table["meaning"].strip()
    for column in table["columns"]:
        assert column["meaning"].strip(), column["name"]


def test_every_mask_bit_has_a_meaning_and_is_documented():
    assert set(FLAG_MEANINGS) == set(Mask)
    section = (ROOT / "docs" / "products.md").read_text(encoding="utf-8").partition("## Masks")[2]
    section = section.partition("\n## ")[0]
    bits = {int(bit) for bit in re.findall(r"\| (\d+) \|", section)}
    assert bits == {flag.bit_length() - 1 for flag in Mask}


def test_every_candidate_flag_has_a_meaning_and_is_documented():
    assert set(CANDIDATE_FLAG_MEANINGS) == set(CandidateFlag)
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", page, re.MULTILINE))
    assert {int(bit): name for bit, name in rows.items()} == {
        flag.bit_length() - 1: flag.name for flag in CandidateFlag
    }


def test_what_is_not_built_is_said():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = readme.partition("What is not built yet:")[2]
    known = {name.split()[1] for name in commands(typer.main.get_command(all_commands()))}
    for command, words in (
        ("forced", "forced photometry"),
        ("release", "data releases"),
    ):
        assert (command in known) != (words in missing), command
