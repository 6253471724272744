"""Reads the network of a stored run, to predict for new rows."""

from bpexp.fields.checks import ConfigError
from bpexp.runs.result import Outcome
from bpexp.sweeps import integrity
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.stored_results import config_of, layers_of, result_of
from bpexp.training.predictor import Predictor
from bpexp.training.run_batch import make_network


def check_has_network(run: StoredRun, archive: Archive, purpose: str) -> None:
    """Check that a run has a trained network, and that its artifacts are intact.

    Args:
        run: The run.
        archive: Where it is stored.
        purpose: What the network is for, for the message, such as "export".

    Raises:
        ConfigError: It has none, or its artifacts are not those that it wrote.
    """
    integrity.check_intact(run, archive)
    outcome = run.outcome or "not a run of bpexp"
    if outcome not in (Outcome.COMPLETED, Outcome.CONVERGED, Outcome.STALLED, Outcome.PRUNED):
        raise ConfigError(f"The run has no trained network to {purpose}: it is {outcome}.")


def read_predictor(run: StoredRun, archive: Archive) -> Predictor:
    """The network of a run, with the preparation of the data that it was trained on.

    Its weights are those after the last update, or with validation rows those of the lowest
    validation loss. The test metrics of the run belong to the same weights.

    Raises:
        ConfigError: The run has no network, its artifacts are not those that it wrote, or its
            data are missing or have changed.
    """
    check_has_network(run, archive, "predict with")
    found = result_of(run, archive)
    config, dataset = config_of(run, archive)
    weights, biases = layers_of(make_network(config, dataset), found.layers)
    return Predictor(config, dataset, weights, biases)
