"""A sweep by Optuna: a grid of seeds in one study, with the processes of joblib."""

import sys

import mlflow
import optuna
from joblib import Parallel, cpu_count, delayed
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.stock.run import SETTINGS, train_and_track


def run_trials(n_trials: int, n_seeds: int) -> None:
    """Run a part of the study in one process, tracked in the store of MLFLOW_TRACKING_URI."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_experiment("optuna_joblib")
    study = optuna.create_study(
        study_name="xor",
        storage=JournalStorage(JournalFileBackend("optuna.log")),
        sampler=optuna.samplers.GridSampler({"seed": list(range(n_seeds))}),
        load_if_exists=True,
    )

    def objective(trial: optuna.Trial) -> float:
        seed = trial.suggest_int("seed", 0, n_seeds - 1)
        with mlflow.start_run(run_name=f"seed={seed}"):
            return train_and_track({"seed": seed, **SETTINGS})

    study.optimize(objective, n_trials=n_trials)


if __name__ == "__main__":
    runs = int(sys.argv[1])
    jobs = min(cpu_count(), runs)
    shares = [len(range(job, runs, jobs)) for job in range(jobs)]
    Parallel(n_jobs=jobs)(delayed(run_trials)(share, runs) for share in shares)
