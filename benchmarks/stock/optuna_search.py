"""A search by Optuna: TPE in one study, with the processes of joblib, tracked by MLflow.

Every trial is an MLflow run and trains its seeds one after the other, as nested runs. Its value is
the median of their final losses. Prints a line of JSON: ``history`` has the seconds since the start
and the value of each trial, ``processor_seconds`` the processor time of a trial, without the first
one of each process, which imports what MLflow and Optuna need.
"""

import json
import statistics
import sys
import time
from dataclasses import replace

import mlflow
import optuna
from joblib import Parallel, cpu_count, delayed
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.peers.numpy_loop import train
from benchmarks.problems import arrays
from benchmarks.stock.run import POINTS
from bpexp.config.compose import compose
from bpexp.config.schema import TrainConfig, parse

STUDY = "search"


def open_study() -> optuna.Study:
    """The study, in a file that all processes share."""
    return optuna.create_study(
        study_name=STUDY,
        storage=JournalStorage(JournalFileBackend("optuna.log")),
        sampler=optuna.samplers.TPESampler(constant_liar=True),
        load_if_exists=True,
    )


def train_and_track(config: TrainConfig) -> float:
    """Train one run and log it as a nested run; returns the final loss as bpexp defines it."""
    with mlflow.start_run(run_name=f"seed={config.seed}", nested=True):
        mlflow.log_params({"lr": config.lr, "hidden": config.hidden[0], "seed": config.seed})
        p = arrays([config])
        weights = (p.W1[0], p.b1[0], p.W2[0], p.b2[0])
        losses, _ = train(p.X, p.Y, weights, p.lr, p.epochs)
        for epoch in range(0, p.epochs, max(1, p.epochs // POINTS)):
            mlflow.log_metric("loss", losses[epoch], step=epoch)
        mlflow.log_metric("final_loss", losses[-1])
        return losses[-1]


def run_trials(overrides: list[str], n_trials: int, n_seeds: int, low: float, high: float) -> float:
    """Run a part of the study in one process, tracked in the store of MLFLOW_TRACKING_URI.

    Returns the processor seconds of all trials but the first.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_experiment(STUDY)
    config, _ = parse(compose(overrides))

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", low, high, log=True)
        hidden = trial.suggest_int("hidden", 2, 16)
        with mlflow.start_run(run_name=f"trial {trial.number}"):
            mlflow.log_params(trial.params)
            losses = [
                train_and_track(replace(config, lr=lr, hidden=(hidden,), seed=seed))
                for seed in range(n_seeds)
            ]
            value = statistics.median(losses)
            mlflow.log_metric("objective", value)
        return value

    study = open_study()
    study.optimize(objective, n_trials=1)
    started = time.process_time()
    study.optimize(objective, n_trials=n_trials - 1)
    return time.process_time() - started


def main(trials: int, seeds: int, low: float, high: float, *overrides: str) -> None:
    """Run the study with as many processes as there are processors, each of two trials or more."""
    started = time.time()
    # Created by one process: several that open a new store of MLflow at once fail.
    mlflow.set_experiment(STUDY)
    study, jobs = open_study(), max(1, min(cpu_count(), trials // 2))
    shares = [len(range(job, trials, jobs)) for job in range(jobs)]
    seconds = Parallel(n_jobs=jobs)(
        delayed(run_trials)(list(overrides), share, seeds, low, high) for share in shares
    )
    done = [t for t in study.get_trials() if t.datetime_complete is not None]
    pairs = sorted((t.datetime_complete.timestamp() - started, t.value) for t in done)
    per_trial = sum(seconds) / (trials - jobs)
    print(json.dumps({"history": pairs, "processor_seconds": per_trial}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])
