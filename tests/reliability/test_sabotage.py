"""These tests can fail: a trainer with any of these bugs is found out by the very checks that the sound one passes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.reliability import test_damage as damage
from tests.reliability import test_faults as faults
from tests.reliability import test_kill as kill
from tests.reliability import test_ranks as ranks
from tests.reliability import test_signals as signals
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Change, Project, checkpoints, metrics, outcome, steps

pytest_plugins = ["tests.reliability.crash.fixtures"]
Check = Callable[[Project, Path], object]


# CHECKS: those of the other files, on one project, and a few of what every run has to keep to


def resume(project: Project, work: Path) -> None:
    """Stopped in the middle of an epoch, with every step saved, it ends with the same bits."""
    often = ["--agree-every", "1"] if project.ranks > 1 else []
    expected = signals.undisturbed(project, work, *often)
    here = work / "run"
    where = {
        "where": "backward",
        "time_": 4 * project.parts + 1,
        "number": signal.SIGTERM,
    }  # in the second of three steps

    signals.stop_and_go_on(
        project, here, expected, signal.SIGTERM, ("signal_in", {"package": project.package, **where}), *often
    )

    assert 5 in steps(here), "the step in which the signal came was not saved"
    assert "going on after step 5," in (here / "run" / "1" / "train.log").read_text()


def signal_to_group(project: Project, work: Path) -> None:
    """A signal to trainer and loader workers."""
    signals.test_a_signal_to_the_whole_group_saves_and_leaves(lambda _: project, work, "forward")


def signal_from_outside(project: Project, work: Path) -> None:
    """As a shell or a cluster sends it: not by the trainer itself, of whom loader workers take it in another way."""
    flags = ["--epochs", "4"]
    assert project.run(work / "undisturbed", *flags).code == 0
    here = work / "run"
    started = project.start(here, *flags, faults=[("slow", {"package": project.package, "seconds": 0.3})])
    ranks.wait_for((here / "samples.jsonl").exists)
    ranks.wait_for(lambda: (here / "samples.jsonl").read_text())

    os.killpg(started.pids[0], signal.SIGTERM)
    ended = started.wait()

    assert ended.code == 128 + signal.SIGTERM, ended.said
    assert "stopped by SIGTERM; the same command goes on after step" in ended.said
    assert project.run(here, *flags).code == 0
    assert outcome(work / "undisturbed").differs(outcome(here)) == []


def finished(project: Project, work: Path) -> None:
    """A finished run is known to be."""
    signals.test_a_finished_run_stays_finished(lambda _: project, work)


def two_processes(project: Project, work: Path) -> None:
    """Two trainings in one run."""
    signals.test_two_processes_never_work_in_one_run(lambda _: project, work)


def crash_points(project: Project, work: Path) -> None:
    """Dead at every second operation on the disk."""
    kill.crash_everywhere(project, work, 2)


def power_cut(project: Project, work: Path) -> None:
    """The power is cut at every operation on the disk, in one of the twelve ways at each."""
    kill.cut_power(project, work, 11)


def damaged(project: Project, work: Path) -> None:
    """A file of the newest checkpoint is damaged."""
    damage.damage_and_resume(project, work, 12, 1)


def changed_manifest(project: Project, work: Path) -> None:
    """What a checkpoint says of itself is changed."""
    assert project.run(work, "--epochs", "2").code == 0
    manifest = checkpoints(work) / "6" / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace('"threads": 1', '"threads": 2'))

    ended = project.run(work, "--epochs", "3")

    assert ended.code == 0, ended.said
    assert "checkpoint 6 is not used: MANIFEST.json was changed" in ended.said


def hostile(project: Project, work: Path) -> None:
    """A checkpoint brings a program along."""
    damage.hostile(project, work, ["gadget in a zip"])


def logged_once(project: Project, work: Path) -> None:
    """Dies three times at random operations; every number must be in metrics.jsonl and TensorBoard once."""
    kill.logged_once(project, work, 1, 5)


def not_a_number(project: Project, work: Path) -> None:
    """A NaN in the last step before a checkpoint, after the last look at the losses."""
    faults.poisoned(project, work, "gradient", 9, "nan")


def same_batches(project: Project, work: Path) -> None:
    """One process, and two with loader workers, see the same batches."""
    ranks.same_batches(project, work, among=[(2, 2)])


def same_losses(project: Project, work: Path) -> None:
    """One and two processes have the same losses."""
    for world in (1, 2):
        assert project.run(work / str(world), "--epochs", "2", "--log-every", "1", ranks=world).code == 0

    assert ranks.losses(work / "2") == pytest.approx(ranks.losses(work / "1"), abs=1e-5)


def shipped(name: str) -> Check:
    """A test that every generated project brings along."""

    def run(project: Project, work: Path) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{name}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: it has failed; others: it was not found
        assert done.returncode == 0, done.stdout

    run.__doc__ = name.partition("::")[2]
    return run


def tensors(work: Path, step: int, name: str = "model") -> dict[str, torch.Tensor]:
    """What a file of a checkpoint holds."""
    loaded: dict[str, torch.Tensor] = torch.load(checkpoints(work) / str(step) / f"{name}.pt", weights_only=True)
    return loaded


def incomplete(project: Project, work: Path) -> None:
    """A checkpoint that lacks a tensor, or has one too many, is refused."""
    for change in ("lacks", "has too many"):
        here = work / change
        assert project.run(here, "--epochs", "1").code == 0
        content = tensors(here, 3)
        if change == "lacks":
            content.popitem()
        else:
            content["stranger"] = torch.zeros(1)
        torch.save(content, checkpoints(here) / "3" / "model.pt")
        damage.resealed(checkpoints(here) / "3")

        ended = project.run(here, "--epochs", "2")

        assert ended.code == 4, f"{change}: {ended.said}"
        assert "checkpoints/3 does not fit the model" in ended.said


def parts_add_up(project: Project, work: Path) -> None:
    """A batch in parts, equal ones or not, has the losses and gradients of the whole."""
    seen = {}
    for number in (1, 2, 3):  # 16 images; 8 and 8; 6, 6 and 4
        here = work / str(number)
        assert project.run(here, "--epochs", "1", "--log-every", "1", "--accumulate", str(number)).code == 0
        seen[number] = [(row["train/loss"], row["train/grad_norm"]) for row in metrics(here, "train")]

    assert len(seen[1]) == 3
    for number in (2, 3):
        for some, whole in zip(seen[number], seen[1], strict=True):
            assert some == pytest.approx(whole, rel=1e-4), f"{number} parts"


def frozen(project: Project, work: Path) -> None:
    """A frozen group is as it was at the end of a run, statistics of batch norms included, and the others are not."""
    flags = ["--epochs", "2", "--groups.backbone", "0"]
    assert project.run(work, *flags).code == 0
    first, last = tensors(work, 3), tensors(work, 6)

    moved = {name for name in first if not torch.equal(first[name], last[name])}

    assert {"bn1.running_mean", "conv1.weight", "head.weight"} <= first.keys()
    assert moved == {"head.weight", "head.bias"}


def averaged(project: Project, work: Path) -> None:
    """The moving average after each step is what its formula says, statistics of batch norms included."""
    flags = ["--epochs", "1", "--ema-decay", "0.3", "--keep", "9"]
    for step in (1, 2):
        stop = ("signal_in", {"package": project.package, "where": "backward", "time_": 1, "number": signal.SIGTERM})
        assert project.run(work, *flags, faults=[stop]).code == 143
        assert steps(work)[-1] == step
    assert project.run(work, *flags).code == 0

    for step, decay in ((2, 3 / 12), (3, 0.3)):  # the second would be 4/13, and is what the flag says
        before = tensors(work, step - 1, "ema")
        for name, weight in tensors(work, step).items():
            if weight.is_floating_point():
                average = tensors(work, step, "ema")[name]
                wanted = decay * before[name] + (1 - decay) * weight
                assert torch.allclose(average, wanted, atol=1e-6), f"{name}, step {step}"


def rates_by_hand(project: Project, work: Path) -> None:
    """The rate of each step is that of a cosine over all steps, and torch has nothing to say to the order of steps."""
    ended = project.run(work, "--epochs", "4", "--warmup", "0", "--log-every", "1", "--lr", "0.002")

    assert ended.code == 0
    assert "Warning" not in ended.said, ended.said
    noted = [row["lr/all"] for row in metrics(work, "train")]
    assert noted == pytest.approx([0.001 * (1 + math.cos(math.pi * step / 12)) for step in range(12)], abs=1e-12)


def best_is_kept(project: Project, work: Path) -> None:
    """The best checkpoint is there at the end of a run, however many came after it, and is what is evaluated."""
    assert project.run(work, "--epochs", "5", "--keep", "2").code == 0
    values = [next(value for name, value in row.items() if name.startswith("val/")) for row in metrics(work, "val")]
    best = 3 * (values.index(max(values)) + 1)

    assert best < 12, "the best one came late, so that this would show nothing"
    assert steps(work) == [best, 12, 15]
    assert f"checkpoint {best} of" in project.run(work, str(work / "run" / "1"), module="evaluate").said


def every_epoch_is_new(project: Project, work: Path) -> None:
    """Each epoch has each image once at most, in an order of its own, and the same run has the same."""
    assert project.run(work / "one", "--epochs", "3").code == 0
    assert project.run(work / "two", "--epochs", "3").code == 0

    assert outcome(work / "one").differs(outcome(work / "two")) == []
    samples = outcome(work / "one").samples
    orders = [
        [number for key, numbers in samples.items() if f"epoch {epoch} " in key for number in numbers]
        for epoch in range(3)
    ]
    assert all(len(order) == len(set(order)) == 48 for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def each_draws_its_own(project: Project, work: Path) -> None:
    """Each process has random numbers of its own, in a checkpoint as well."""
    assert project.run(work, "--epochs", "1").code == 0

    random = torch.load(checkpoints(work) / "3" / "optimizer.pt", weights_only=True)["random"]
    assert len(random["torch"]) == 2
    assert not torch.equal(*random["torch"])


# SABOTAGE


@dataclass(frozen=True)
class Sabotage:
    """A bug, as changes to the files of a project (PACKAGE stands for its package), and the check that is to find it.

    `edit` is what somebody has added to the sound project before, and without which the bug would do nothing.
    """

    name: str
    check: Check
    changes: tuple[Change, ...]
    project: str = "single"
    edit: tuple[Change, ...] = ()
    refused: str = ""  # what the trainer says of it by itself


TRAIN, DATA, EVALUATE = (f"PACKAGE/{name}.py" for name in ("train", "data", "evaluate"))
RUN, HISTORY, STATE, CHECKPOINT, SEED, EMA, LOADER, LOG, GROUPS, TENSORBOARD = (
    f"PACKAGE/engine/{name}.py"
    for name in ("run", "history", "state", "checkpoint", "seed", "ema", "loader", "log", "groups", "tensorboard")
)
PROCESS_GROUP, FILES = "PACKAGE/engine/process_group.py", "PACKAGE/engine/files.py"


def own_dice(imported: str, dice: str) -> tuple[Change, ...]:
    """Somebody's own augmentation, with generators that belong to nobody in particular."""
    forward = "                    with process.autocast(opt):\n"
    return (
        (TRAIN, forward, f"                    images = images * (1 + {dice} / 10)\n{forward}"),
        (TRAIN, "import sys\n", f"import sys\nimport {imported}\n"),
    )


LOOP = "        while progress.epoch < count and"
# tried with every commit
QUICK = [
    Sabotage("no scheduler", resume, ((RUN, "                scheduler.step()", "                pass"),), "rich"),
    Sabotage("no generator of torch", resume, ((SEED, 'torch.set_rng_state(state["torch"].clone())', "pass"),), "rich"),
    Sabotage(
        "no average",
        resume,
        (
            (
                RUN,
                "buffers.get(name, {}))\n                self._ema.swap()",
                "buffers.get(name, {}))",
            ),
        ),
        "rich",
    ),
    Sabotage(
        "no place in the epoch",
        resume,
        ((RUN, "sampler.start = epoch, self.progress.batch", "sampler.start = epoch, 0"),),
        "rich",
    ),
    Sabotage("rows are all cut off", resume, ((RUN, "{one.path.name: one.size for", "{one.path.name: 0 for"),), "rich"),
    Sabotage(
        "no hashes",
        damaged,
        ((CHECKPOINT, "_size_and_hash(file) != written", '_size_and_hash(file)["size"] != written["size"]'),),
    ),
    Sabotage(
        "saved without a look",
        not_a_number,
        ((RUN, 'goes on without."""\n        self._check_finite()', 'goes on without."""'),),
    ),
    Sabotage(
        "frozen batch norms move",
        frozen,
        ((TRAIN, "net.train()\n            freeze(net, opt)", "net.train()"),),
        "groups",
    ),
]
MORE = [
    # what is put back
    Sabotage(
        "the scheduler is a step behind",
        resume,
        ((RUN, "                scheduler.step()", "                scheduler.step() if _ else None"),),
    ),
    Sabotage("the average is the model", resume, ((RUN, "\n                self._ema.swap()", ""),), "sampler"),
    Sabotage("no model", resume, ((RUN, "load_model_state(net, tensors[name])", "pass"),)),
    Sabotage("no optimizer", resume, ((RUN, "load_optimizer_state(self._owner[name], optimizer, ", "("),)),
    Sabotage(
        "half an optimizer",
        resume,
        (
            (
                STATE,
                "tree_map_only(Tensor, torch.clone, state[name])",
                '{key: torch.clone(value) * ("sq" not in key) for key, value in state[name].items()}',
            ),
        ),
    ),
    Sabotage(
        "no statistics of batch norms",
        resume,
        (
            (STATE, "state = net.state_dict()", "state = dict(net.named_parameters())"),
            (STATE, "net.load_state_dict(state)", "net.load_state_dict(state, strict=False)"),
        ),
    ),
    Sabotage(
        "no generator of Python",
        resume,
        ((SEED, "random.setstate((3,", "((3,"),),
        edit=own_dice("random", "random.random()"),
    ),
    Sabotage(
        "half a generator of Python",
        resume,
        ((SEED, "None if gauss.isnan() else float(gauss)", "None"),),
        edit=own_dice("random", "random.gauss(0, 1)"),
    ),
    Sabotage(
        "no generator of numpy",
        resume,
        ((SEED, 'np.random.set_state(("MT19937",', '(("MT19937",'),),
        edit=own_dice("numpy", "float(numpy.random.rand())"),
    ),
    Sabotage(
        "a batch too far",
        resume,
        (
            (
                RUN,
                "sampler.start = epoch, self.progress.batch",
                "sampler.start = epoch, self.progress.batch + (self.progress.batch > 0)",
            ),
        ),
    ),
    Sabotage(
        "an epoch too many",
        resume,
        ((RUN, LOOP, f"        progress.epoch = max(0, progress.epoch - 1)\n{LOOP}"),),
    ),
    Sabotage(
        "an epoch too few",
        resume,
        ((RUN, LOOP, f"        progress.epoch += progress.epoch > 0\n{LOOP}"),),
    ),
    Sabotage(
        "no losses since the last row",
        resume,
        ((RUN, "in self.progress.window.items()", "in dict(self.progress.window and {}).items()"),),
    ),
    Sabotage("no count of them", resume, ((RUN, '"stopped": 0', '"stopped": 0, "counts": {}'),)),
    Sabotage("no best value", resume, ((RUN, '"stopped": 0', '"stopped": 0, "best": None'),)),
    Sabotage("all begins anew", resume, ((CHECKPOINT, "in reversed(steps(folder)):", "in steps(folder)[:0]:"),)),
    # the disk
    Sabotage("rows are not cut off", crash_points, ((LOG, "self.file.truncate(self.size)", "pass"),)),
    Sabotage(
        "manifests are not signed",
        changed_manifest,
        ((CHECKPOINT, 'if manifest.pop("sha256") != _digest(manifest):', 'if not manifest.pop("sha256"):'),),
    ),
    Sabotage(
        "steps are sorted as text",
        finished,
        (
            (CHECKPOINT, "return sorted(int(path.name)", "return sorted((int(path.name)"),
            (CHECKPOINT, "if path.name.isdecimal())", "if path.name.isdecimal()), key=str)"),
        ),
    ),
    Sabotage(
        "steps are sorted as text, by a test of the project",
        shipped("test_checkpoint.py::test_what_was_saved_comes_back"),
        (
            (CHECKPOINT, "return sorted(int(path.name)", "return sorted((int(path.name)"),
            (CHECKPOINT, "if path.name.isdecimal())", "if path.name.isdecimal()), key=str)"),
        ),
    ),
    Sabotage(
        "purged before the new one is there",
        crash_points,
        (
            (
                RUN,
                "checkpoint.save(folder,",
                "checkpoint.purge(folder, {progress.best_step})\n                checkpoint.save(folder,",
            ),
        ),
    ),
    Sabotage(
        "the best is purged",
        best_is_kept,
        ((RUN, "{*past[-self.opt.keep :], progress.best_step}", "{*past[-max(2, self.opt.keep) :]}"),),
    ),
    Sabotage(
        "written in place",
        crash_points,
        (
            (CHECKPOINT, 'folder / f".tmp-{step}"', "folder / str(step)"),
            (CHECKPOINT, "if os.path.lexists(final):", "if False:"),
        ),
    ),
    Sabotage(
        "tensors are not made safe",
        power_cut,
        ((CHECKPOINT, 'f"{name}.pt")\n                    os.fsync(file.fileno())', 'f"{name}.pt")'),),
    ),
    Sabotage(
        "state and manifest are not made safe",
        power_cut,
        ((FILES, "file.flush()\n        os.fsync(file.fileno())", "file.flush()"),),
    ),
    Sabotage("names are not made safe", power_cut, ((FILES, "os.fsync(descriptor)", "pass"),)),
    Sabotage("rows are not made safe", power_cut, ((LOG, "os.fsync(self.file.fileno())", "pass"),)),
    Sabotage("checkpoints may bring code", hostile, ((CHECKPOINT, "weights_only=True", "weights_only=False"),)),
    Sabotage(
        "tensors may be missing", incomplete, ((STATE, "load_state_dict(state)", "load_state_dict(state, False)"),)
    ),
    Sabotage("no lock", two_processes, ((HISTORY, "lock.acquire(blocking=False)", "pass"),), "workers"),
    # signals
    Sabotage(
        "workers hear signals",
        signal_from_outside,
        (
            (LOADER, "signal.signal(number, signal.SIG_IGN)", "pass"),
            (LOADER, "    with signals_blocked():", "    if True:"),
        ),
        "workers",
    ),
    Sabotage("left without saving", resume, ((RUN, "signal.SIGTERM)\n        self._save()", "signal.SIGTERM)"),)),
    # how it learns
    Sabotage("parts count alike", parts_add_up, ((LOADER, "len(part) / len(numbers)", "1 / self.parts"),), "parts"),
    Sabotage(
        "the last part is left out",
        parts_add_up,
        (
            (
                RUN,
                "for number, part in enumerate(batch, start=1):",
                "for number, part in enumerate(batch[: max(1, len(batch) - 1)], start=1):",
            ),
        ),
        "parts",
    ),
    Sabotage(
        "frozen layers lose their mode, by a test of the project",
        shipped("test_groups.py::test_a_frozen_group_stays_as_it_is"),
        ((GROUPS, "module.eval()", "pass"),),
        "groups",
    ),
    Sabotage(
        "the average is not taken",
        averaged,
        ((RUN, "self._ema.update(progress.step - progress.ema_step)", "pass"),),
        "sampler",
    ),
    Sabotage(
        "the average does not warm up",
        averaged,
        ((EMA, "min(self.decay, (1 + step) / (10 + step))", "self.decay"),),
        "sampler",
    ),
    Sabotage(
        "the average warms up again at each start",
        averaged,
        ((RUN, "update(progress.step - progress.ema_step)", "update(len(self._numbers) // self.opt.accumulate)"),),
        "sampler",
    ),
    Sabotage(
        "the average is without batch norms",
        averaged,
        ((EMA, "in local_tensors(net) if", "in net.parameters() if"),),
        "sampler",
    ),
    Sabotage(
        "a rate for each epoch",
        rates_by_hand,
        (
            (TRAIN, "                scheduler.step()\n", ""),
            (TRAIN, "            if run.is_measured", "            scheduler.step()\n            if run.is_measured"),
        ),
        refused="step the scheduler once after each step of the optimizer",
    ),
    Sabotage(
        "the rate is a step ahead",
        rates_by_hand,
        (
            (TRAIN, "                scheduler.step()\n", ""),
            (
                TRAIN,
                "                optimizer.zero_grad()",
                "                scheduler.step()\n                optimizer.zero_grad()",
            ),
        ),
    ),
    # data
    Sabotage(
        "curves show twice what was written twice",
        logged_once,
        (
            (TENSORBOARD, "folder / FILE, size)", "folder / FILE, 1 << 40)"),
            (TENSORBOARD, "if size and size == self.size:", "if size:"),
        ),
        "rich",
    ),
    Sabotage(
        "all epochs are alike", every_epoch_is_new, ((RUN, "sampler.epoch, sampler.start = epoch,", "sampler.start ="),)
    ),
    Sabotage(
        "all epochs are alike, by a test of the project",
        shipped("test_data.py::test_each_epoch_has_its_own_order_and_always_the_same"),
        ((LOADER, "manual_seed(self.seed + self.epoch)", "manual_seed(self.seed)"),),
    ),
    Sabotage(
        "chance of the global generator",
        resume,
        ((RUN, "generator=generator(self.opt.seed, 2, epoch)", "generator=None"),),
    ),
    Sabotage(
        "chance by the place in a batch",
        same_losses,
        ((LOADER, "(count).index_select(0, self.numbers)", "(count)[: len(self.numbers)]"),),
        "ddp_plain",
    ),
    Sabotage(
        "a loader without a generator",
        signal_to_group,
        ((LOADER, '"generator": generator(opt.seed, 1)', '"generator": None'),),
        "workers",
    ),
    Sabotage(
        "items draw by their place in a batch",
        same_losses,
        (
            (
                LOADER,
                "[self._item(epoch, number) for number in part.tolist()]",
                "[self._item(epoch, number, place) for place, number in enumerate(part.tolist())]",
            ),
            (
                LOADER,
                "def _item(self, epoch: int, number: int)",
                "def _item(self, epoch: int, number: int, place: int)",
            ),
            (LOADER, "self._seed(epoch, number)", "self._seed(epoch, place)"),
        ),
        "ddp_plain",
        edit=(
            (
                DATA,
                "as_trained(self.facts), view=self.view)\n        return",
                "as_trained(self.facts), view=self.view)\n        image = image.flip(2) if torch.rand(()) < 0.5 else image\n        return",
            ),
        ),
    ),
    # several processes
    Sabotage(
        "saved by process 1",
        resume,
        (
            (
                RUN,
                'problem = ""\n        if self.process.rank == 0:',
                'problem = ""\n        if self.process.rank == 1:',
            ),
        ),
        "ddp",
    ),
    Sabotage("all draw the same", each_draws_its_own, ((PROCESS_GROUP, "opt.seed + self.rank,", "opt.seed,"),), "ddp"),
    Sabotage("all go on with what process 0 drew", resume, ((RUN, "rows[rank] for", "rows[0] for"),), "ddp"),
    Sabotage("all go on with the losses of process 0", resume, ((RUN, "sums[rank] if", "sums[0] if"),), "ddp"),
    Sabotage(
        "every process takes all images",
        same_batches,
        ((LOADER, "[rank::world].flatten()", "[0::world].flatten()"),),
        "ddp_plain",
    ),
    Sabotage(
        "each process measures with statistics of its own",
        ranks.measured_alike,
        ((PROCESS_GROUP, "        self.same_buffers(net)\n", ""),),
        "ddp_cnn",
    ),
    Sabotage(
        "measured in 32 bits",
        ranks.measured_alike,
        (
            (
                EVALUATE,
                "net = process.to_device(net, opt)",
                "net = net.to(process.device)",
            ),
        ),
        "fsdp_bf16",
    ),
    # settings
    Sabotage(
        "a changed setting is not told, by a test of the project",
        shipped("test_train.py::test_a_finished_run_stays_as_it_is_and_a_changed_setting_is_told"),
        ((HISTORY, 'notes += [f"{name} was {old} and is {value}', 'told = [f"{name} was {old} and is {value}'),),
    ),
]


def sound(sabotage: Sabotage, project: Rendered, work: Path) -> None:
    """The check passes on the project without the bug."""
    trained = project(sabotage.project).changed(work / "code", sabotage.edit)
    sabotage.check(trained, work / "runs")


def caught(sabotage: Sabotage, project: Rendered, work: Path) -> None:
    """The check fails on the project with the bug, which otherwise trains as if nothing were wrong."""
    broken = project(sabotage.project).changed(work / "code", (*sabotage.edit, *sabotage.changes))
    ended = broken.run(work / "undisturbed", "--epochs", "2")
    if sabotage.refused:
        assert (ended.code, sabotage.refused in ended.said) == (2, True), f"{sabotage.name}: {ended.said}"
        return
    assert ended.code == 0, f"{sabotage.name}: it does not even run: {ended.said}"
    try:
        sabotage.check(broken, work / "runs")
    except AssertionError:
        return
    pytest.fail(f"{sabotage.name}: nobody noticed")


def controls(sabotages: list[Sabotage]) -> list[Sabotage]:
    """One for each check with each sound project."""
    return list({(each.check.__doc__, each.project, each.edit): each for each in sabotages}.values())


def title(sabotage: Sabotage) -> str:
    return f"{sabotage.check.__name__} of {sabotage.project}"


@pytest.mark.parametrize("sabotage", controls(QUICK), ids=title)
def test_a_sound_trainer_passes(project: Rendered, work: Path, sabotage: Sabotage) -> None:
    sound(sabotage, project, work)


@pytest.mark.parametrize("sabotage", QUICK, ids=lambda each: each.name)
def test_a_trainer_with_a_bug_is_found_out(project: Rendered, work: Path, sabotage: Sabotage) -> None:
    caught(sabotage, project, work)


def test_every_bug_still_has_its_place_in_the_code(project: Rendered, work: Path) -> None:
    for sabotage in [*QUICK, *MORE]:
        project(sabotage.project).edited(work / sabotage.name, (*sabotage.edit, *sabotage.changes))


@pytest.mark.nightly
@pytest.mark.parametrize("sabotage", controls(MORE), ids=title)
def test_a_sound_trainer_passes_every_check(project: Rendered, work: Path, sabotage: Sabotage) -> None:
    sound(sabotage, project, work)


@pytest.mark.nightly
def test_every_trainer_with_a_bug_is_found_out(project: Rendered, work: Path, figure: Callable[..., None]) -> None:
    every = [*QUICK, *MORE]
    for sabotage in every:
        caught(sabotage, project, work / sabotage.name)

    figure(
        "B15 planted bugs found",
        "bugs that were put into the trainer on purpose, one at a time",
        len(every),
        len(every),
    )
