"""The training loop: it may be killed at any moment and goes on from its last checkpoint.

A run lives in one directory:

``checkpoint.pt``
    Weights, optimizer, averaged weights, counters and schedule; written every 45 s.
``checkpoint-before.pt``
    The one before it, from which the run goes on where the newest one is damaged.
``before-cool-down.pt``
    The same, as it was when the cool-down began: a finished run that is given more time continues
    from here.
``log.csv``
    The curves.
``model.safetensors``
    The model itself (averaged weights), once the run has finished.
``cool-down``
    Create a file of this name to ask a running process for its cool-down.
``lock``
    Held by the process that trains here, which it names; it means nothing while nobody holds it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from sr_transformer.errors import CheckpointError
from sr_transformer.limits import check_positive, check_seed, check_whole
from sr_transformer.model.checkpoint import LoadedModel
from sr_transformer.model.transformer import PRESETS, Transformer
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.prior.stream import PRIOR_VERSION
from sr_transformer.training.config import (
    LEARNING_RATE,
    Progress,
    TrainingConfig,
    accelerator_of,
    default_data,
    fastest_precision,
)
from sr_transformer.training.data import Batch, DataConfig, feed, validation_batches
from sr_transformer.training.objective import Objective, to_tensors, validate
from sr_transformer.training.schedule import Schedule
from sr_transformer.training.state import (
    Log,
    States,
    export,
    first_model,
    read_state,
    run_of_this_process,
    write_state,
)

_EMA_DECAY = 0.999


@contextmanager
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C, which end the loop after the current step, not in its middle.

    A second Ctrl-C does not wait for that.
    """
    requests: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: Any) -> None:
        if number == signal.SIGINT and number in requests:
            raise KeyboardInterrupt
        requests.append(number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, note)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@_threads_as_before()
def train(
    directory: str | Path,
    preset: str = "small",
    minutes: float = 60.0,
    *,
    max_examples: int | None = None,
    resume: bool = True,
    start_from: str | Path | None = None,
    processes: int | None = None,
    threads: int | None = None,
    workers: int = 1,
    device: str = "auto",
    cool_down: bool = False,
    seed: int = 0,
    learning_rate: float | None = None,
    data: DataConfig | None = None,
    warm_up: int = 32_000,
    log_every: int = 50,
    validate_every: int = 1000,
    validation_examples: int = 1024,
    checkpoint_seconds: float = 45.0,
    report: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a network, or go on with a run.

    Parameters
    ----------
    directory : str or Path
        Where the run lives; see the module's text.
    preset : str, default="small"
        ``tiny``, ``small`` or ``base``.
    minutes : float, default=60
        Training time of the whole run, pauses not counted. A finished run that is given more goes
        on from before its cool-down.
    max_examples : int, optional
        End after so many examples of this run instead: the same result on every machine of a
        kind.
    resume : bool, default=True
        Go on where the directory holds a run. ``False`` refuses to touch such a directory.
    start_from : str or Path, optional
        Begin a new run with the weights and tokens of a model of the same preset: its name in the
        package, or the path of a safetensors file. The optimizer and the warm-up begin anew, the
        examples are others, and the number of examples seen goes on from the model's.
    processes : int, optional
        Copies of the network that share each step (data parallel, by Fabric's ``ddp`` launcher,
        which runs the command of this process again for each): by default all GPUs, or one on a
        CPU, where two processes of one thread learn as fast as one of two threads.
    threads : int, optional
        CPU threads of torch in each process.
    workers : int, default=1
        Processes that make examples, for each process that trains.
    device : str, default="auto"
        ``auto``, ``cpu`` or ``cuda``.
    cool_down : bool, default=False
        Begin the cool-down at once and finish.
    seed : int, default=0
    learning_rate : float, optional
        Peak; by default that of the preset.
    data : DataConfig, optional
        Batches of each process; by default 64 examples for all processes on a CPU, and 512 for
        each GPU.
    warm_up : int, default=32000
        Examples until the peak.
    log_every, validate_every : int
        Steps.
    validation_examples : int, default=1024
    checkpoint_seconds : float, default=45
    report : callable, optional
        Called with a :class:`Progress` at each row of the log.

    Returns
    -------
    Path
        ``model.safetensors`` of the run if it has finished, else ``checkpoint.pt``.

    Raises
    ------
    CheckpointError
        If another process is training in the directory, if that holds a run of another preset or
        vocabulary, or a damaged one, or any run and ``resume`` is false or ``start_from`` is given,
        or if the model to start from does not fit.
    ValueError, TypeError
        If a number is not allowed; nothing has begun then.
    OSError
        If the directory cannot be written, or the disk is full: the last checkpoint is as it was.
    KeyboardInterrupt
        From the keyboard, once the checkpoint is written; a second one does not wait for that.

    Warns
    -----
    DamagedStateWarning
        If the newest checkpoint is damaged, and the run goes on from the one before it.
    """
    if preset not in PRESETS:
        raise CheckpointError(f"no preset {preset!r}; known are {', '.join(PRESETS)}.")
    check_positive("minutes", minutes)
    for name, value in {
        "max_examples": max_examples, "processes": processes, "threads": threads,
    }.items():  # fmt: skip
        if value is not None:
            check_whole(name, value)
    check_whole("workers", workers)
    check_seed(seed)
    if learning_rate is not None:
        check_positive("learning_rate", learning_rate)
    check_whole("warm_up", warm_up, 0)
    for name, value in {
        "log_every": log_every, "validate_every": validate_every,
        "validation_examples": validation_examples,
    }.items():  # fmt: skip
        check_whole(name, value)
    check_positive("checkpoint_seconds", checkpoint_seconds, or_zero=True, or_infinite=True)
    accelerator = accelerator_of(device, processes)
    start = None if start_from is None else first_model(start_from, preset)
    config = TrainingConfig(
        preset=preset,
        seed=seed,
        learning_rate=learning_rate or LEARNING_RATE[preset],
        warm_up=warm_up,
        data=data or default_data(accelerator, processes or 1),
        examples_before=0 if start is None else start.metadata["examples_seen"],
        tokens=(Vocabulary.of() if start is None else start.vocabulary).tokens,
    )
    if threads is not None:
        torch.set_num_threads(threads)
    with run_of_this_process(Path(directory)):
        run = _Run(Path(directory), config, device, processes, resume, start)
        run.plan(minutes, max_examples, cool_down)
        return _learn(
            run, workers=workers, log_every=log_every, validate_every=validate_every,
            validation_examples=validation_examples, checkpoint_seconds=checkpoint_seconds,
            report=report,
        )  # fmt: skip


def _learn(
    run: _Run,
    *,
    workers: int,
    log_every: int,
    validate_every: int,
    validation_examples: int,
    checkpoint_seconds: float,
    report: Callable[[Progress], None] | None,
) -> Path:
    """Take step after step until the run has finished or is to stop; see :func:`train`."""
    fabric, data = run.fabric, run.config.data
    first = fabric.is_global_zero
    if first:
        log = Log(run.directory / "log.csv", run.step)
        held_out = validation_batches(validation_examples, data.batch_size, run.vocabulary)

    def write(row: dict[str, float]) -> None:
        log.write(row)
        if report is not None:
            report(run.status(row))

    started = time.monotonic() - run.seconds
    saved_at = time.monotonic()
    run.begin_row()
    batches = feed(
        run.config.data_seed, data, run.vocabulary, first_batch=run.batches,
        rank=fabric.global_rank, n_ranks=fabric.world_size, n_workers=workers,
    )  # fmt: skip
    with _stop_requests() as stop, closing(batches):
        while True:
            # The clock, a request file and signals are seen by one rank; all must act alike.
            run.seconds = fabric.broadcast(time.monotonic() - started)
            if fabric.broadcast(run.cool_down_is_wanted()):
                run.save_before_cool_down()
                run.schedule.begin_cool_down(run.progress)
            finished = run.schedule.is_finished(run.progress)
            if finished or fabric.broadcast(bool(stop)):
                break
            asked = time.monotonic()
            batch = next(batches)
            run.waited += time.monotonic() - asked
            run.learn(batch)
            if run.step % log_every == 0:
                row = run.row()
                run.totals.zero_()
                if first:
                    if run.step % validate_every == 0:
                        row |= run.validate(held_out)
                    write(row)
                run.begin_row()
            if time.monotonic() - saved_at > checkpoint_seconds:
                run.save()
                saved_at = time.monotonic()
    if first and finished:
        row = run.row() | run.validate(held_out)
    run.save()
    if not first:
        raise SystemExit(0)  # this process was started to help the first one, nothing else
    if not finished and signal.SIGINT in stop:
        raise KeyboardInterrupt(
            f"the run at {run.directory} is saved after {run.examples:,} examples and goes on when "
            "it is started again"
        )
    if not finished:
        return run.states.newest
    path = export(run.directory, run.directory / "model.safetensors")
    write(row)
    return path


def _update_average(averaged: list[Tensor], current: list[Tensor], n: Tensor) -> None:
    """Exponential average whose memory grows with the run until it spans 1000 steps."""
    decay = min(_EMA_DECAY, (1.0 + float(n)) / (10.0 + float(n)))
    torch._foreach_lerp_(averaged, current, 1.0 - decay)


class _Run:
    """The state of a run, and the steps that move it on."""

    def __init__(
        self,
        directory: Path, config: TrainingConfig, device: str, processes: int | None,
        resume: bool, start: LoadedModel | None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.states = States(directory)
        self.before_cool_down = directory / "before-cool-down.pt"
        saved: dict[str, Any] = {}
        if self.states.exist():
            if not resume:
                raise CheckpointError(
                    f"{directory} already holds a run; resume it or choose another directory."
                )
            if start is not None:
                raise CheckpointError(
                    f"{directory} already holds a run, which goes on without start_from; to begin "
                    "one from a model, choose another directory."
                )
            saved = self.states.read()
            if saved["config"].preset != config.preset:
                raise CheckpointError(
                    f"the run at {directory} is of preset {saved['config'].preset!r}, not "
                    f"{config.preset!r}; name that one or choose another directory."
                )
            config = saved["config"]  # a run keeps its seed, learning rate and data
        self.config = config
        self.vocabulary = Vocabulary(config.tokens)
        self.accelerator = accelerator = accelerator_of(device)
        # A measurement on a busy machine could come out otherwise than at the start of the run.
        kept = saved.get("precision", {}).get(accelerator)
        self.precision = kept or fastest_precision(accelerator)
        self.fabric = Fabric(
            accelerator=accelerator,
            devices=processes or ("auto" if accelerator == "cuda" else 1),
            precision=self.precision,  # type: ignore[arg-type]
        )
        self.fabric.launch()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            self.network = Transformer(config.sizes)
        if start is not None:
            self.network.load_state_dict(start.network.state_dict())
        weights = list(self.network.parameters())
        groups = [
            {"params": [p for p in weights if p.ndim >= 2]},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups, betas=(0.9, 0.95), weight_decay=config.weight_decay, fused=True
        )
        self.average = AveragedModel(self.network, multi_avg_fn=_update_average)
        self.model, self.optimizer = self.fabric.setup(self.network, optimizer)
        self.average.to(self.fabric.device)
        self.objective = Objective(self.vocabulary, self.fabric.device)
        self.step = self.examples = self.batches = 0
        self.seconds = 0.0
        self.totals = torch.zeros(6, device=self.fabric.device)  # since the last row of the log
        self.validation: dict[str, float] = {}
        self.cool_down: dict[str, float | None] = {}
        self.unit = ""
        if saved:
            self._restore(saved)

    # --- state ------------------------------------------------------------------------------------
    _KEPT = ("config", "step", "examples", "batches", "seconds", "validation", "unit")

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_averaged.fill_(state["n_averaged"])
        self.totals.copy_(state.get("totals", self.totals))
        self.cool_down = state["schedule"]
        for name in self._KEPT:
            setattr(self, name, state[name])
        before, now = state["n_ranks"], self.fabric.world_size
        if before != now:
            # The batch of all ranks together stays. Ranks take chunks in turn: with another number
            # of them, go on after all chunks that were used.
            data = self.config.data
            used = -(-self.batches // data.batches_per_chunk) * before
            data = replace(data, batch_size=max(data.batch_size * before // now, 1))
            self.config = replace(self.config, data=data)
            self.batches = -(-used // now) * data.batches_per_chunk

    def save(self) -> None:
        """Write all that the run needs to go on, in its first process."""
        if self.fabric.is_global_zero:
            self.states.write(self._state())

    def save_before_cool_down(self) -> None:
        """Write it to where more time for a finished run begins, in its first process."""
        if self.fabric.is_global_zero:
            write_state(self.before_cool_down, self._state())

    def _state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._KEPT} | {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.module.state_dict(),
            "n_averaged": int(self.average.n_averaged),
            "n_ranks": self.fabric.world_size,
            "precision": {self.accelerator: self.precision},
            "totals": self.totals,
            "schedule": self.schedule.state(),
            "vocabulary_hash": self.vocabulary.hash,
            "prior_version": PRIOR_VERSION,
        }

    # --- plan -------------------------------------------------------------------------------------
    def plan(self, minutes: float, max_examples: int | None, cool_down: bool) -> None:
        """Decide where the run ends, and where its cool-down stands."""
        unit = "seconds" if max_examples is None else "examples"
        end = float(60.0 * minutes if max_examples is None else max_examples)
        self.cool_down_at_once = cool_down
        until = self.cool_down.get("cool_down_until")
        if until is not None and not cool_down and (unit != self.unit or end > until):
            # More time than the cool-down was planned for: it is undone.
            try:
                self._restore(read_state(self.before_cool_down))
            except CheckpointError as error:
                raise CheckpointError(
                    f"{error} The run has cooled down and cannot be given more without it; begin a "
                    "new one in another directory with start_from."
                ) from error
            self.cool_down = {}
        self.unit = unit
        peak, warm_up = self.config.learning_rate, self.config.warm_up
        self.schedule = Schedule(peak, warm_up, end, **self.cool_down)

    @property
    def progress(self) -> float:
        """Examples or seconds, whichever ends the run."""
        return float(self.examples) if self.unit == "examples" else self.seconds

    def cool_down_is_wanted(self) -> bool:
        """Whether the cool-down has to begin: at once, by the plan, or because a file asks."""
        request = self.directory / "cool-down"
        if self.schedule.cool_down_from is not None or not (
            self.cool_down_at_once or self.schedule.is_due(self.progress) or request.exists()
        ):
            return False
        if self.fabric.is_global_zero:
            request.unlink(missing_ok=True)
        return True

    # --- steps ------------------------------------------------------------------------------------
    def learn(self, batch: Batch) -> None:
        """Take one step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.examples, self.progress)
        prompt, read, targets = to_tensors(batch, self.fabric.device)
        loss, figures = self.objective(self.model(prompt, read).float(), targets)
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=1.0, error_if_nonfinite=False
        )
        if torch.isfinite(norm):
            self.optimizer.step()
            if self.fabric.is_global_zero:
                self.average.update_parameters(self.network)
        self.optimizer.zero_grad()
        self.step += 1
        self.batches += 1
        self.examples += len(targets) * self.fabric.world_size
        self.totals += torch.cat((figures, torch.stack((norm, torch.ones_like(norm))))).detach()

    def begin_row(self) -> None:
        """Measure speed and waiting from now on."""
        self.row_since, self.row_from, self.waited = time.monotonic(), self.examples, 0.0

    def row(self) -> dict[str, float]:
        """Row of the log: means of the steps since the row before."""
        loss, right, n_tokens, log_z, norm, steps = self.totals.tolist()  # a GPU ends its work here
        n_tokens, steps = max(n_tokens, 1.0), max(steps, 1.0)
        passed = time.monotonic() - self.row_since
        return {
            "step": self.step,
            "examples": self.config.examples_before + self.examples,
            "loss": loss / n_tokens,
            "token_accuracy": right / n_tokens,
            "grad_norm": norm / steps,
            "mean_log_z": log_z / n_tokens,
            "learning_rate": self.schedule.rate(self.examples, self.progress),
            "seconds": self.seconds,
            "examples_per_second": (self.examples - self.row_from) / passed,
            "data_wait": self.waited / passed,
        }

    def validate(self, held_out: list[Batch]) -> dict[str, float]:
        """Measure the averaged weights: what a row of the log says of them."""
        self.validation = validate(
            self.average.module, self.vocabulary, held_out, self.fabric.device,
            self.fabric.autocast(),
        )  # fmt: skip
        names = ("loss", "token_accuracy", "formula_accuracy")
        return {f"validation_{name}": self.validation[name] for name in names}

    def status(self, row: dict[str, float]) -> Progress:
        """Where the run stands."""
        end = self.schedule.cool_down_until or self.schedule.end
        left = end - self.progress
        if self.unit == "examples":
            left /= row["examples_per_second"] or 1.0
        return Progress(
            row,
            min(self.progress / end, 1.0),
            max(left, 0.0),
            self.schedule.cool_down_from is not None,
            self.schedule.is_finished(self.progress),
        )
