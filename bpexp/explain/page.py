"""Assembles the document that explains one training step from its seven sections."""

from bpexp.data.dataset import Dataset
from bpexp.explain import backward, forward, network_and_data, update
from bpexp.explain.step import Step
from bpexp.explain.view import View, followed_row
from bpexp.nn.notation import Show
from bpexp.render.document import Document


def page(step: Step, dataset: Dataset, show: Show, sample: int | None = None) -> Document:
    """Write out one training step.

    Args:
        step: The step.
        dataset: The data set that the step's batch was taken from.
        show: Formats a number, see ``symbols.digits``.
        sample: The training sample, counted from 1, whose values are shown; None for the one with
            the largest loss.

    Returns:
        The document.

    Raises:
        ConfigError: The sample is not in the step's batch.
    """
    view = View(step, followed_row(step, sample), show)
    blocks = [
        *network_and_data.network(view),
        *network_and_data.data(view, dataset),
        *forward.forward_pass(view),
        *forward.error(view),
        *backward.backward_pass(view),
        *backward.gradient(view),
        *update.weight_update(view),
    ]
    return Document(blocks, math=True)
