"""A run: what the loop of train.py talks to."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from . import checkpoint, history
from .ema import EMA
from .errors import RunError
from .loader import Loader, Part, batch_sampler, load, num_items, to_device
from .log import NAME, MetricsFile, Writer, open_writers
from .options import RunOptions
from .pictures import draw
from .processes import Process
from .seed import generator, rng_state, set_rng_state, setup_seed
from .signals import Signals, Stop
from .state import (
    load_model_state,
    load_optimizer_state,
    local_tensors,
    model_state,
    optimizer_state,
    optimizer_tensors,
)

Opt = TypeVar("Opt", bound=RunOptions)
# How rates and averages are counted; raised when a version of the template counts them otherwise.
RULES = 2


@dataclass
class Progress:
    """Where a run stands: steps taken, epochs finished, batches of the next one taken, the newest and best value."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    last: float = 0.0
    best: float | None = None
    best_step: int = 0
    worse: int = 0  # evaluations since the best one
    window: dict[str, list[float]] = field(default_factory=dict)  # each process's sums since the last row of numbers
    window_steps: int = 0
    rows: int = 0  # size of metrics.jsonl
    ema_step: int = 0  # the step after which the average began
    stopped: int = 0  # the signal that asked it to stop here
    rules: int = RULES
    finished: dict[str, Any] | None = None  # why it came to an end, and the settings that were to say when


class Run:
    """One run, new or gone on with. Every process calls its methods, in the order in which train.py has them."""

    def __init__(
        self,
        num: int,
        opt: RunOptions,
        facts: Mapping[str, Any],
        process: Process,
        step: int | None,
        lock: FileLock | None,
        notes: list[str],
        recorded: bool,
    ) -> None:
        self.num, self.opt, self.facts, self.process = num, opt, facts, process
        self.folder = Path(opt.run_dir, str(num))
        self.checkpoint_step, self._lock = step, lock
        self._recorded = recorded  # whether options.json has the settings of now
        self.is_new = step is None
        where = f"{process.world} x {process.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        self.about = f"batch size {opt.batch_size}, seed {opt.seed}, {where}"
        self._notes = notes
        self.progress = Progress()
        self.provenance = history.provenance(process)
        self.log = logging.getLogger(NAME)
        self._models: dict[str, nn.Module] = {}
        self._optimizers: dict[str, Optimizer] = {}
        self._owner: dict[str, nn.Module] = {}  # the model of each optimizer
        self._ema: EMA | None = None
        self._rows: MetricsFile | None = None
        self._writers: list[Writer] = []
        self._sums: dict[str, Tensor] = {}
        self._terms: dict[str, Tensor] = {}
        self._numbers: list[Tensor] = []  # of the items since the last look at the losses
        self._unsaved = ""  # why the last checkpoint could not be written, if so
        self._missed: list[int] = []  # the steps whose checkpoints could not be written
        self._random: dict[str, Tensor] = {}  # of the time before an evaluation that is under way
        self._signals = Signals()
        self._bar: Any = None

    def __enter__(self) -> Run:
        self._signals.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if isinstance(error, Stop):
                self._stop_and_save()
        finally:
            self._signals.__exit__()
            if self._lock is not None:
                self._lock.release()

    # before the loop

    def keep(self, average: str = "model", **parts: nn.Module | Optimizer) -> None:
        """Names the models and optimizers that have to survive a kill, and puts them back as they were saved.

        With `--ema-decay` the moving average of the model `average` is kept and evaluated. The parameters of each
        optimizer must be those of one of the models.
        """
        self._models = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
        self._optimizers = {name: part for name, part in parts.items() if isinstance(part, Optimizer)}
        for name, optimizer in self._optimizers.items():
            held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
            owners = [net for net in self._models.values() if held <= {*net.parameters()}]
            if not owners:
                raise RunError(f"the parameters of {name} are not those of one model that is kept; keep that model too")
            self._owner[name] = owners[0]
        for note in self._notes:
            self.log.warning(note)
        if self.opt.ema_decay:
            self._ema = EMA(self._models[average], self.opt.ema_decay)
            self._averaged = average
        if self.checkpoint_step is not None:
            self._put_back(self.checkpoint_step)
            self.log.info(
                f"going on after step {self.progress.step}, {self.progress.epoch} of {self.opt.epochs} epochs done"
            )
        # a mask may hold infinities: what is not finite at the start need not be later
        self._finite = {name: bool(tensor.isfinite().all()) for name, tensor in self._named_tensors()}

    def catch_up(self, scheduler: LRScheduler, steps_per_epoch: int) -> None:
        """Brings the learning rates to where the run stands.

        They follow from the settings, the data and the place in the run, so they are counted again rather than loaded:
        what was changed counts, and the numbers are the same to the last bit.
        """
        if self.progress.epoch >= self.opt.epochs:  # it is finished; a schedule of fewer epochs has no rates for it
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no optimizer step comes between, on purpose
            for _ in range(self.progress.epoch * steps_per_epoch + min(self.progress.batch, steps_per_epoch)):
                scheduler.step()

    # the loop

    def epochs(self, count: int) -> Iterator[int]:
        """The epochs that are left, until `count`, `--patience` or a `break` ends them; each is saved at its end."""
        if history.finished(self.folder, self.opt) and self.checkpoint_step is not None:
            self.log.info(f"run {self.num} is finished; for more, raise --epochs, or begin another with --new-run")
            return
        self.progress.finished = None  # more epochs or more patience: it goes on
        wrong = ""
        if self.process.rank == 0:
            try:
                if not (self.folder / "options.json").exists():
                    self._record()  # of a run that goes on it changes when a checkpoint is made with new settings
                self._rows = MetricsFile(self.folder, self.progress.rows)
                self._writers = open_writers(self._rows, self.folder, self.progress.step)
            except OSError as problem:
                wrong = f"{self.folder} cannot be written: {problem}"
        if wrong := self.process.broadcast(wrong):
            raise RunError(wrong, 5)
        while self.progress.epoch < count and not self.progress.finished:
            epoch, self._began = self.progress.epoch, time.perf_counter()
            yield epoch
            if self.progress.epoch == epoch:
                self._end_epoch("", better=False)

    def is_measured(self, epoch: int) -> bool:
        """Whether an epoch ends with an evaluation: each `--eval-every`-th and the last one."""
        return (epoch + 1) % self.opt.eval_every == 0 or epoch + 1 == self.opt.epochs

    def batches(self, loader: Loader, epoch: int) -> Iterator[list[Part]]:
        """The batches of an epoch that are left, each in `--accumulate` parts, on the device."""
        sampler = batch_sampler(loader)
        sampler.epoch, sampler.start = epoch, self.progress.batch
        noise: dict[int, Tensor] = {}

        def epoch_noise(count: int) -> Tensor:
            if count not in noise:
                noise[count] = torch.rand(num_items(loader), count, generator=generator(self.opt.seed, 2, epoch))
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
            count = sum(len(part.numbers) for part in parts)
            batch = []
            for part in parts:
                self._numbers.append(part.numbers)
                inputs, targets = to_device(part.inputs, self.process), to_device(part.targets, self.process)
                batch.append(Part(inputs, targets, part.numbers, len(part.numbers) / count, epoch_noise))
            yield batch

    def parts(self, model: nn.Module, batch: list[Part]) -> Iterator[Part]:
        """The parts of a batch; the gradients of several processes meet once, after the last one."""
        for number, part in enumerate(batch, start=1):
            if len(batch) > 1:
                self.process.share_gradients(model, number == len(batch))
            yield part

    def add(self, terms: dict[str, Tensor], part: Part) -> Tensor:
        """Takes in the losses of a part; returns its share of the loss, to go backward from."""
        if part.share < 1:
            terms = {name: part.share * value for name, value in terms.items()}
        for name, value in terms.items():
            now = value.detach()
            self._terms[name] = self._terms[name] + now if name in self._terms else now
        return terms["loss"]

    def step(self, *optimizers: Optimizer, **more: Tensor | None) -> None:
        """Counts a step: logs losses, `more` and rates every `--log-every` steps, and leaves when asked to."""
        if not {*optimizers} <= {*self._optimizers.values()}:
            raise RunError("an optimizer steps that a run would not put back; name it in run.keep")
        progress = self.progress
        self._terms |= {name: self.process.whole(value) for name, value in more.items() if value is not None}
        for name, value in self._terms.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._terms.clear()
        progress.window_steps += 1
        progress.step += 1
        progress.batch += 1
        if self._ema is not None:
            self._ema.update(progress.step - progress.ema_step)
        if progress.step % self.opt.log_every == 0:
            self._check_finite()
            sums = self.process.total(torch.stack(list(self._sums.values()))) / (
                progress.window_steps * self.process.world
            )
            values = {f"train/{name}": value for name, value in zip(self._sums, sums.tolist(), strict=True)}
            self._sums.clear()
            progress.window_steps = 0
            self._bar.set_postfix(loss=f"{values['train/loss']:.4f}")
            self._write("train", {**values, **self._rates()})
        self.stop_if_asked(progress.step)

    def stop_if_asked(self, count: int) -> None:
        """Leaves, and saves on the way out, when a signal has asked for it; every process calls it after each batch."""
        if self.process.stop_now(self._signals.number > 0, count, self.opt):
            raise Stop

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Around an evaluation: with `--ema-decay`, the model has its averaged weights."""
        self._random = rng_state()  # with which a run that is stopped in here goes on
        with self._ema.in_place() if self._ema is not None else nullcontext():
            yield
        self._random = {}

    def measured(self, values: dict[str, float], best: str | None, more_is_better: bool) -> None:
        """Ends an epoch: logs what was measured, and saves. `best` names the value that chooses the best checkpoint."""
        progress = self.progress
        self._write("val", {f"val/{name}": value for name, value in values.items()})
        last = progress.last = values[best] if best else float(progress.step)
        better = progress.best is None or (last > progress.best if more_is_better or not best else last < progress.best)
        if better:
            progress.best, progress.best_step, progress.worse = last, progress.step, 0
        else:
            progress.worse += 1
        if 0 < self.opt.patience <= progress.worse:
            self._end(f"no better {best} in {progress.worse} evaluations")
        self._end_epoch("  ".join(f"{name} {value:.4f}" for name, value in values.items()), better)

    def _end_epoch(self, summary: str, better: bool) -> None:
        progress = self.progress
        progress.epoch, progress.batch = progress.epoch + 1, 0
        seconds = time.perf_counter() - self._began
        self.log.info(f"epoch {progress.epoch}/{self.opt.epochs}  {summary}  {seconds:.1f} s")
        last_one = progress.epoch >= self.opt.epochs or progress.finished
        if better or progress.epoch % self.opt.save_every == 0 or last_one:
            self._save()

    def finish(self) -> float:
        """Ends the run, also after a `break`: the same command leaves it as it is. Returns the last value measured."""
        progress = self.progress
        if progress.epoch < self.opt.epochs and not progress.finished:
            self._end("the loop was left")
            self._save()
        if self.process.rank == 0 and self._rows is not None:
            try:
                for writer in self._writers:
                    writer.close()
                picture = draw(self.folder)
            except OSError as problem:
                message = f"the run is done, but not all of it could be written: {self._unsaved or problem}"
                raise RunError(message, 5) from None
            self.log.info(f"done: {progress.last:.4f}, best {progress.best:.4f} (step {progress.best_step}); {picture}")
        if self._unsaved:
            raise RunError(f"the run is done, but its last checkpoint could not be saved: {self._unsaved}", 5)
        if self._missed:
            raise RunError(f"the run is done and safe, but the disk had no room for its checkpoints {self._missed}", 5)
        return progress.last

    # inside

    def _end(self, why: str) -> None:
        self.progress.finished = {"why": why, "epochs": self.opt.epochs, "patience": self.opt.patience}
        self.log.info(f"finished before {self.opt.epochs} epochs: {why}")

    def _write(self, kind: str, values: dict[str, float]) -> None:
        for writer in self._writers:
            writer.log(kind, self.progress.step, self.progress.epoch, values)

    def _rates(self) -> dict[str, float]:
        """The learning rate of each layer group; of several optimizers with the optimizer's name before it."""
        return {
            f"lr/{group.get('name', name).split('/')[0]}"
            if len(self._optimizers) == 1
            else f"lr/{name}/{group.get('name', name).split('/')[0]}": float(group["lr"])
            for name, optimizer in self._optimizers.items()
            for group in optimizer.param_groups
        }

    def _record(self) -> None:
        (self.folder / "checkpoints").mkdir(exist_ok=True)
        history.write_record(self.folder, self.opt, self.facts, self.provenance)
        self._recorded = True

    def _named_tensors(self) -> list[tuple[str, Tensor]]:
        """The models' parameters and buffers in this process, by name."""
        found = []
        for model, net in self._models.items():
            names = [name for name, _ in [*net.named_parameters(), *net.named_buffers()]]
            prefix = "" if len(self._models) == 1 else f"{model}."
            found += [(prefix + name, tensor) for name, tensor in zip(names, local_tensors(net), strict=True)]
        return found

    def _check_finite(self) -> None:
        """Stops all processes alike if something is no longer a number. Reading the GPU costs time: rarely called."""
        progress = self.progress
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
            span = f"steps {progress.step - progress.window_steps + 1} to {progress.step}"
            self.log.error(f"the items of {span}: {sorted(set(items))}")
            names = ", ".join([*dict.fromkeys(broken)][:4]) or "in another process"
            raise RunError(
                f"the loss or the weights became NaN or infinite in {span} ({names}); the last good checkpoint stands. "
                "Try a smaller --lr, or look at the items of these steps, whose numbers are in train.log",
                6,
            )
        self._numbers.clear()

    def _save(self) -> None:
        """A checkpoint of this moment; if the disk is full the run goes on without."""
        self._check_finite()
        progress = self.progress
        progress.window = {name: self.process.gather_rows(sums[None]).tolist() for name, sums in self._sums.items()}
        progress.rows = self._rows.size if self._rows else 0
        states = self._random or rng_state()
        random = {name: self.process.gather_rows(state[None]).cpu() for name, state in states.items()}
        tensors: dict[str, Any] = {name: model_state(net) for name, net in self._models.items()}
        for name, optimizer in self._optimizers.items():
            tensors[name] = {"state": optimizer_state(self._owner[name], optimizer), "random": random}
        if self._ema is not None:
            with self._ema.in_place():
                # copies: on a CPU these are the model's own tensors, from which the average is about to leave
                average = model_state(self._models[self._averaged])
                tensors["ema"] = {name: value.clone() for name, value in average.items()}
        self._unsaved = self.process.broadcast(self._save_to_disk(tensors) if self.process.rank == 0 else "")
        if self._unsaved:
            self._missed.append(progress.step)
            self.log.error(f"checkpoint {progress.step} could not be saved, the ones before stand: {self._unsaved}")

    def _save_to_disk(self, tensors: dict[str, Any]) -> str:
        """Saves a checkpoint, then removes those that are not to be kept; returns what the disk refused, if it did."""
        folder, step = self.folder / "checkpoints", self.progress.step
        try:
            for writer in self._writers:
                writer.flush()
            if not self._recorded:
                self._record()
            checkpoint.save(folder, step, tensors, asdict(self.progress), self.provenance)
        except OSError as problem:
            return str(problem)
        try:
            # a later one that is there did not verify, and must not push out a good one
            newest = [one for one in checkpoint.steps(folder) if one <= step][-max(2, self.opt.keep) :]
            checkpoint.purge(folder, {*newest, self.progress.best_step})
        except (OSError, RunError) as problem:
            self.log.warning(f"checkpoint {step} is safe, but an old one could not be removed: {problem}")
        return ""

    def _put_back(self, step: int) -> None:
        """Everything as it was when the checkpoint of `step` was saved."""
        tensors, state = checkpoint.load(self.folder / "checkpoints" / str(step))
        known = {one.name for one in fields(Progress)}
        try:
            if self._ema is not None:
                load_model_state(self._models[self._averaged], tensors.get("ema", tensors[self._averaged]))
                self._ema.swap()
                if "ema" not in tensors:
                    state["ema_step"] = state["step"]
            for name, net in self._models.items():
                load_model_state(net, tensors[name])
            random: dict[str, Tensor] = {}
            for name, optimizer in self._optimizers.items():
                load_optimizer_state(self._owner[name], optimizer, tensors[name]["state"])
                random = tensors[name]["random"]
            state = {name: value for name, value in state.items() if name in known}
            self.progress = Progress(**{**state, "stopped": 0, "rules": RULES})
        except KeyError as name:
            raise RunError(f"checkpoint {step} lacks {name}", 4) from None
        except (RuntimeError, TypeError, ValueError, AttributeError) as problem:
            reason = (str(problem) or repr(problem)).splitlines()[-1].strip()
            raise RunError(f"checkpoint {step} does not fit the model: {reason}", 4) from None
        if state.get("rules", 1) != RULES:
            self.log.warning(
                "an older version of the template began this run; from here on learning rates and averages are counted "
                "as they are now: the rate reaches --lr at the end of the warm-up, and an average warms up"
            )
        rank, world = self.process.rank, self.process.world
        if len(random["torch"]) == world:
            set_rng_state({name: rows[rank] for name, rows in random.items()})
        self._sums = {
            name: torch.tensor(sums[rank] if len(sums) == world else sum(sums) / len(sums), device=self.process.device)
            for name, sums in self.progress.window.items()
        }

    def _stop_and_save(self) -> None:
        # in another process than the one that was asked, the number is not known
        self.progress.stopped = int(self._signals.number or signal.SIGTERM)
        self._save()
        name = signal.Signals(self.progress.stopped).name
        if self._unsaved:
            raise RunError(f"stopped by {name}, and step {self.progress.step} could not be saved: {self._unsaved}", 5)
        message = f"stopped by {name}; the same command goes on after step {self.progress.step}"
        raise RunError(message, 128 + self.progress.stopped)


def open_run(opt: RunOptions, process: Process, dataset: Any, *others: Any) -> Run:
    """The run to work in: `--run N`, else the newest one if the same command made it and nobody works in it, else new.

    Process 0 chooses and tells the others. `dataset.facts` are what the training data tell: a dictionary of JSON
    values, which is saved with the run. `others` are the data sets to evaluate; all processes must see the same.
    """
    with process.together():
        facts = history.facts_of_start(opt, dataset, others)
    process.compare(facts)
    if opt.batch_size % process.world:
        fitting = max(1, opt.batch_size // process.world) * process.world
        raise RunError(
            f"a batch of {opt.batch_size} items does not divide among {process.world} processes; take --batch-size "
            f"{fitting}"
        )
    chosen: tuple[int, int | None, list[str], bool] | RunError = (0, None, [], False)
    lock: FileLock | None = None
    if process.rank == 0:
        try:
            num, step, notes, recorded, lock = _choose(opt, process, dataset.facts)
            chosen = (num, step, notes, recorded)
        except RunError as problem:
            chosen = problem
        except (FileExistsError, NotADirectoryError) as problem:
            chosen = RunError(f"{problem.filename} is neither a folder nor a link to one; move it away", 5)
        except OSError as problem:
            chosen = RunError(f"{opt.run_dir} cannot be written: {problem}", 5)
    chosen = process.broadcast(chosen)
    if isinstance(chosen, RunError):
        raise chosen
    num, step, notes, recorded = chosen
    return Run(num, opt, dataset.facts, process, step, lock, notes, recorded)


def _choose(
    opt: RunOptions, process: Process, facts: Mapping[str, Any]
) -> tuple[int, int | None, list[str], bool, FileLock]:
    root = Path(opt.run_dir)
    root.mkdir(parents=True, exist_ok=True)
    num = history.choose(opt)
    named = opt.run if num is None else num
    lock = None if named is None else history.lock_of(root / str(named))
    if opt.run is not None and lock is None:
        raise RunError(f"run {opt.run} is in use by another process; wait for it, or take another number", 3)
    if named is None or lock is None:
        named, lock = history.new_run(root)
    elif num is not None:
        try:
            return num, *history.compare(root / str(num), opt, facts, process), lock
        except RunError:
            lock.release()
            raise
    return named, None, [], False, lock


@dataclass(frozen=True)
class Saved:
    """A checkpoint of a run, verified."""

    step: int
    folder: Path
    tensors: dict[str, Any]

    def into(self, net: nn.Module, name: str = "model") -> nn.Module:
        """Loads the weights of a model that was kept under that name; with a moving average, those."""
        try:
            net.load_state_dict(self.tensors.get("ema" if name == "model" else name, self.tensors[name]))
        except KeyError as missing:
            raise RunError(f"checkpoint {self.step} of {self.folder} lacks {missing}", 4) from None
        except RuntimeError as problem:
            reason = str(problem).splitlines()[-1].strip()
            raise RunError(f"checkpoint {self.step} of {self.folder} does not fit the model: {reason}", 4) from None
        return net


def read_options(folder: Path, kind: type[Opt]) -> Opt:
    """The options that a run was made with; those that this project has no more are left out."""
    known = {name: value for name, value in history.read_record(folder).options.items() if name in vars(kind())}
    return replace(kind(), **known)


def load_run(folder: Path, kind: type[Opt], step: int | None = None) -> tuple[Opt, dict[str, Any], Saved]:
    """The options of a run, the facts of its data, and its best checkpoint (or that of `step`)."""
    opt, record = read_options(folder, kind), history.read_record(folder)
    if step is None:
        step = checkpoint.best(folder / "checkpoints")
    if step is None or not (folder / "checkpoints" / str(step)).is_dir():
        raise RunError(f"{folder} has no checkpoint {'yet' if step is None else step}", 4)
    wrong = checkpoint.problem(folder / "checkpoints" / str(step))
    if wrong:
        raise RunError(f"checkpoint {step} of {folder} cannot be used: {wrong}", 4)
    setup_seed(opt.seed, opt.deterministic)  # computes as the training did
    return opt, record.facts, Saved(step, folder, checkpoint.load(folder / "checkpoints" / str(step))[0])
