"""A sweep by Hydra with its joblib launcher, tracked by MLflow's fluent API."""

import hydra
import mlflow
from omegaconf import DictConfig, OmegaConf

from benchmarks.stock.run import train_and_track


@hydra.main(version_base=None, config_path="conf", config_name="hydra_joblib")
def main(cfg: DictConfig) -> float:
    """Train and track one run in the store of MLFLOW_TRACKING_URI."""
    mlflow.set_experiment("hydra_joblib")
    with mlflow.start_run(run_name=f"seed={cfg.seed}"):
        settings = OmegaConf.to_container(cfg)
        assert isinstance(settings, dict)
        return train_and_track({str(key): value for key, value in settings.items()})


if __name__ == "__main__":
    main()
