"""Print the runs with the smallest losses, as MLflow's page lists them when sorted by a metric."""

import sys

from mlflow import MlflowClient


def main(uri: str) -> None:
    """Read the first page of the experiment of bpexp in a store."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("bpexp")
    assert experiment is not None
    order = ["metrics.final_loss ASC"]
    for run in client.search_runs([experiment.experiment_id], order_by=order, max_results=100):
        print(run.info.run_id, run.data.metrics.get("final_loss"))


if __name__ == "__main__":
    main(sys.argv[1])
