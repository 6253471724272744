"""The training loop: trains the runs of a batch until each of them ends.

The loop calls an engine for a chunk of epochs at a time. Between chunks it evaluates the
validation rows, removes the runs that have ended, and restarts runs. The length of the chunks
does not influence any result.

>>> from bpexp.config.compose import compose_settings
>>> from bpexp.config.schema import parse
>>> from bpexp.training.numpy_engine import NumpyEngine
>>> config, _ = parse(compose_settings({"seed": 1, "epochs": 3}))
>>> for run, result in train_batch([config, replace(config, seed=2)], NumpyEngine()):
...     print(run, result.outcome, result.epochs_run)
0 completed 3
1 completed 3
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bpexp.config.schema import TrainConfig
from bpexp.data import Dataset
from bpexp.nn.network import Network, joined
from bpexp.runs import metrics
from bpexp.runs.result import Outcome, TrainResult, as_subclass
from bpexp.training.early_stopping import ValidationMonitor
from bpexp.training.engine import BatchState, Engine, Integers, Progress, RunStatus
from bpexp.training.loss_history import LossHistory
from bpexp.training.paused import PausedResult, PausedRun
from bpexp.training.run_batch import PreparedBatch
from bpexp.typing import Array

OUTCOMES = {
    RunStatus.RUNNING: Outcome.COMPLETED,
    RunStatus.CONVERGED: Outcome.CONVERGED,
    RunStatus.STALLED: Outcome.STALLED,
    RunStatus.DIVERGED: Outcome.DIVERGED,
}

MAX_CHUNK_LOSSES = 2**18
"""Maximum number of losses (2 MiB) that one call of the engine computes."""
MAX_CHUNK_SAMPLES = 2**22
"""Maximum number of samples (32 MiB) whose order is drawn for one call, unless one epoch has more:
about a tenth of a second, in which the training cannot be cancelled."""


def train_batch(
    configs: Sequence[TrainConfig], engine: Engine, dataset: Dataset | None = None
) -> Iterator[tuple[int, TrainResult]]:
    """Train configurations together.

    Args:
        configs: Configurations with the same ``run_batch.batch_key``.
        engine: The engine that computes.
        dataset: Their data, if they are already loaded.

    Yields:
        The position of a run in ``configs``, and its result, as runs end.
    """
    yield from TrainingLoop(PreparedBatch(configs, dataset), engine).run()


class Chunk(NamedTuple):
    """The epochs that one call of the engine trained.

    Attributes:
        runs: The indices in the batch of the runs that were trained, (L,).
        losses: Their training losses in these epochs, (n_epochs, L), in the units of the targets.
    """

    runs: Integers
    losses: Array


class EndedRun(NamedTuple):
    """A run that ended in the last chunk.

    Attributes:
        run: Its index in the batch.
        result: Its result.
    """

    run: int
    result: TrainResult


def _no_overflow_warnings() -> AbstractContextManager[object]:
    """Diverging runs overflow. They are reported by their outcome, not by warnings."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


class TrainingLoop:
    """Trains a batch, with the option to pause after an epoch.

    Attributes:
        batch: The runs, as they were prepared.
        state: State of the runs that have not ended.
        epochs_done: Number of epochs that these runs have been trained.
    """

    def __init__(
        self, batch: PreparedBatch, engine: Engine, paused: Sequence[PausedRun] = ()
    ) -> None:
        """Prepare to train.

        Args:
            batch: The runs.
            engine: The engine that computes.
            paused: Each run as ``pause`` left it, all after the same epoch; empty to start.
        """
        self.batch, self._engine = batch, engine
        self.state = batch.initial_state()
        self.epochs_done = 0
        self._monitor: ValidationMonitor | None = None
        if len(batch.dataset.X_validation):
            stops = [config.stop for config in batch.configs]
            self._monitor = ValidationMonitor(batch.problem.network, batch.dataset, stops, engine)
        may_stop_early = self._monitor is not None or self.state.has_stopping_criterion
        self._losses = LossHistory(len(batch.configs), batch.epochs, may_stop_early)
        if paused:
            self._continue_from(paused)

    def _continue_from(self, paused: Sequence[PausedRun]) -> None:
        self.epochs_done = paused[0].epochs_done
        self.state = BatchState.joined([one.state for one in paused])
        self._losses.append(self.state.run_indices, np.stack([one.losses for one in paused], 1))
        for run, paused_run in enumerate(paused):
            if self._monitor is not None and paused_run.validation is not None:
                self._monitor.restore(run, paused_run.validation)

    def run(self, until_epoch: int | None = None) -> Iterator[tuple[int, TrainResult]]:
        """Train until all runs have ended, or until ``until_epoch`` epochs are done.

        Yields:
            The index of a run in the batch, and its result, as runs end.
        """
        for event in self.run_chunks(until_epoch):
            if isinstance(event, EndedRun):
                yield event

    def run_chunks(self, until_epoch: int | None = None) -> Iterator[Chunk | EndedRun]:
        """Train like ``run``, one call of the engine after the other.

        The caller may stop between two chunks: a chunk takes an epoch, or about a second. Runs that
        end together are evaluated one by one, so that those that were evaluated are not lost.

        Yields:
            Each chunk, and after it the runs that ended in it.
        """
        limit = self.batch.epochs if until_epoch is None else min(until_epoch, self.batch.epochs)
        while self.epochs_done < limit and self.state.n_runs:
            with _no_overflow_warnings():
                progress = self._train_chunk(min(limit, self._chunk_end()))
            losses = self.batch.scaling.original_losses(progress.losses)
            yield Chunk(self.state.run_indices, losses)
            all_positions = np.arange(self.state.n_runs)
            is_last = self.epochs_done == self.batch.epochs
            ended = all_positions if is_last else np.flatnonzero(progress.statuses)
            for position in ended.tolist():
                with _no_overflow_warnings():
                    ended_run = self._ended(position, progress)
                yield ended_run
            if len(ended):
                self.state = self.state.select(np.setdiff1d(all_positions, ended))

    def pause(self) -> list[tuple[int, PausedResult]]:
        """End the loop before its runs have ended.

        Returns:
            The index of each run that has not ended, and its result so far. Validation rows are
            evaluated for it, which has no influence on the rest of its training.
        """
        state = self.state
        paused_runs = [self._paused(position) for position in range(state.n_runs)]
        if self._monitor is not None and state.n_runs:
            due = [self._monitor.last_epoch(run) < self.epochs_done for run in state.run_indices]
            indices, parameters = state.run_indices[due], state.parameters[:, due]
            if len(indices):
                with _no_overflow_warnings():
                    self._monitor.evaluate(indices, parameters, self.epochs_done, np.empty((0, 0)))
        finished = []
        for position, paused_run in enumerate(paused_runs):
            run, result = self._result(position, Outcome.PRUNED, state.parameters)
            finished.append((run, as_subclass(result, PausedResult, run=paused_run)))
        self.state = state.select(slice(0))
        return finished

    def _paused(self, position: int) -> PausedRun:
        run = int(self.state.run_indices[position])
        return PausedRun(
            self.epochs_done,
            self.state.select([position]),
            self._losses.of_run(run).copy(),
            None if self._monitor is None else self._monitor.memory(run),
        )

    def restart_if_due(self) -> None:
        """Initialize the runs again if the next epoch is the first after a restart."""
        interval, epochs = self.batch.restart_interval, self.epochs_done
        if interval and epochs and epochs % interval == 0 and self.state.n_runs:
            self.state = self.batch.restarted_state(self.state.run_indices, epochs // interval)

    def _chunk_end(self) -> int:
        """Epoch up to which the engine is called next."""
        n_runs, problem = self.state.n_runs, self.batch.problem
        per_second = self._engine.epochs_per_second(problem, n_runs)
        length = min(MAX_CHUNK_LOSSES // n_runs, int(per_second))
        if self.batch.is_shuffled:
            length = min(length, MAX_CHUNK_SAMPLES // (len(problem.X) * n_runs))
        length = max(1, length)
        intervals = [self.batch.restart_interval, self._monitor and self._monitor.interval]
        next_events = [(self.epochs_done // i + 1) * i for i in intervals if i]
        return min(self.epochs_done + length, *next_events, self.batch.epochs)

    def _train_chunk(self, stop: int) -> Progress:
        """Train up to epoch ``stop`` or the end of a run; evaluate validation rows."""
        self.restart_if_due()
        batch, state, start = self.batch, self.state, self.epochs_done
        sample_orders = batch.sample_orders(state.run_indices, start, stop)
        progress = self._engine.advance(
            batch.problem, state, batch.lr_factors(start, stop), sample_orders
        )
        self.epochs_done += len(progress.losses)
        self._losses.append(state.run_indices, progress.losses)
        if self._monitor is not None:
            self._validate(self._monitor, progress)
        return progress

    def _validate(self, monitor: ValidationMonitor, progress: Progress) -> None:
        """Evaluate the runs that are due; change the status of those that stop to stalled."""
        state, statuses = self.state, progress.statuses
        is_regular = self.epochs_done % monitor.interval == 0
        is_last = self.epochs_done == self.batch.epochs
        due = (statuses != RunStatus.DIVERGED) & (
            is_regular | is_last | (statuses != RunStatus.RUNNING)
        )
        positions = np.flatnonzero(due)
        if not len(positions):
            return
        parameters = np.where(
            statuses[positions] == RunStatus.RUNNING,
            state.parameters[:, positions],
            progress.final_parameters[:, positions],
        )
        runs = state.run_indices[positions]
        training_losses = self._losses.latest(runs, monitor.interval if is_regular else 0)
        stops = monitor.evaluate(runs, parameters, self.epochs_done, training_losses)
        statuses[positions[stops & (statuses[positions] == RunStatus.RUNNING)]] = RunStatus.STALLED

    def _ended(self, position: int, progress: Progress) -> EndedRun:
        """Return the run that ended at this position of the state."""
        status = RunStatus(progress.statuses[position])
        has_stopped = status is not RunStatus.RUNNING
        parameters = progress.final_parameters if has_stopped else self.state.parameters
        return EndedRun(*self._result(position, OUTCOMES[status], parameters))

    def _result(
        self, position: int, outcome: Outcome, parameters: Array
    ) -> tuple[int, TrainResult]:
        """Return the index and result of the run at this position of state and parameters."""
        state, problem = self.state, self.batch.problem
        run = int(state.run_indices[position])
        weights, biases = problem.network.split(normalize_nan(parameters[:, position].copy()))
        losses = self.batch.scaling.original_losses(self._losses.of_run(run))
        outputs = self.batch.scaling.original(state.outputs[:, :, position].copy())
        result = TrainResult(
            outcome=outcome,
            losses=normalize_nan(losses),
            predictions=normalize_nan(outputs),
            weights=tuple(weights),
            biases=tuple(biases),
        )
        if self._monitor is not None and result.outcome is not Outcome.DIVERGED:
            result = _with_best_weights(result, run, self._monitor, self.batch, self._engine)
        return run, with_metrics(result, self.batch.dataset, problem.network, self._engine)


def _with_best_weights(
    result: TrainResult,
    run: int,
    monitor: ValidationMonitor,
    batch: PreparedBatch,
    engine: Engine,
) -> TrainResult:
    """Replace weights and predictions by those at the lowest validation loss."""
    history, dataset, network = monitor.history(run), batch.dataset, batch.problem.network
    parameters = normalize_nan(monitor.best_parameters(run))
    weights, biases = network.split(parameters)
    outputs, loss = _evaluated(dataset, network, engine, parameters[:, None], dataset.X, dataset.Y)
    return replace(
        result,
        predictions=normalize_nan(outputs.copy()),
        kept_loss=loss,
        weights=tuple(weights),
        biases=tuple(biases),
        validation=history._replace(losses=normalize_nan(history.losses)),
    )


def with_metrics(
    result: TrainResult, dataset: Dataset, network: Network, engine: Engine
) -> TrainResult:
    """Add the metrics to a result; other rows are evaluated unless the run diverged.

    Args:
        result: The result; its metrics are replaced. A run with validation rows that was read from
            a store has no ``kept_loss`` yet, which is added, too.
        dataset: The data set of the run.
        network: The architecture of the run.
        engine: Computes the outputs on validation and test rows.
    """
    parameters = joined(result.weights, result.biases)[:, None]
    if result.validation is not None and result.kept_loss is None:
        _, loss = _evaluated(dataset, network, engine, parameters, dataset.X, dataset.Y)
        result = replace(result, kept_loss=loss)
    evaluation = metrics.Evaluation(result, dataset)
    if result.outcome is not Outcome.DIVERGED:
        if len(dataset.X_validation):
            outputs, _ = _evaluated(
                dataset, network, engine, parameters, dataset.X_validation, dataset.Y_validation
            )
            evaluation = replace(evaluation, validation_outputs=outputs)
        if len(dataset.X_test):
            outputs, loss = _evaluated(
                dataset, network, engine, parameters, dataset.X_test, dataset.Y_test
            )
            evaluation = replace(evaluation, test_outputs=outputs, test_loss=loss)
    return replace(
        result,
        metrics=metrics.compute(evaluation),
        validation_predictions=evaluation.validation_outputs,
        test_predictions=evaluation.test_outputs,
    )


def _evaluated(
    dataset: Dataset, network: Network, engine: Engine, parameters: Array, X: Array, Y: Array
) -> tuple[Array, float]:
    """The outputs of a network on some rows, (n_rows, n_outputs), and their loss.

    Both are in the units of the targets.
    """
    scaling = dataset.scaling_for(network.activation_names[-1])
    evaluated = engine.evaluate(network, parameters, X, np.ascontiguousarray(scaling.scaled(Y)))
    loss = float(evaluated.losses[0]) * scaling.loss_factor
    return scaling.original(evaluated.outputs[..., 0]), loss


def normalize_nan(values: Array) -> Array:
    """Replace each NaN by the same NaN, because the bits of a NaN differ between processors."""
    if np.isfinite(values.sum()):
        return values
    return np.where(np.isnan(values), np.nan, values)
