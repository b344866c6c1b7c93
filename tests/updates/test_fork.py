"""docs/how-to/fork.md, typed: a lab's fork, whose projects follow its releases and, through them, the upstream's."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, tree
from tests.updates.updating import SEED, answers_of, append, commit, git, replace

PAGES = ROOT / "docs" / "how-to"
LAB = "https://git.example.org/lab/torch-scaffold.git"
SLURM = "template/project/{% if distributed != 'none' %}launch{% endif %}/slurm.sh.jinja"
PROGRAMS = """set -eu
python() { "$PYTHON" "$@"; }
pip() { "$PYTHON" -m pip "$@" --quiet --no-deps --no-index --no-build-isolation --target "$SITE"; }
scaffold() { # nobody is there to be asked
    case $1 in update | change) set -- "$@" --yes ;; esac
    PYTHONPATH=$SITE "$PYTHON" -m scaffold "$@"
}
copier() { "$PYTHON" -m copier "$@"; }
"""


def block(name: str, heading: str, language: str = "sh") -> str:
    """The code of a page in a language, under a heading or, without one, everywhere."""
    text = (PAGES / name).read_text(encoding="utf-8")
    part = re.split(rf"^## {heading}$", text, flags=re.MULTILINE)[1].split("\n## ")[0] if heading else text
    return "".join(re.findall(rf"^```{language}\n(.*?)^```", part, re.DOTALL | re.MULTILINE))


@dataclass(frozen=True)
class World:
    """A host of repositories, and a machine that knows them by the addresses of the page; what the fork adds to a number."""

    host: Path
    home: Path
    own: str

    @property
    def upstream(self) -> Path:
        return self.host / "torch-scaffold.git"

    @property
    def fork(self) -> Path:
        return self.home / "torch-scaffold"

    def type(self, commands: str, folder: Path, *, code: int = 0, site: Path | None = None) -> str:
        """Commands of the page, as they stand there but for the numbers; what they say. The fork is installed, unless
        another torch-scaffold is to be used."""
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "GIT_CONFIG_GLOBAL": str(self.home / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "file",
            "PYTHON": sys.executable,
            "SITE": str(site or self.home / "site"),
        }
        script = PROGRAMS + re.sub(r"(0\.\d\.0)\.(\d)", rf"\1{self.own}\2", commands)
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def number(self, upstream: str, count: int) -> str:
        return f"v{upstream}{self.own}{count}"


def release_upstream(world: World, number: str) -> None:
    """A release of the upstream, with its version and its section in the changelog."""
    folder = world.upstream
    (folder / "scaffold" / "__init__.py").write_text(f'"""A fork\'s upstream."""\n\n__version__ = "{number}"\n')
    text = (folder / "CHANGELOG.md").read_text()
    section = f"## [{number}] - 2030-01-01\n\n- News of {number}\n\n## ["
    (folder / "CHANGELOG.md").write_text(text.replace("## [", section, 1))
    commit(folder, f"Release {number}")
    git(folder, "tag", "--annotate", "--message", f"torch-scaffold {number}", f"v{number}")


def make_world(folder: Path, own: str) -> World:
    """The upstream with a release, and an empty repository for the fork."""
    world = World(folder / "host", folder / "home", own)
    world.upstream.mkdir(parents=True)
    world.home.mkdir()
    (world.home / "gitconfig").write_text(
        f'[user]\nname = Ada\nemail = ada@example.org\n[url "{world.host}/"]\ninsteadOf = https://git.example.org/\n'
    )
    for name in ("scaffold", "template", "presets"):
        shutil.copytree(ROOT / name, world.upstream / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "copier.yml",
        "hatch_build.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        ".gitignore",
    ):
        shutil.copy(ROOT / name, world.upstream)
    git(world.upstream, "init", "--quiet", "--initial-branch=main")
    release_upstream(world, "0.4.0")
    (world.host / "lab").mkdir()
    git(world.host / "lab", "init", "--quiet", "--bare", "--initial-branch=main", "torch-scaffold.git")
    return world


def make_fork(world: World) -> str:
    """The fork with its first release, as the page has it; how to release."""
    world.type(block("fork.md", "The fork").replace('pip install -e ".[dev]"', ""), world.home)
    apply = ["git", "apply", "--whitespace=error-all", "-"]
    for page in ("template-loss.md", "fork.md"):
        subprocess.run(apply, input=block(page, "", "diff"), cwd=world.fork, text=True, check=True)
    released = block("fork.md", "A release")
    world.type(released, world.fork)
    return released


@pytest.mark.figure("A3 forks", "a fork released, its projects updated, the upstream merged, by scaffold and by copier")
@pytest.mark.parametrize("own", [".", pytest.param("+lab.", marks=pytest.mark.nightly)])
def test_projects_follow_a_fork_and_through_it_its_upstream(tmp_path: Path, own: str) -> None:
    world = make_world(tmp_path, own)
    released = make_fork(world)
    install, new, *updates = block("fork.md", "Its projects").split("cd older")[0].splitlines(keepends=True)
    world.type(install + new, world.home)
    project = world.home / "trial"
    edits = (
        replace("trial/engine/seed.py", "import random\n", "import random  # ours\n"),
        replace("launch/slurm.sh", "##SBATCH --time=08:00:00", "#SBATCH --time=02:00:00"),
        append("trial/own.py", "OURS = 1\n"),
    )
    for edit in edits:
        edit(project)
    commit(project, "Ours")
    by_another = shutil.copytree(project, world.home / "by-another")
    by_copier = shutil.copytree(project, world.home / "by-copier" / "trial").parent
    _, check, update, *copier = updates

    def follow(version: str) -> tuple[str, str]:
        """Both ways to a version, which end in the same project; its slurm.sh, and what was said to be new."""
        news = world.type(check, project)
        world.type(update, project)
        world.type("".join(copier), by_copier)
        assert answers_of(project)["_commit"] == version
        assert tree(project) == tree(by_copier / "trial")
        assert "import random  # ours\n" in (project / "trial" / "engine" / "seed.py").read_text()
        assert (project / "trial" / "own.py").read_text() == "OURS = 1\n"
        slurm = (project / "launch" / "slurm.sh").read_text()
        assert "\n#SBATCH --time=02:00:00\n#SBATCH --partition=gpu\n" in slurm
        return slurm, news

    assert answers_of(project)["_src_path"] == LAB
    assert answers_of(project)["_commit"] == world.number("0.4.0", 1)
    assert (project / "trial" / "losses" / "focal.py").exists()

    # a second release of the fork
    replace(SLURM, "#SBATCH --requeue\n", "#SBATCH --requeue\n#SBATCH --mail-type=FAIL\n")(world.fork)
    second = released.replace("0.4.0.1", "0.4.0.2").replace("- New loss focal", "- Failures are mailed")
    world.type(second, world.fork)
    slurm, news = follow(world.number("0.4.0", 2))
    assert "#SBATCH --mail-type=FAIL\n" in slurm
    assert "- Failures are mailed" in news

    # the upstream's release, merged; another one is out already
    append(SEED, "\n\nUPSTREAM = 5\n")(world.upstream)
    replace(SLURM, "#SBATCH --nodes=2", "#SBATCH --nodes=3")(world.upstream)
    release_upstream(world, "0.5.0")
    append(SEED, "UPSTREAM = 6\n")(world.upstream)
    release_upstream(world, "0.6.0")
    fetch, merge, rest = re.split(r"^(git merge .*\n)", block("fork.md", "What is new upstream"), flags=re.MULTILINE)
    world.type(fetch + merge, world.home, code=1)
    assert git(world.fork, "diff", "--name-only", "--diff-filter=U").split() == ["scaffold/__init__.py"]
    world.type(rest, world.fork)
    own_tags = [world.number(*of) for of in (("0.4.0", 1), ("0.4.0", 2), ("0.5.0", 1))]
    assert sorted(git(world.host / "lab" / "torch-scaffold.git", "tag").split()) == sorted(
        ["v0.4.0", "v0.5.0", *own_tags]
    )
    slurm, news = follow(world.number("0.5.0", 1))
    assert "#SBATCH --mail-type=FAIL\n" in slurm
    assert "#SBATCH --nodes=3\n" in slurm
    assert (project / "trial" / "engine" / "seed.py").read_text().endswith("\n\nUPSTREAM = 5\n")
    assert "- News of 0.5.0" in news
    assert "- torch-scaffold 0.5.0" in news
    assert git(project, "status", "--porcelain") == ""

    # the upstream's torch-scaffold, once it was told that the fork's address is trusted
    trust = re.search(r"`(scaffold update --trust \S+)`", (PAGES / "fork.md").read_text(encoding="utf-8"))
    assert trust is not None
    assert trust[1].removeprefix("scaffold update") in world.type("scaffold update", by_another, code=2, site=ROOT)
    world.type(trust[1], by_another, site=ROOT)
    assert tree(by_another) == tree(project)


@pytest.mark.figure("A3 forks", "a fork released, its projects updated, the upstream merged, by scaffold and by copier")
@pytest.mark.nightly
def test_a_project_of_the_upstream_becomes_one_of_the_fork(tmp_path: Path) -> None:
    world = make_world(tmp_path, ".")
    make_fork(world)
    project = world.home / "older"
    address = "https://git.example.org/torch-scaffold.git"
    world.type(f"copier copy --defaults --data distributed=ddp --vcs-ref v0.4.0 {address} older", world.home)
    git(project, "init", "--quiet")
    append("older/own.py", "OURS = 1\n")(project)
    commit(project)
    commands = block("fork.md", "Its projects")
    world.type(commands.splitlines()[0], world.home)

    world.type("cd older" + commands.partition("cd older")[2], world.home)

    assert answers_of(project)["_src_path"] == LAB
    assert answers_of(project)["_commit"] == "v0.4.0.1"
    assert answers_of(project)["lab_queue"] == "none"
    assert "##SBATCH --partition=NAME\n" in (project / "launch" / "slurm.sh").read_text()
    assert (project / "older" / "own.py").read_text() == "OURS = 1\n"
