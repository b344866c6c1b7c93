"""A run: what the loop of train.py talks to."""

from __future__ import annotations

import logging
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import register_optimizer_step_post_hook
from tqdm import tqdm

from . import checkpoint, history, scaling
from .buffers import check_state, load_other_buffers, other_buffers
from .ema import EMA
from .errors import RunError, counted, disk_error, shown
from .files import RowFile
from .loader import InMemory, Loader, Part, batch_sampler, imbalance, load
from .log import NAME, open_writers
from .optimizers import changed_entries, group_entries
from .options import RunOptions
from .pictures import draw
from .plan import length, too_short
from .processes import Process
from .provenance import provenance, same_everywhere
from .seed import generator, rng_state, set_rng_state
from .signals import Signals, Stop
from .state import (
    load_model_state,
    load_optimizer_state,
    local_tensors,
    model_state,
    optimizer_state,
    optimizer_tensors,
)

# How rates and averages are counted; raised when a version of the template counts them otherwise.
RULES = 2


@dataclass
class Progress:
    """Where a run stands: steps taken, epochs finished, batches of the next one taken, the newest and best value."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    cut: int = 0  # batches that finished epochs lacked, because the loop was left
    last: float = 0.0
    best: float | None = None
    scale: float = field(default_factory=lambda: scaling.START)  # of the loss, with fp16
    scale_steps: int = 0  # without an overflow since it last changed
    best_loss: float | None = None  # of equal ones the lower is the best
    best_step: int = 0
    worse: int = 0  # evaluations since the best one
    measured: int = 0  # the step of the newest evaluation within an epoch
    window: dict[str, list[float]] = field(default_factory=dict)  # each process's sums since the last row of numbers
    counts: dict[str, int] = field(default_factory=dict)  # the steps that each of them is of
    best_by: str = ""  # of which metric, and whether more of it is better
    sizes: dict[str, int] = field(default_factory=dict)  # of metrics.jsonl and other files that grow row by row
    ema_step: int = 0  # the step after which the average began
    stopped: int = 0  # the signal that asked it to stop here
    rules: int = RULES
    finished: dict[str, Any] | None = None  # why it came to an end, and the settings that were to say when


class Run:
    """One run, new or resumed. Every process calls its methods, in the order in which train.py has them."""

    def __init__(
        self, start: history.Start, opt: RunOptions, facts: dict[str, Any], process: Process, made_by: dict[str, Any]
    ) -> None:
        self.num, self.is_new, self.opt, self.process = start.num, start.checkpoint is None, opt, process
        self.folder = Path(opt.run_dir, str(start.num))
        threads = counted(torch.get_num_threads(), "thread")
        where = f"{process.world} x {process.device}, {threads}, torch {torch.__version__}"
        self.about = f"batch size {opt.batch_size}, seed {opt.seed}, {where}"
        self.log = logging.getLogger(NAME)
        self.progress = Progress()
        self._start, self._facts, self._made_by = start, facts, made_by
        self._models: dict[str, nn.Module] = {}
        self._optimizers: dict[str, Optimizer] = {}
        self._owner: dict[str, nn.Module] = {}  # the model of each optimizer
        self._others: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()  # not kept, and when they first stepped
        self._schedulers: list[LRScheduler] = []
        self._ema: EMA | None = None
        self._writers: list[Any] = []
        self._sums: dict[str, Tensor] = {}  # since the last row of numbers
        self._terms: dict[str, Tensor] = {}  # of this step
        self._count: Tensor | None = None  # of what the losses of the parts so far are means over
        self._numbers: list[Tensor] = []  # of the items since the last check for NaN
        self._random: dict[str, Tensor] = {}  # of the time before an evaluation that is under way
        self._missed: list[int] = []  # the steps whose checkpoints could not be written
        self._planned = 0  # batches of this epoch
        self._paused = False  # whether the epoch goes on after an evaluation
        self._saved_at = time.monotonic()  # when a checkpoint was last safe
        self.signals = Signals()
        self._bar: Any = None
        self._overflow = False  # whether gradients of this step did, with fp16
        self._choice = ""  # by what the best checkpoint is chosen

    # called before the loop

    def keep(self, average: str = "model", /, **parts: nn.Module | Optimizer) -> None:
        """Names the models and optimizers that checkpoints hold, and loads them if the run goes on.

        With `--ema-decay` the moving average of the model called `average` is kept and evaluated.
        """
        self._models = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
        self._optimizers = {name: part for name, part in parts.items() if isinstance(part, Optimizer)}
        for name in parts.keys() - self._models.keys() - self._optimizers.keys():
            raise RunError(f"{name} is neither a model nor an optimizer; a run keeps only these")
        for name in parts.keys() & {"buffers", *map(history.average_of, self._models)}:
            raise RunError(f"checkpoints have something else by the name {name}; give it another name in run.keep")
        for name, optimizer in self._optimizers.items():
            held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
            owners = [net for net in self._models.values() if held <= {*net.parameters()}]
            if not owners:
                raise RunError(
                    f"the parameters of {name} are not all in one model that is kept: keep that model too, and where "
                    "they are of several, put these into one nn.ModuleDict"
                )
            self._owner[name] = owners[0]
        self._first = {name: group_entries(optimizer) for name, optimizer in self._optimizers.items()}
        for name, net in self._models.items():
            check_state(name, net)
        for note in self._start.notes:
            self.log.warning(note)
        if self.opt.ema_decay:
            if average not in self._models:
                raise RunError(f"--ema-decay averages the model {average}; to average NAME, run.keep('NAME', NAME=...)")
            self._averaged = average
            self._ema = EMA(self._models[average], self.opt.ema_decay)
        if self._start.checkpoint is not None:
            self._put_back(self._start.checkpoint)
            done = f"{self.progress.epoch} of {counted(self.opt.epochs, 'epoch')} done"
            self.log.info(f"going on after step {self.progress.step}, {done}")
        # a mask may hold infinities: what is not finite at the start need not be later
        self._finite = {name: bool(tensor.isfinite().all()) for name, tensor in self._named_tensors()}

    def catch_up(self, scheduler: LRScheduler, steps_per_epoch: int) -> None:
        """Steps a scheduler to where the run stands. It is not loaded, so that changed settings take effect."""
        self._schedulers.append(scheduler)
        if len(self._schedulers) == 1 and not self.progress.finished:
            self.log.info(length(self.opt, steps_per_epoch))
            for warning in too_short(self.opt, steps_per_epoch):
                self.log.warning(warning)
        if self.progress.epoch >= self.opt.epochs:  # it is finished; a schedule of fewer epochs has no rates for it
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no optimizer step comes between, on purpose
            done = self.progress.epoch * steps_per_epoch + min(self.progress.batch, steps_per_epoch)
            for _ in range(done - self.progress.cut):
                scheduler.step()

    # called in the loop

    def epochs(self, count: int) -> Iterator[int]:
        """The epochs that are left, until `count`, `--patience` or a `break` ends them; each is saved at its end.

        With `--eval-steps` an epoch comes once more after each evaluation within it, with the batches that are left.
        """
        progress = self.progress
        if history.finished(asdict(progress), self.opt):
            self.log.info(f"run {self.num} is finished; for more, raise --epochs, or begin another with --new-run")
            return
        progress.finished = None  # more epochs or more patience: it goes on
        with self.process.raise_together():
            if self.process.rank == 0:
                if not (self.folder / "options.json").exists():
                    self._record()  # that of a resumed run is written with its first checkpoint
                self._writers = open_writers(self.folder, progress.step, progress.sizes)
        while progress.epoch < count and not progress.finished:
            epoch = progress.epoch
            if not self._paused:
                self._began = time.perf_counter()
            self._paused = False
            ahead, self._rates_then = self._scheduler_steps_ahead(), self._rates()
            yield epoch
            for optimizer in self._optimizers.values():  # torch marks those that have a scheduler
                known = [getattr(scheduler, "optimizer", optimizer) for scheduler in self._schedulers]
                if hasattr(optimizer.step, "_wrapped_by_lr_sched") and optimizer not in known:
                    raise RunError("give the scheduler to run.catch_up too, or a resumed run would begin it anew")
            kept = [one for net in self._models.values() for one in vars(net).values() if hasattr(one, "optimizer")]
            if not kept and not self._schedulers and self._rates() != self._rates_then:  # a ReduceLROnPlateau, unmarked
                self.log.warning("learning rates changed between epochs; a resumed run has them only if run.keep does")
            if ahead != self._scheduler_steps_ahead():
                raise RunError("step the scheduler once after each step of the optimizer; a resumed run counts on it")
            progress.measured = progress.step
            if progress.epoch == epoch and not self._paused:
                self._end_epoch("", best_now=False)

    def is_measured(self, epoch: int) -> bool:
        """Whether an evaluation is due: every `--eval-steps`, and after each `--eval-every`-th epoch and the last."""
        if self.opt.eval_steps and self.progress.step % self.opt.eval_steps == 0:
            return True
        return (epoch + 1) % (self.opt.eval_every or 1) == 0 or epoch + 1 == self.opt.epochs

    def batches(self, loader: Loader, epoch: int) -> Iterator[list[Part]]:
        """The batches of an epoch that are left, each in `--accumulate` parts, on the device."""
        sampler, progress, every = batch_sampler(loader), self.progress, self.opt.eval_steps
        sampler.epoch, sampler.start = epoch, self.progress.batch
        self._planned = sampler.stop = len(loader)
        if every:
            ahead = -progress.step % every  # 0 if the run was stopped between this step and its evaluation
            if not ahead and (not progress.batch or progress.step == progress.measured):
                ahead = every
            sampler.stop = min(len(loader), progress.batch + ahead)
        noise: dict[int, Tensor] = {}

        def epoch_noise(count: int) -> Tensor:
            if count not in noise:
                noise[count] = torch.rand(len(sampler.dataset), count, generator=generator(self.opt.seed, 2, epoch))
            return noise[count]

        self._bar = tqdm(
            load(loader),
            desc=f"epoch {epoch + 1}/{self.opt.epochs}",
            total=len(loader),
            initial=self.progress.batch,
            leave=False,
            disable=None if self.process.rank == 0 else True,  # None: no bar where nobody looks
        )
        for parts in self._bar:
            self._numbers += [part.numbers for part in parts]
            yield [part.to(self.process)._replace(epoch_noise=epoch_noise) for part in parts]
        self._paused = sampler.stop < len(loader)
        self._rates_then = self._rates()

    def parts(self, model: nn.Module, batch: list[Part]) -> Iterator[Part]:
        """The parts of a batch; the gradients of several processes meet once, after the last one."""
        earlier, self._terms = self._terms, {}  # those of another model in this step
        for number, part in enumerate(batch, start=1):
            if len(batch) > 1:
                self.process.sync_gradients(model, number == len(batch))
            yield part
        if self._count is not None:  # gradients and losses are sums so far: only now is known what to divide them by
            total = self.process.total(self._count)
            scale = self.process.world / (total + (total == 0))
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(scale)
            self._terms = {name: scale * value for name, value in self._terms.items()}
            self._count = None
        if self.opt.precision == "fp16" and self.process.any_process(not scaling.unscale(model, self.progress.scale)):
            self._overflow = True
            for parameter in model.parameters():
                parameter.grad = None  # without gradients the optimizer leaves its parameters as they are
        for name, value in earlier.items():
            self._terms[name] = self._terms[name] + value if name in self._terms else value

    def add(self, terms: dict[str, Tensor], part: Part) -> Tensor:
        """Takes in the losses of a part; returns its share of the loss, to go backward from: with fp16, scaled.

        Each is a mean over the items, or over as many things as `terms["count"]` says, such as tokens; where a part has
        none of them, its losses have to be 0, not NaN. Equal names add up within a step.
        """
        if "count" in terms:
            count = terms["count"].detach()
            self._count = count if self._count is None else self._count + count
            terms = {name: count * value for name, value in terms.items() if name != "count"}
        elif part.share < 1:
            terms = {name: part.share * value for name, value in terms.items()}
        for name, value in terms.items():
            now = value.detach()
            self._terms[name] = self._terms[name] + now if name in self._terms else now
        return self.progress.scale * terms["loss"] if self.opt.precision == "fp16" else terms["loss"]

    def step(self, **more: Tensor | float | None) -> None:
        """Counts a step: logs losses, `more` and rates every `--log-every` steps, and leaves when asked to."""
        progress = self.progress
        if not self._terms:
            raise RunError("give the losses of a step to run.add before run.step counts it")
        for name, value in more.items():
            if value is not None:  # with FSDP the norm of the gradients is a DTensor
                whole = value.full_tensor() if hasattr(value, "full_tensor") else value
                self._terms[name] = torch.as_tensor(whole, device=self.process.device)
        for name, value in self._terms.items():
            self._sums[name] = self._sums.get(name, 0) + value
            progress.counts[name] = progress.counts.get(name, 0) + 1
        self._terms.clear()
        progress.step += 1
        progress.batch += 1
        if self.opt.precision == "fp16":
            self._rescale()
        if self._ema is not None:
            self._ema.update(progress.step - progress.ema_step)
        if progress.step % self.opt.log_every == 0:
            self._check_finite()
            sums = self.process.total(torch.stack(list(self._sums.values()))).tolist()
            values = {
                f"train/{name}": value / (progress.counts[name] * self.process.world)
                for name, value in zip(self._sums, sums, strict=True)
            }
            self._sums.clear()
            progress.counts.clear()
            self._bar.set_postfix(loss=shown(values["train/loss"]))
            self._log("train", {**values, **self._rates()})
        self.stop_if_asked(progress.step, progress.batch < self._planned and self._is_late())

    def stop_if_asked(self, count: int, save: bool = False) -> None:
        """Leaves, and saves on the way out, when a signal has asked for it; every process calls it after each batch.

        With `save` it saves and goes on.
        """
        every = self.opt.agree_every if self.process.world > 1 else 1
        if count % every == 0 and self.process.any_process(save or self.signals.number > 0):
            if self.process.any_process(self.signals.number > 0):
                raise Stop
            self._save()

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Around an evaluation: with `--ema-decay`, the model has its averaged weights.

        A run that is stopped in here goes on from before it, whatever the evaluation has drawn or counted.
        """
        if self.process.any_process(self._is_late(0.1)):  # an evaluation may take long too
            self._save()
        self._random = rng_state()
        with self._ema.swapped() if self._ema is not None else nullcontext():
            modules = [module for net in self._models.values() for module in net.modules()]
            buffers = [(module, *each) for module in modules for each in module.named_buffers(recurse=False)]
            before = [buffer.clone() for _, _, buffer in buffers]
            try:
                yield
            except Stop:
                for (module, name, buffer), kept in zip(buffers, before, strict=True):
                    setattr(module, name, buffer.copy_(kept))  # an evaluation may also have replaced it
                raise
        self._random = {}

    def measured(self, values: dict[str, float], best: str | None, more_is_better: bool) -> None:
        """Ends the epoch: logs values as val/<name>, and saves; the one called `best` chooses the best checkpoint.

        Of equal ones it is that of the lower `loss`, if one is measured; for `--patience` they are no better.
        What is measured in the middle of an epoch is for `run.log.info`, and no more: the rest would not be trained.
        """
        progress, by = self.progress, f"{best} {more_is_better}"
        if best and best not in values:
            raise RunError(f"the best checkpoint cannot be chosen by {best}: measured are {', '.join(values)}")
        values = {name: float(value) for name, value in values.items()}  # which may be tensors
        self._log("val", {f"val/{name}": value for name, value in values.items()})
        if progress.best_by not in ("", by):  # what the other metric was is no measure for this one
            progress.best, progress.best_loss, progress.worse = None, None, 0
        progress.best_by = by
        last = progress.last = values[best] if best else float(progress.step)
        before = math.nan if progress.best is None else progress.best
        better = math.isnan(before) or (last > before if more_is_better or not best else last < before)
        progress.worse = 0 if better else progress.worse + 1
        loss, least = (math.inf if one is None else one for one in (values.get("loss"), progress.best_loss))
        best_now = better or (last == before and loss < least)
        if best_now:
            progress.best, progress.best_step, progress.best_loss = last, progress.step, values.get("loss")
        self._choice = f", the {'highest' if more_is_better else 'lowest'} {best}" if best else ", the newest"
        self._choice += ", and of equal ones the lowest loss" if "loss" in values and best not in (None, "loss") else ""
        if 0 < self.opt.patience <= progress.worse:
            self._end(f"no better {best} in {counted(progress.worse, 'evaluation')}")
        summary = "  ".join(f"{name} {shown(value)}" for name, value in values.items())
        progress.measured = progress.step
        if not self._paused:
            self._end_epoch(summary, best_now)
            return
        self.log.info(f"step {progress.step}  {summary}")
        if best_now or progress.finished:
            self._save()

    def finish(self) -> float:
        """Ends the run, also after a `break`: the same command leaves it as it is. Returns the last value measured."""
        progress = self.progress
        if progress.epoch < self.opt.epochs and not progress.finished:
            self._end("the loop was left")
            self._save()
        lost = [f"checkpoint {step}" for step in self._missed]
        if len(lost) > 2:
            lost[1:-1] = [f"{len(lost) - 2} more"]
        if self._writers:  # of process 0, if it has trained
            try:
                for writer in self._writers:
                    writer.close()
                picture = draw(self.folder)
                best = "nothing measured"
                if progress.best is not None:
                    last, best = shown(progress.last), shown(progress.best)
                    best = f"{last}, best {best} (step {progress.best_step}{self._choice})"
                self.log.info(f"done: {best}; {picture}")
            except OSError as error:
                lost.append(str(disk_error(error)))
        if lost:
            raise RunError(f"the run is done, but not all of it could be written: {', '.join(lost)}", 5)
        return progress.last

    def check_kept(self, optimizer: Optimizer, *_: Any) -> None:
        """Refuses an optimizer that goes on from step to step and would be lost when the run is resumed."""
        kept, step = optimizer in self._optimizers.values(), self.progress.step
        if not kept and self._others.setdefault(optimizer, step) != step:
            raise RunError("an optimizer steps that a run would not put back; name it in run.keep")

    def _scheduler_steps_ahead(self) -> list[int]:
        """How many more steps than the optimizer each scheduler has taken; a ChainedScheduler does not count them."""
        return [one.last_epoch - self.progress.step for one in self._schedulers if hasattr(one, "last_epoch")]

    def _is_late(self, share: float = 1) -> bool:
        """Whether this share of `--save-minutes` has passed since the last checkpoint."""
        return 0 < 60 * share * self.opt.save_minutes <= time.monotonic() - self._saved_at

    def _rescale(self) -> None:
        """Fits the scale of the loss to what became of the gradients."""
        progress = self.progress
        progress.scale, progress.scale_steps = scaling.next_scale(progress.scale, progress.scale_steps, self._overflow)
        if self._overflow:
            what = f"step {progress.step} was skipped: its gradients overflow in fp16"
            self.log.info(f"{what}; the loss is scaled by {progress.scale:g} from here on")
            if progress.scale < 1:
                raise RunError(f"{what} whatever the loss is scaled by; take --precision bf16 or fp32", 6)
        self._overflow = False

    def _end(self, why: str) -> None:
        self.progress.finished = {"why": why, "epochs": self.opt.epochs, "patience": self.opt.patience}
        self.log.info(f"finished before {counted(self.opt.epochs, 'epoch')}: {why}")

    def _end_epoch(self, summary: str, best_now: bool) -> None:
        progress = self.progress
        progress.cut += max(0, self._planned - progress.batch)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        seconds = time.perf_counter() - self._began
        self.log.info(f"epoch {progress.epoch}/{self.opt.epochs}  {summary}  {seconds:.1f} s")
        last_one = progress.epoch >= self.opt.epochs or progress.finished
        if best_now or progress.epoch % (self.opt.save_every or 1) == 0 or last_one:
            self._save()

    def _log(self, kind: str, values: dict[str, float]) -> None:
        for writer in self._writers:
            writer.log(kind, self.progress.step, self.progress.epoch, values)

    def _rates(self) -> dict[str, float]:
        """The learning rate of each layer group; of several optimizers with the optimizer's name before it."""
        rates = {}
        for name, optimizer in self._optimizers.items():
            prefix = f"lr/{name}/" if len(self._optimizers) > 1 else "lr/"
            for group in optimizer.param_groups:
                rates[prefix + group.get("name", name).split("/")[0]] = float(group["lr"])
        return rates

    def _record(self) -> None:
        (self.folder / "checkpoints").mkdir(exist_ok=True)
        history.write_record(self.folder, self.opt, self._facts, self._made_by)
        self._start.recorded = True

    def _named_tensors(self) -> list[tuple[str, Tensor]]:
        """The models' parameters and buffers in this process, by name."""
        found = []
        for model, net in self._models.items():
            prefix = f"{model}." if len(self._models) > 1 else ""
            names = [name for name, _ in [*net.named_parameters(), *net.named_buffers()]]
            found += [(prefix + name, tensor) for name, tensor in zip(names, local_tensors(net), strict=True)]
        return found

    def _check_finite(self) -> None:
        """Stops all processes alike if something is no longer a number. Reading the GPU costs time: rarely called."""
        tensors = [(name, tensor) for name, tensor in self._named_tensors() if self._finite[name]]
        for optimizer in self._optimizers.values():
            tensors += [("the optimizer's memory", tensor) for tensor in optimizer_tensors(optimizer)]
        tensors += self._sums.items()
        floats = [(name, tensor) for name, tensor in tensors if tensor.is_floating_point() and tensor.numel()]
        # a finite norm has only finite numbers in it; another may just be too large itself, so each is looked at
        suspect = not torch.nn.utils.get_total_norm([tensor for _, tensor in floats]).isfinite()
        broken = [name for name, tensor in floats if not bool(tensor.isfinite().all())] if suspect else []
        if self.process.any_process(bool(broken)):
            items = self.process.gather_rows(torch.cat([torch.empty(0).long(), *self._numbers])).tolist()
            last = self.progress.step
            span = f"steps {last - max(self.progress.counts.values(), default=0) + 1} to {last}"
            self.log.error(f"the items of {span}: {sorted(set(items))}", extra={"long": True})
            names = ", ".join([*dict.fromkeys(broken)][:4]) or "in another process"
            before = any((self.folder / "checkpoints").glob("[0-9]*"))
            stands = "the last good checkpoint stands" if before else "there is no checkpoint from before"
            raise RunError(
                f"the loss or the weights became NaN or infinite in {span} ({names}); {stands}. "
                "Try a smaller --lr, or look at the items of these steps, whose numbers are in train.log",
                6,
            )
        self._numbers.clear()

    def _save(self) -> None:
        """A checkpoint of this moment; if the disk is full the run goes on without."""
        self._check_finite()
        progress = self.progress
        progress.window = {name: self.process.gather_rows(sums[None]).tolist() for name, sums in self._sums.items()}
        states = self._random or rng_state()
        random = {name: self.process.gather_rows(state[None]).cpu() for name, state in states.items()}
        tensors: dict[str, Any] = {name: model_state(net) for name, net in self._models.items()}
        for name, optimizer in self._optimizers.items():
            state = optimizer_state(self._owner[name], optimizer)
            tensors[name] = {"kind": type(optimizer).__name__, "state": state, "random": random}
            if any(groups := changed_entries(name, optimizer, self._first[name])):
                tensors[name]["groups"] = groups
        buffers = {name: other_buffers(net) for name, net in self._models.items()}
        if self._ema is not None:
            with self._ema.swapped():
                # copies: on a CPU these are the model's own tensors, from which the average is about to leave
                name = history.average_of(self._averaged)
                tensors[name] = deepcopy(model_state(self._models[self._averaged]))
                buffers[name] = other_buffers(self._models[self._averaged])
        if any(buffers.values()):
            tensors["buffers"] = buffers
        problem = ""
        if self.process.rank == 0:
            folder = self.folder / "checkpoints"
            try:
                for writer in self._writers:
                    writer.flush()
                progress.sizes = {one.path.name: one.size for one in self._writers if isinstance(one, RowFile)}
                if not (self._start.recorded and (self.folder / "options.json").is_file()):
                    self._record()
                checkpoint.save(folder, progress.step, tensors, asdict(progress), self._made_by)
                with suppress(RunError):  # a folder that cannot be listed: this checkpoint is safe all the same
                    # a later one that is there did not verify, and must not push out a good one
                    past = [step for step in checkpoint.steps(folder) if step <= progress.step]
                    checkpoint.purge(folder, {*past[-self.opt.keep :], progress.best_step})
            except OSError as error:
                with suppress(RunError):
                    problem = ", the ones before stand" if checkpoint.steps(folder) else ""
                problem += f": {disk_error(error)}"
        problem = self.process.broadcast(problem)
        self._saved_at = time.monotonic()
        if problem:
            self._missed.append(progress.step)
            self.log.error(f"checkpoint {progress.step} could not be saved{problem}")

    def _put_back(self, found: checkpoint.Checkpoint) -> None:
        """Everything as it was when a checkpoint was saved."""
        known = {one.name for one in fields(Progress)}
        state = {name: value for name, value in found.state.items() if name in known}
        random: dict[str, Tensor] = {}
        with checkpoint.loaded(found) as tensors:
            buffers = tensors.get("buffers", {})
            if self._ema is not None:
                name = history.average_of(self._averaged)
                load_model_state(self._models[self._averaged], tensors.get(name, tensors[self._averaged]))
                load_other_buffers(self._models[self._averaged], buffers.get(name, {}))
                self._ema.swap()
                if name not in tensors:
                    state["ema_step"] = state["step"]
            for name, net in self._models.items():
                load_model_state(net, tensors[name])
                load_other_buffers(net, buffers.get(name, {}))
            for name, optimizer in self._optimizers.items():
                saved, kind = tensors[name], type(optimizer).__name__
                random = saved["random"]
                if (before := saved.get("kind", kind)) != kind:  # what one remembers means nothing to another
                    self.log.warning(f"the {name} was {before} and is {kind}, which begins with nothing remembered")
                    continue
                load_optimizer_state(self._owner[name], optimizer, saved["state"])
                for group, entries in zip(optimizer.param_groups, saved.get("groups", ()), strict=False):
                    group.update(entries)
            if "counts" not in state:  # before 0.4.0
                state["counts"] = dict.fromkeys(state["window"], found.state["window_steps"])
            if "sizes" not in state:  # before 0.5.1
                state["sizes"] = {"metrics.jsonl": found.state["rows"]}
            self.progress = Progress(**{**state, "stopped": 0, "rules": RULES})
        if state.get("rules", 1) != RULES:
            self.log.warning(
                "an older version of the template began this run; from here on learning rates and averages are counted "
                "as they are now: the rate reaches --lr at the end of the warm-up, and an average warms up"
            )
        rank, world = self.process.rank, self.process.world
        if random and len(random["torch"]) == world:
            set_rng_state({name: rows[rank] for name, rows in random.items()})
        self._sums = {
            name: torch.tensor(sums[rank] if len(sums) == world else sum(sums) / len(sums), device=self.process.device)
            for name, sums in self.progress.window.items()
        }

    def stop_and_save(self) -> None:
        """Ends the program after a signal; of one to another process the number is not known."""
        number = self.progress.stopped = int(self.signals.number or signal.SIGTERM)
        self._save()
        name, step = signal.Signals(number).name, self.progress.step
        if step in self._missed:
            raise RunError(f"stopped by {name}, and step {step} could not be saved", 5)
        raise RunError(f"stopped by {name}; the same command goes on after step {step}", 128 + number)


@contextmanager
def open_run(opt: RunOptions, process: Process, dataset: Any, *others: Any) -> Iterator[Run]:
    """The run to work in: `--run N`, else the newest one if the same command made it and nobody works in it, else new.

    Process 0 chooses and tells the others. `dataset.facts` are what the training data tell: a dictionary of JSON
    values, which is saved with the run. `others` are the data sets to evaluate; all processes must see the same.
    """
    with process.raise_together():
        same = same_everywhere(opt, dataset, *others)
    process.check_equal(same)
    if not opt.epochs:
        raise RunError("--epochs is 0; train.py has to call fit_to_data before it opens a run")
    if opt.batch_size % process.world:
        fitting = max(1, opt.batch_size // process.world) * process.world
        problem = f"a batch of {opt.batch_size} items does not divide among {process.world} processes"
        raise RunError(f"{problem}; take --batch-size {fitting}")
    lock: FileLock | None = None
    start = history.Start(0)
    data = {name: same[name] for name in ("the training data", "the data to evaluate")}
    made_by = {**provenance(process), "data": data, "source": same["the source of the project"]}
    try:
        with process.raise_together():
            if process.rank == 0:
                num, lock = history.lock_run(opt)
                start = history.compare(num, opt, dataset.facts, made_by)
                if start.checkpoint is None:
                    start.notes += history.passed_over(opt, num) + imbalance(dataset, opt)
        run = Run(process.broadcast(start), opt, dataset.facts, process, made_by)
        if run.is_new:  # what cannot be read is better met before an epoch is spent
            with process.raise_together():
                for one in others:
                    if hasattr(one, "check") and not isinstance(one, InMemory):  # of which all was read
                        one.check(process.rank, process.world)
        hook = register_optimizer_step_post_hook(run.check_kept)
        with run.signals:
            try:
                yield run
            except Stop:
                run.stop_and_save()
            finally:
                hook.remove()
    finally:
        if lock is not None:
            lock.release()
