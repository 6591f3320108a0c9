"""The training loop: it may be killed at any moment and goes on from its last checkpoint.

A run lives in one directory:

``checkpoint.pt``
    Weights, optimizer, averaged weights, counters and schedule; written every 45 s.
``before-cool-down.pt``
    The same, as it was when the cool-down began: a finished run that is given more time continues
    from here.
``log.csv``
    The curves.
``model.safetensors``
    The model itself (averaged weights), once the run has finished.
``cool-down``
    Create a file of this name to ask a running process for its cool-down.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from sr_transformer.errors import CheckpointError
from sr_transformer.model.checkpoint import LoadedModel, write_atomically
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
from sr_transformer.training.data import Batch, DataConfig, Feeder, validation_batches
from sr_transformer.training.log import Log, Pace
from sr_transformer.training.objective import Objective
from sr_transformer.training.schedule import Schedule
from sr_transformer.training.state import export, first_model, read_state
from sr_transformer.training.stop import StopRequest
from sr_transformer.training.validation import to_tensors, validate

_EMA_DECAY = 0.999


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
        Begin a new run with the weights of a model, ``"default"`` or the path of a safetensors
        file of the same preset. The optimizer and the warm-up begin anew, the examples are others,
        and the number of examples seen goes on from the model's.
    processes : int, optional
        Copies of the network that share each step (data parallel, by Fabric's ``ddp`` launcher,
        which runs the command of this process again for each): by default all GPUs, or one on a
        CPU. On two idle cores two processes of one thread and one of two threads learn equally
        fast: 171 and 165 examples a second of ``small``, where runs differ by a tenth and more.
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
        If the directory holds a run of another preset or vocabulary, or any run and ``resume`` is
        false or ``start_from`` is given, or if the model to start from does not fit.
    """
    if preset not in PRESETS:
        raise CheckpointError(f"no preset {preset!r}; known are {', '.join(PRESETS)}.")
    start = None if start_from is None else first_model(start_from, preset)
    config = TrainingConfig(
        preset=preset,
        seed=seed,
        learning_rate=learning_rate or LEARNING_RATE[preset],
        warm_up=warm_up,
        data=data or default_data(accelerator_of(device), processes or 1),
        examples_before=0 if start is None else start.metadata["examples_seen"],
        tokens=(Vocabulary.of() if start is None else start.vocabulary).tokens,
    )
    if threads is not None:
        torch.set_num_threads(threads)
    run = _Run(Path(directory), config, device, processes, resume, start)
    run.plan(minutes, max_examples, cool_down)
    result = run.go(
        workers, log_every, validate_every, validation_examples, checkpoint_seconds, report
    )
    if not run.fabric.is_global_zero:
        raise SystemExit(0)  # this process was started to help the first one, nothing else
    return result


def _update_average(averaged: list[Tensor], current: list[Tensor], n: Tensor) -> None:
    """Exponential average whose memory grows with the run until it spans 1000 steps."""
    decay = min(_EMA_DECAY, (1.0 + float(n)) / (10.0 + float(n)))
    torch._foreach_lerp_(averaged, current, 1.0 - decay)


class _Run:
    """The state of a run, and the loop that moves it on."""

    def __init__(
        self,
        directory: Path,
        config: TrainingConfig,
        device: str,
        processes: int | None,
        resume: bool,
        start: LoadedModel | None,
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.checkpoint = directory / "checkpoint.pt"
        self.before_cool_down = directory / "before-cool-down.pt"
        saved = None
        if self.checkpoint.is_file():
            if not resume:
                raise CheckpointError(
                    f"{directory} already holds a run; resume it or choose another directory."
                )
            if start is not None:
                raise CheckpointError(
                    f"{directory} already holds a run, which goes on without start_from; to begin "
                    "one from a model, choose another directory."
                )
            saved = read_state(self.checkpoint)
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
        kept = {} if saved is None else saved.get("precision", {})
        self.precision = kept.get(accelerator) or fastest_precision(accelerator)
        self.fabric = Fabric(
            accelerator=accelerator,
            devices=processes or ("auto" if accelerator == "cuda" else 1),
            precision=self.precision,  # type: ignore[arg-type]
        )
        self.fabric.launch()
        torch.manual_seed(config.seed)
        network = Transformer(config.sizes)
        if start is not None:
            network.load_state_dict(start.network.state_dict())
        groups = [
            {"params": [p for p in network.parameters() if p.ndim >= 2]},
            {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups, betas=(0.9, 0.95), weight_decay=config.weight_decay, fused=True
        )
        self.average = AveragedModel(network, multi_avg_fn=_update_average)
        self.model, self.optimizer = self.fabric.setup(network, optimizer)
        self.network = network
        self.average.to(self.fabric.device)
        self.objective = Objective(self.vocabulary, self.fabric.device)
        self.step = self.examples = self.batches = 0
        self.seconds = 0.0
        self.totals = torch.zeros(6, device=self.fabric.device)  # since the last row of the log
        self.validation: dict[str, float] = {}
        self.schedule_state: dict[str, float | None] = {}
        self.unit = ""
        if saved is not None:
            self._restore(saved)

    # --- state ------------------------------------------------------------------------------------
    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_averaged.fill_(state["n_averaged"])
        self.step, self.examples = state["step"], state["examples"]
        self.batches, self.seconds = state["batches"], state["seconds"]
        self.config = state["config"]
        before, now = state["n_ranks"], self.fabric.world_size
        if before != now:
            # The batch of all ranks together stays. Ranks take chunks in turn: with another number
            # of them, go on after all chunks that were used.
            data = self.config.data
            used = -(-self.batches // data.batches_per_chunk) * before
            data = replace(data, batch_size=max(data.batch_size * before // now, 1))
            self.config = replace(self.config, data=data)
            self.batches = -(-used // now) * data.batches_per_chunk
        self.validation = state["validation"]
        self.totals.copy_(state.get("totals", self.totals))
        self.schedule_state, self.unit = state["schedule"], state["unit"]

    def _save(self, path: Path) -> None:
        if not self.fabric.is_global_zero:
            return
        state = {
            "config": self.config,
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.module.state_dict(),
            "n_averaged": int(self.average.n_averaged),
            "step": self.step,
            "examples": self.examples,
            "batches": self.batches,
            "n_ranks": self.fabric.world_size,
            "precision": {self.accelerator: self.precision},
            "seconds": self.seconds,
            "validation": self.validation,
            "totals": self.totals,
            "schedule": self.schedule.state(),
            "unit": self.unit,
            "vocabulary_hash": self.vocabulary.hash,
            "prior_version": PRIOR_VERSION,
        }
        write_atomically(path, lambda temporary: torch.save(state, temporary))

    # --- plan -------------------------------------------------------------------------------------
    def plan(self, minutes: float, max_examples: int | None, cool_down: bool) -> None:
        """Decide where the run ends, and where its cool-down stands."""
        unit = "examples" if max_examples is not None else "seconds"
        end = float(max_examples if max_examples is not None else 60.0 * minutes)
        self.cool_down_at_once = cool_down
        until = self.schedule_state.get("cool_down_until")
        moved = unit != self.unit or (until is not None and end > until)
        if until is not None and moved and not cool_down:
            # More time than the cool-down was planned for: it is undone.
            self._restore(read_state(self.before_cool_down))
            self.schedule_state = {}
        self.unit = unit
        self.schedule = Schedule(
            self.config.learning_rate, self.config.warm_up, end, **self.schedule_state
        )

    @property
    def progress(self) -> float:
        """Examples or seconds, whichever ends the run."""
        return float(self.examples) if self.unit == "examples" else self.seconds

    def _cool_down_is_wanted(self) -> bool:
        if self.schedule.cool_down_from is not None:
            return False
        request = self.directory / "cool-down"
        if self.cool_down_at_once or self.schedule.is_due(self.progress) or request.exists():
            if self.fabric.is_global_zero:
                request.unlink(missing_ok=True)
            return True
        return False

    # --- the loop ---------------------------------------------------------------------------------
    def go(
        self,
        workers: int,
        log_every: int,
        validate_every: int,
        validation_examples: int,
        checkpoint_seconds: float,
        report: Callable[[Progress], None] | None,
    ) -> Path:
        """Train until the schedule ends, or until asked to stop by SIGTERM or Ctrl-C."""
        fabric = self.fabric
        # A request file, the clock and signals are seen by one rank; all must act alike.
        together = fabric.world_size > 1
        log = Log(self.directory / "log.csv", self.step) if fabric.is_global_zero else None
        held_out = []
        if log is not None:
            held_out = validation_batches(
                validation_examples, self.config.data.batch_size, self.vocabulary
            )
        started = time.monotonic() - self.seconds
        saved_at = time.monotonic()
        pace = Pace(self.examples)
        stop = StopRequest()
        feeder = Feeder(
            self.config.data_seed,
            self.config.data,
            self.vocabulary,
            first_batch=self.batches,
            rank=fabric.global_rank,
            n_ranks=fabric.world_size,
            n_workers=workers,
        )
        with stop, feeder:
            while True:
                self.seconds = time.monotonic() - started
                if together:
                    self.seconds = fabric.broadcast(self.seconds)
                if self._agree(self._cool_down_is_wanted()):
                    self._save(self.before_cool_down)
                    self.schedule.begin_cool_down(self.progress)
                finished = self.schedule.is_finished(self.progress)
                if finished or self._agree(stop.wanted):
                    break
                self.totals += self._train_step(pace.take(feeder))
                if self.step % log_every == 0:
                    row = self._row(pace)
                    self.totals.zero_()
                    if log is not None:
                        if self.step % validate_every == 0:
                            row |= self._validate(held_out)
                        log.write(row)
                        if report is not None:
                            report(self._status(row))
                    pace = Pace(self.examples)
                if time.monotonic() - saved_at > checkpoint_seconds:
                    self._save(self.checkpoint)
                    saved_at = time.monotonic()
        if not finished:
            self._save(self.checkpoint)
            return self.checkpoint
        model = self.directory / "model.safetensors"
        if log is not None:
            row = self._row(pace) | self._validate(held_out)
            self._save(self.checkpoint)
            export(self.directory, model)
            log.write(row)
            if report is not None:
                report(self._status(row))
        return model

    def _agree(self, wanted: bool) -> bool:
        """The first rank's answer, on all ranks."""
        return bool(self.fabric.broadcast(wanted)) if self.fabric.world_size > 1 else wanted

    def _train_step(self, batch: Batch) -> Tensor:
        rate = self.schedule.rate(self.examples, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
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
        return torch.cat((figures, torch.stack((norm, torch.ones_like(norm))))).detach()

    def _row(self, pace: Pace) -> dict[str, float]:
        loss, right, n_tokens, log_z, norm, steps = self.totals.tolist()  # a GPU ends its work here
        n_tokens, steps = max(n_tokens, 1.0), max(steps, 1.0)
        return {
            "step": self.step,
            "examples": self.config.examples_before + self.examples,
            "loss": loss / n_tokens,
            "token_accuracy": right / n_tokens,
            "grad_norm": norm / steps,
            "mean_log_z": log_z / n_tokens,
            "learning_rate": self.schedule.rate(self.examples, self.progress),
            "seconds": self.seconds,
            **pace.figures(self.examples),
        }

    def _validate(self, held_out: list) -> dict[str, float]:
        self.validation = validate(
            self.average.module,
            self.vocabulary,
            held_out,
            self.fabric.device,
            self.fabric.autocast(),
        )
        return {
            "validation_loss": self.validation["loss"],
            "validation_token_accuracy": self.validation["token_accuracy"],
            "validation_formula_accuracy": self.validation["formula_accuracy"],
        }

    def _status(self, row: dict[str, float]) -> Progress:
        end = self.schedule.cool_down_until or self.schedule.end
        done = min(self.progress / end, 1.0)
        speed = row["examples_per_second"] or 1.0
        left = end - self.progress
        return Progress(
            row,
            done,
            max(left / speed if self.unit == "examples" else left, 0.0),
            self.schedule.cool_down_from is not None,
            self.schedule.is_finished(self.progress),
        )
