"""The docs speak of what there is: commands, flags, files, versions."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bench import gpu
from scaffold import __version__
from scaffold.cli import program
from tests.conftest import ROOT, Run
from tests.reliability.crash import report

DOCS = [ROOT / name for name in ("README.md", "AGENTS.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
DOCS += [ROOT / "template" / "project" / "README.md.jinja"]
# Where the flags of a generated project stand.
ROOMS = ("options.py", "options.py.jinja", "evaluate.py.jinja", "predict.py.jinja")
# Flags of other programs that the docs show.
FOREIGN = {"--logdir", "--trust", "--vcs-ref", "--nproc-per-node", "--nnodes", "--max-restarts"}
FOREIGN |= {
    "--branch",
    "--repo",
    "--repository",
    "--require-hashes",
    "--signer-workflow",
    "--source-ref",
    "--tests",
}
FOREIGN |= {"--all", "--defaults", "--follow-tags", "--origin", "--tags", "--theirs"}  # of git and Copier
FOREIGN |= {"--figures", "--dist"}  # of pytest
FOREIGN |= {"--abort", "--amend", "--no-edit", "--gpg-sign", "--strategy", "--assume-unchanged", "--skip-worktree"}
FOREIGN |= {flag for action in gpu.parser()._actions for flag in action.option_strings}


def code(document: Path) -> Iterator[str]:
    """Every line of code in a document, in a block (with its continuations joined) or within a sentence."""
    text = document.read_text(encoding="utf-8")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def flags_of(command: click.Command) -> set[str]:
    """Every flag that a command takes."""
    parameters = command.get_params(click.Context(command))
    return {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.fixture(scope="module")
def flags_of_training() -> set[str]:
    """Every setting that some generated project has."""
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "template").rglob("*")
        if path.suffix == ".options" or path.name in ROOMS
    )
    return {"--" + name.replace("_", "-") for name in re.findall(r"^    (\w+): ", text, re.MULTILINE)}


@pytest.mark.parametrize("document", DOCS, ids=lambda path: str(path.name))
def test_every_command_and_flag_in_the_docs_exists(document: Path, flags_of_training: set[str]) -> None:
    commands = program.commands
    every_flag = set().union(*(flags_of(command) for command in commands.values()), flags_of(program))
    # questions that a diff on the page adds to copier.yml, and settings that it adds to a project
    text = document.read_text(encoding="utf-8")
    added = re.findall(r"^\+(?:(?=\w+:$)|    (?=\w+: \w+ = setting))(\w+)", text, re.MULTILINE)
    new = {"--" + name.replace("_", "-") for name in added}

    for line in code(document):
        said = line.split("#")[0]
        for word in re.findall(r"(?:^|[ ;&(])scaffold ([a-z]+)", said):
            assert word in commands, line
        ours = re.match(r"(?:torch-)?scaffold ([a-z]+)", said.strip())
        known = new | (flags_of(commands[ours[1]]) if ours else every_flag | flags_of_training | FOREIGN)
        for flag in re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", said):
            assert flag in known or flag.replace("--no-", "--", 1) in known, line


def test_the_readme_names_the_flag_of_every_question_with_choices(scaffold: Run) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    for flag in ("--task", "--loss", "--model", "--weights", "--groups-from", "--group", "--optimizer", "--scheduler"):
        assert flag in readme
    for what, row in (("tasks", "task"), ("losses", "losses, with weights"), ("models", "model")):
        said = re.search(rf"^\| {row} \|.*$", readme, re.MULTILINE)
        # the models that a library has by their names are told of together
        names = re.findall(r"^(\S+)(?!.* torchvision's$)", scaffold("list", what).out, re.MULTILINE)[1:]
        assert said
        assert {name for name in names if name.isidentifier()} - {"own"} <= {*re.findall(r"\w+", said[0])}, what


def test_the_first_commands_of_the_readme_install_train_and_test() -> None:
    """Whoever tries this repository types the first two blocks of `sh` as they stand."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )

    train = [
        "pip install -e .",
        "scaffold new ../digits --yes",
        "cd ../digits",
        "pip install -e .",
        "python -m digits.train",
    ]
    assert [block.splitlines() for block in blocks[:2]] == [train, ['pip install -e ".[dev]"', "pytest"]]


def test_the_readme_compares_with_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    def measured(subject: str, title: str, row: str, column: int = 1) -> float:
        tables = json.loads((ROOT / "bench" / "results" / f"{subject}.json").read_text(encoding="utf-8"))["tables"]
        (found,) = (cells for table in tables if table["title"] == title for cells in table["rows"] if cells[0] == row)
        return float(found[column])

    def said(row: str) -> str:
        (line,) = re.findall(rf"^\| {re.escape(row)} \|(.*)\|[^|]*\|$", readme, re.MULTILINE)
        return str(line)

    digits, step = ("epochs", "The digits as they are"), ("step", "A step of resnet18")
    card, making = ("gpu", "resnet50, bf16, channels_last"), ("generator", "A new project")
    for row, unit, name, ms in (
        ("a run up to 98 % on the digits", "s", "", measured(*digits, "generated")),
        ("a run up to 98 % on the digits", "s", "Ignite", measured(*digits, "Ignite")),
        ("a run up to 98 % on the digits", "s", "Lightning", measured(*digits, "Lightning")),
        ("a step of resnet18", "ms", "", measured(*step, "generated")),
        ("a step of resnet18", "ms", "bare loop", measured(*step, "bare loop")),
        ("a step of resnet18", "ms", "accelerate", measured(*step, "accelerate")),
        ("a step of resnet18", "ms", "Lightning", measured(*step, "lightning")),
        ("a step of resnet18", "ms", "Ignite", measured(*step, "ignite")),
        ("a step of resnet50 in bf16", "ms", "", measured(*card, "generated", 2)),
        ("a step of resnet50 in bf16", "ms", "tuned by hand and accelerate", measured(*card, "tuned by hand", 2)),
        ("a step of resnet50 in bf16", "ms", "accelerate", measured(*card, "accelerate", 2)),
        ("a step of resnet50 in bf16", "ms", "Lightning", measured(*card, "lightning", 2)),
        ("an image of a folder", "ms", "", measured("input", "Images from files, no workers", "generated")),
        (
            "an image of a folder",
            "ms",
            "ImageFolder",
            measured("input", "Images from files, no workers", "ImageFolder, classic transforms"),
        ),
        ("a new project", "s", "", measured(*making, "scaffold new --yes")),
        ("a new project", "s", "Copier", measured(*making, "copier copy")),
        ("a new project", "s", "trainite", measured(*making, "trainite init")),
        ("an update of a project", "s", "", measured("generator", "An update", "scaffold update")),
        ("an update of a project", "s", "Copier", measured("generator", "An update", "copier update")),
    ):
        (number,) = re.findall(rf"{name or '^'} (\d[\d.]*) {unit}\b", said(row))
        decimals = len(number.partition(".")[2])
        assert float(number) == round(ms / (1000 if unit == "s" else 1), decimals), (row, name)
    aims = json.loads((ROOT / "bench" / "results" / "generator.json").read_text(encoding="utf-8"))["aims"]
    (over_trainite,) = (aim["value"] for aim in aims if aim["what"] == "scaffold new --yes over trainite init")
    assert f"which imports it: {over_trainite:.2f} of its time" in readme


@pytest.mark.parametrize("name", program.commands)
def test_the_help_of_every_command_has_an_example(name: str) -> None:
    assert re.search(rf"^ *scaffold {name}", program.commands[name].help or "", re.MULTILINE)


def test_the_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)


@pytest.mark.parametrize("document", DOCS, ids=lambda path: str(path.name))
def test_the_links_of_the_docs_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (document.parent / link).exists(), link


def test_every_file_that_the_docs_name_is_there() -> None:
    for document in (ROOT / "README.md", ROOT / "AGENTS.md", ROOT / "CONTRIBUTING.md"):
        for name in re.findall(
            r"`((?:tools|tests|docs|template|scaffold|presets|bench)/[\w./-]+)`", document.read_text()
        ):
            # tests/test_resume.py is one of a generated project; a part that a contributor is to write is not there yet
            there = [ROOT / name, ROOT / "template" / "project" / f"{name}.jinja"]
            assert any(path.exists() for path in there) or "polynomial" in name, (document.name, name)


def test_the_table_says_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = report.TABLE.read_text()
    monkeypatch.setattr(report, "TABLE", tmp_path / "table")

    report.write()

    assert (tmp_path / "table").read_text() == there


def test_the_card_of_projects_claims_nothing_that_the_table_does_not_show() -> None:
    def kept(text: str) -> dict[str, tuple[int, int]]:
        rows = re.findall(r"^\| ([\w ]+) \| ([\d,]+) of ([\d,]+) \|$", text, re.MULTILINE)
        return {name: (int(good.replace(",", "")), int(of.replace(",", ""))) for name, good, of in rows}

    found = kept(report.card([row for row in report.ordered() if row["promise"].startswith("B")]))
    claimed = kept(report.CARD.read_text())

    assert len(claimed) >= 9
    assert {name: row for name, row in claimed.items() if name not in found or row > found[name]} == {}
    assert all(good == of for good, of in claimed.values())


def tracked() -> list[Path]:
    """Every text file of the repository."""
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    kinds = re.compile(r"\.(npz|bz2|bundle|png|svg|pt)\b")
    return [ROOT / name for name in names if name and (ROOT / name).is_file() and not kinds.search(name)]


def test_nothing_is_left_to_do_and_nothing_depends_on_one_machine() -> None:
    unwanted = re.compile(r"\bTO" + r"DO\b|\bFIX" + r"ME\b|(?<![\w.~$}])/(?:wo" + r"rk|ro" + r"ot|home/\w+)/")

    for path in tracked():
        found = unwanted.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"
