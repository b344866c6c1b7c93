"""The pages of docs/how-to do what they say, within their aims, and the first thing that people try is right or refused."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.generated import how_to
from tests.generated.how_to import AIMS, PAGES, Page
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Change, metrics, outcome

pytest_plugins = ["tests.reliability.crash.fixtures"]

# it changes a step, and what a run keeps
EVERY_COMMIT = ("two-optimizers",)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def said(folder: Path, *words: str) -> str:
    """What a command in a project says, which must succeed."""
    environment = {**ENVIRONMENT, "PYTHONPATH": str(folder)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def result(run: Path) -> tuple[bytes, bytes]:
    """The rows and the newest weights of a run."""
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name) if path.name.isdecimal() else -1)
    return (run / "metrics.jsonl").read_bytes(), (newest / "model.pt").read_bytes()


def check_exact_resume(project: Path, flags: list[str]) -> None:
    """Killed after its first checkpoint and started again, a run ends with the bits of an undisturbed one."""
    command = [sys.executable, "-m", "digits.train", *flags, "--epochs", "3", "--log-every", "5", "--run-dir"]
    said(project, *command, "undisturbed")
    command.append("killed")
    process = subprocess.Popen(command, cwd=project, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not [*project.glob("killed/1/checkpoints/[0-9]*")]:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was not killed in time"
    assert "going on after step" in said(project, *command)

    assert result(project / "undisturbed" / "1") == result(project / "killed" / "1")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_diff_applies_and_stays_within_its_aim(here: Path, page: Page) -> None:
    page.make(here)

    files, added, removed, tests = page.measured()
    aim = AIMS[page.name]
    assert {name.split("/")[0] for name in files} <= {*aim.files}
    assert added + removed <= aim.lines
    assert tests <= aim.tests


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[] if page.name in EVERY_COMMIT else pytest.mark.nightly) for page in PAGES],
    ids=lambda page: page.name,
)
def test_what_a_page_says_works(here: Path, page: Page, mypy_cache: Path) -> None:
    project = page.make(here)
    said(project, sys.executable, "-m", "ruff", "check", "--no-cache", ".")
    said(project, sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".")
    said(project, sys.executable, "-m", "mypy", "--cache-dir", str(mypy_cache))
    said(project, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")

    for script in page.blocks("python"):
        said(project, sys.executable, "-c", script)
    for _, *words in page.commands("python -m"):
        few = ["--epochs", "2"] if words[1] == "digits.train" else []
        said(project, sys.executable, *words, *few)
    said(project, sys.executable, "-m", "digits.evaluate", "run/1")
    trained = [words[3:] for words in page.commands("python -m digits.train") if "--plan" not in words]
    check_exact_resume(project, trained[0])


def test_the_table_of_changes_is_what_they_are() -> None:
    text = (how_to.FOLDER / "README.md").read_text(encoding="utf-8")

    assert how_to.with_table(text) == text, "python -m tests.generated.how_to"


def test_every_page_is_named_in_the_overview() -> None:
    linked = re.findall(r"\]\(([\w-]+)\.md\)", (how_to.FOLDER / "README.md").read_text(encoding="utf-8"))

    assert sorted([*linked, "README"]) == sorted(path.stem for path in how_to.FOLDER.glob("*.md"))
    assert {*AIMS} <= {*linked}


# What people try first, as it did nothing or was wrong in earlier versions.

DATA, TRAIN, OPTIONS = "PACKAGE/data.py", "PACKAGE/train.py", "PACKAGE/options.py"
ITEM = "        return image, self.labels[number]\n"
TORCHVISION: Change = (DATA, "import math\n", "import math\nfrom torchvision.transforms import v2\n")


ADD = "                    run.add(terms, part)"
STEP = "                optimizer.step()\n"
SECOND = "        head = build_optimizer(optim_params(net, opt), opt)\n"
PLATEAU = '''
class Plateau(nn.Module):
    """Divides the rate by ten where the loss has not fallen to nothing."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__()
        self.scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.9, threshold_mode="rel")

    def get_extra_state(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)
        for group, rate in zip(self.scheduler.optimizer.param_groups, self.scheduler.get_last_lr(), strict=True):
            group["lr"] = rate
'''
ORDER = """    def order(self, epoch: int, world: int) -> Tensor:
        return torch.ones(len(self)).multinomial(len(self), replacement=True)
"""
MEASURED = (
    "                run.measured(metrics.compute(), BEST, MORE_IS_BETTER)  # logs, and chooses the best checkpoint\n"
)
RIGHT: dict[str, tuple[Change, ...]] = {
    "a random transform of each item": (TORCHVISION, (DATA, ITEM, ITEM.replace("image,", "v2.RandAugment()(image),"))),
    "numbers that numpy draws in the loop": (
        (TRAIN, "import sys\n", "import sys\nimport numpy as np\n"),
        (TRAIN, "output = model(images)", "output = model(images * float(np.random.beta(2, 2)))"),
    ),
    "an epoch that is cut short": (
        (
            TRAIN,
            "                scheduler.step()\n",
            "                scheduler.step()\n                if epoch == 0 and run.progress.batch == 2:\n                    break\n",
        ),
    ),
    "a schedule without the warm-up": (
        (
            "PACKAGE/optim.py",
            "    warmup = warmup_steps(opt, steps_per_epoch)\n",
            "    return lr_scheduler.PolynomialLR(optimizer, opt.epochs * steps_per_epoch)\n    warmup = 0\n",
        ),
    ),
    "a number of some steps only": (
        (TRAIN, "run.step(grad_norm=norm)", "run.step(grad_norm=norm, ones=None if run.progress.step % 3 else 1.0)"),
    ),
    "another loss beside": (
        (TRAIN, ADD, "                    terms['loss'] = terms['loss'] + output[1].square().mean()\n" + ADD),
    ),
    "layers that are frozen in one epoch": (
        (TRAIN, "import sys\n", "import sys\nfrom dataclasses import replace\n"),
        (
            TRAIN,
            "            freeze(net, opt)\n            for",
            "            freeze(net, replace(opt, groups=opt.groups | {'head': float(epoch != 1)}))\n            for",
        ),
    ),
    "items that change with the epoch": (
        (DATA, ITEM, ITEM.replace("image,", "image // (1 + self.epoch),")),
        (
            DATA,
            "    def fingerprint",
            "    def set_epoch(self, epoch: int) -> None:\n        self.epoch = epoch\n\n    def fingerprint",
        ),
    ),
    "a rate that falls when the loss does not": (
        ("PACKAGE/optim.py", "def clip_gradients", PLATEAU + "\n\ndef clip_gradients"),
        (TRAIN, "clip_gradients, ", "clip_gradients, Plateau, "),
        (TRAIN, "        scheduler = build_scheduler(optimizer, opt, len(train_batches))\n", ""),
        (TRAIN, "        run.catch_up(scheduler, len(train_batches))\n", ""),
        (TRAIN, "                scheduler.step()\n", ""),
        (TRAIN, "        run.keep(", "        plateau = Plateau(optimizer)\n        run.keep(plateau=plateau, "),
        (
            TRAIN,
            "                run.measured(metrics.compute()",
            "                plateau.scheduler.step(metrics.compute()['loss'])\n                run.measured(metrics.compute()",
        ),
    ),
}
IN = {"layers that are frozen in one epoch": "groups"}  # the project, if it is not "single"
REFUSED: dict[str, tuple[tuple[Change, ...], str]] = {
    "a second optimizer that no run keeps": (
        (
            (TRAIN, "        scheduler = build", SECOND + "        scheduler = build"),
            (TRAIN, STEP, STEP + STEP.replace("optimizer", "head")),
        ),
        "an optimizer steps that a run would not put back; name it in run.keep",
    ),
    "a schedule by epochs": (
        (
            (TRAIN, "                scheduler.step()\n", ""),
            (TRAIN, "            if run.is_measured", "            scheduler.step()\n            if run.is_measured"),
        ),
        "step the scheduler once after each step of the optimizer",
    ),
    "a schedule that is not caught up": (
        ((TRAIN, "        run.catch_up(scheduler, len(train_batches))\n", ""),),
        "give the scheduler to run.catch_up too, or a resumed run would begin it anew",
    ),
    "a sampler of torch": (
        (
            (DATA, "DataLoader, Dataset", "DataLoader, Dataset, RandomSampler"),
            (
                DATA,
                "DataLoader(**loader_settings(EpochBatchSampler(dataset, opt, process, train=True)))",
                "DataLoader(dataset, opt.batch_size, sampler=RandomSampler(dataset))",
            ),
        ),
        "a DataLoader takes loader_settings(EpochBatchSampler(...)); for another order see that class",
    ),
    "an order that is drawn anew": (
        (
            (
                DATA,
                "    def fingerprint",
                ORDER + "\n    def fingerprint",
            ),
        ),
        "MyDataset.order draws from global generators; take generator(opt.seed, 6, epoch)",
    ),
    "a setting that options.json cannot hold": (
        (
            (OPTIONS, "    label_smoothing", '    teacher: Path = setting(Path("run/1"))\n    label_smoothing'),
            (OPTIONS, "from typing", "from pathlib import Path\nfrom typing"),
        ),
        "Path; options.json has numbers, texts and tuples of them",
    ),
    "a model by the name of the average": (
        ((TRAIN, "run.keep(model=net, ", "run.keep(model=net, ema=build_model(opt, train_set.facts), "),),
        "checkpoints have something else by the name ema; give it another name in run.keep",
    ),
    "a model by the name of the buffers": (
        ((TRAIN, "run.keep(model=net, ", "run.keep(model=net, buffers=build_model(opt, train_set.facts), "),),
        "checkpoints have something else by the name buffers; give it another name in run.keep",
    ),
    "an average of a model that has another name": (
        (
            (OPTIONS, "    label_smoothing", "    ema_decay: float = setting(0.9)\n    label_smoothing"),
            (TRAIN, "run.keep(model=net, ", "run.keep(net=net, "),
        ),
        "--ema-decay averages the model model; to average NAME, run.keep('NAME', NAME=...)",
    ),
    "losses that no run is given": (
        ((TRAIN, ADD, ADD.replace("run.add(terms, part)", 'terms["loss"]')),),
        "give the losses of a step to run.add before run.step counts it",
    ),
    "facts that a checkpoint would change": (
        ((DATA, "self.facts = facts or {", 'self.facts = facts or {"size": (8, 8), '),),
        "facts are what JSON can hold: numbers, texts, lists, and dictionaries with texts as keys",
    ),
    "images between 0 and 1": (
        (TORCHVISION, (DATA, ITEM, ITEM.replace("image,", "image / 255,"))),
        "images are uint8 from 0 to 255 until they are normalised here, and these are torch.float32",
    ),
    "a layer that no group has": (
        (("PACKAGE/model.py", "        self.head = ", "        self.more = nn.Linear(4, 4)\n        self.head = "),),
        "more.weight is in no layer group",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_people_try_first_takes_effect_and_is_exact(project: Rendered, work: Path, name: str) -> None:
    plain = project(IN.get(name, "single"))
    changed = plain.changed(work / "code", RIGHT[name])
    assert plain.run(work / "plain", "--epochs", "3").code == 0
    assert changed.run(work / "changed", "--epochs", "3").code == 0
    expected = outcome(work / "changed")

    # killed in the second epoch, then asked to stop in the middle of the third
    often = work / "often"
    killed = ("fail_once", {"package": changed.package, "what": "die", "rank": 0, "step": 5})
    assert changed.run(often, "--epochs", "3", faults=[killed]).code == -signal.SIGKILL
    where = {"where": "forward", "time_": 5, "number": signal.SIGTERM}
    asked = ("signal_in", {"package": changed.package, **where})
    assert changed.run(often, "--epochs", "3", faults=[asked]).code == 128 + signal.SIGTERM
    assert changed.run(often, "--epochs", "3").code == 0

    assert expected.differs(outcome(often)) == []
    assert expected.rows != outcome(work / "plain").rows
    for row in metrics(work / "often", "train"):
        assert row.get("train/ones", 1.0) == 1.0  # a mean over the steps that have it


@pytest.mark.parametrize("name", REFUSED)
def test_what_people_try_first_is_refused_in_a_sentence(project: Rendered, work: Path, name: str) -> None:
    changes, sentence = REFUSED[name]

    ended = project("single").changed(work / "code", changes).run(work / "run")

    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    assert sentence in ended.said.splitlines()[-1]


def test_another_optimizer_remembers_nothing_and_that_is_told(project: Rendered, work: Path) -> None:
    plain = project("single")
    optim = "PACKAGE/optim.py"
    sgd = ((optim, "torch.optim.AdamW(", "torch.optim.SGD("), (optim, "betas=(opt.beta1, opt.beta2), fused", "fused"))
    other = plain.changed(work / "code", sgd)
    assert plain.run(work / "run", "--epochs", "1").code == 0

    for going_on, said in ((other, "AdamW and is SGD"), (plain, "SGD and is AdamW")):
        ended = going_on.run(work / "run", "--epochs", "2" if going_on is other else "3", "--run", "1")
        assert ended.code == 0, ended.said
        assert f"the optimizer was {said}, which begins with nothing remembered" in ended.said


def test_a_fingerprint_may_be_long(project: Rendered, work: Path) -> None:
    changes = (
        (
            DATA,
            "    def fingerprint(self)",
            "    def fingerprint(self) -> str:\n        return 'x' * 2**21\n\n    def short(self)",
        ),
    )
    changed = project("single").changed(work / "code", changes)
    assert changed.run(work / "run", "--epochs", "1").code == 0

    assert "run 1 is finished" in changed.run(work / "run", "--epochs", "1").said


def test_a_run_that_ended_by_a_break_has_ended(project: Rendered, work: Path) -> None:
    more = MEASURED + "                if epoch == 1:\n                    break\n"
    changed = project("single").changed(work / "code", ((TRAIN, MEASURED, more),))
    flags = ["--epochs", "20", "--eval-every", "1"]
    assert changed.run(work / "run", *flags).code == 0
    before = outcome(work / "run")

    again = changed.run(work / "run", *flags)

    assert "run 1 is finished" in again.said
    assert before.differs(outcome(work / "run")) == []
    assert len(metrics(work / "run", "val")) == 2


def test_early_stopping_is_a_setting(project: Rendered, work: Path) -> None:
    length = ["--lr", "1e-9", "--epochs", "20", "--eval-every", "1"]
    flags = [*length, "--patience", "2"]
    assert project("single").run(work, *flags).code == 0
    count = len(metrics(work, "val"))

    assert count < 20
    assert "run 1 is finished" in project("single").run(work, *flags).said
    assert project("single").run(work, *length, "--patience", "0").code == 0
    assert len(metrics(work, "val")) == 20


def test_a_setting_may_be_a_text_that_is_empty_until_it_is_typed(project: Rendered, work: Path) -> None:
    more = '    teacher: str = setting("", path=True)\n    label_smoothing'
    changed = project("single").changed(work / "code", ((OPTIONS, "    label_smoothing", more),))

    assert changed.run(work / "run").code == 0
    assert "--data-dir is empty; leave it out" in changed.run(work / "other", "--data-dir", "").said


def test_a_rate_that_a_resumed_run_would_not_have_is_told(project: Rendered, work: Path) -> None:
    kept = RIGHT["a rate that falls when the loss does not"]
    changes = [change for change in kept if "run.keep(" not in change[1]]
    lost = (TRAIN, "        run.keep(", "        plateau = Plateau(optimizer)\n        run.keep(")

    said = project("single").changed(work / "code", (*changes, lost)).run(work / "run").said
    unsaid = project("single").changed(work / "kept", kept).run(work / "other").said

    warning = "learning rates changed between epochs; a resumed run has them only if run.keep does"
    assert warning in said
    assert warning not in unsaid
