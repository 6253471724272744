"""A sweep by hydraflow, whose decorator opens the MLflow run and logs the configuration."""

from dataclasses import asdict, dataclass

import hydraflow
from mlflow.entities import Run
from omegaconf import OmegaConf

from benchmarks.stock.run import train_and_track


@dataclass
class Config:
    """The configuration of a run."""

    seed: int = 0
    lr: float = 0.1
    hidden: int = 2
    epochs: int = 10_000


@hydraflow.main(Config, force_new_run=True)
def main(run: Run, cfg: Config) -> None:
    """Train and track one run in the store of MLFLOW_TRACKING_URI."""
    settings = OmegaConf.to_object(cfg)  # type: ignore[call-overload]
    train_and_track(asdict(settings))


if __name__ == "__main__":
    main()
