"""Hydra with its joblib launcher, MLflow by its fluent API: one process's task a run."""

import hydra
import mlflow
from omegaconf import DictConfig, OmegaConf

from benchmarks.stock.run import train_and_track


@hydra.main(version_base=None, config_path="conf", config_name="hydra_joblib")
def main(cfg: DictConfig) -> float:
    """MLFLOW_TRACKING_URI names the store."""
    mlflow.set_experiment("hydra_joblib")
    with mlflow.start_run(run_name=f"seed={cfg.seed}"):
        settings = OmegaConf.to_container(cfg)
        assert isinstance(settings, dict)
        return train_and_track({str(key): value for key, value in settings.items()})


if __name__ == "__main__":
    main()
