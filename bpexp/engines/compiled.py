"""The compiled engine: code for the one problem where that is small, for the shape of network where
its layers are wide or the runs few, else the kernel's loops.
"""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from bpexp.config import TrainConfig
from bpexp.engines import general, grouped, layout, traced
from bpexp.engines.layout import LANES
from bpexp.engines.problem import Ending, Integers, Lanes, Problem, Progress
from bpexp.engines.strips import aligned, in_lanes, in_strips
from bpexp.nn.network import Network
from bpexp.typing import Array


def advance(problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None) -> Progress:
    """See ``problem.Engine``; exact arithmetic only."""
    if orders is None and traced.takes(problem, lanes):
        progress = traced.advance(problem, lanes, factors)
        return progress or grouped.advance(problem, lanes, factors, orders)
    if layout.one_by_one(problem.network, len(lanes.run)):
        return grouped.advance(problem, lanes, factors, orders)
    return side_by_side(problem, lanes, factors, orders)


def side_by_side(
    problem: Problem, lanes: Lanes, factors: Array, orders: Integers | None
) -> Progress:
    """The same by the kernel's loops."""
    strips = _in_strips(lanes)
    progress = _advance(problem, strips, len(lanes.run), factors, orders, watch=False)
    ended = progress.endings != Ending.RUNNING
    left = np.where(ended, progress.stopped, in_lanes(strips.parameters, lanes.parameters))
    if not np.isfinite(left).all():
        # A parameter that is not finite stays so: the epoch that broke it is among these,
        # which are run once more with a look at the parameters after each.
        strips = _in_strips(lanes)
        progress = _advance(problem, strips, len(lanes.run), factors, orders, watch=True)
    for f in fields(lanes):
        array = getattr(lanes, f.name)
        array[:] = in_lanes(getattr(strips, f.name), array)
    return progress


def is_ready(
    configs: Sequence[TrainConfig], n_lanes: int, network: Network, n_samples: int
) -> bool:
    """Whether nothing is to be compiled for packs of ``n_lanes`` runs of one ``pack.key`` but what
    takes some tenths of a second.
    """
    if general.is_compiled() or layout.one_by_one(network, n_lanes):
        return True
    first, stops = configs[0], {config.stop for config in configs}
    no_rules = all((s.loss, s.correct, s.patience) == (None, None, None) for s in stops)
    batch_size = first.batch_size or n_samples
    return no_rules and traced.suits(network, n_samples, batch_size, first.optimizer.name)


def _in_strips(lanes: Lanes) -> Lanes:
    return Lanes(*(in_strips(getattr(lanes, f.name), LANES) for f in fields(lanes)))


def _advance(
    problem: Problem, strips: Lanes, n: int, factors: Array, orders: Integers | None, watch: bool
) -> Progress:
    network, n_strips = problem.network, len(strips.run)
    losses = aligned((n_strips * LANES, len(factors)))
    endings, stopped = np.zeros((n_strips, LANES), np.int8), np.empty_like(strips.parameters)
    block = _block(problem)
    if orders is None:
        orders = np.empty((0, 0, 0), np.int64)
    else:
        spare = n_strips * LANES - orders.shape[-1]
        orders = np.concatenate([orders, *[orders[..., :1]] * spare], axis=-1)
    done = general.advance(
        np.array(network.sizes),
        np.array([layout.ACTIVATIONS.index(name) for name in network.functions]),
        layout.LOSSES.index(network.loss),
        layout.ERRORS.index(network.error),
        network.dead_zone, network.offset, network.bias_input,
        problem.X, problem.X.reshape(-1), problem.Y,
        layout.RULES.index(problem.rule), problem.divisor,
        problem.decays, problem.batch_size, block, factors, orders, watch,
        strips.parameters, strips.slots, strips.settings, strips.lr, strips.decay,
        strips.stop_loss, strips.stop_correct, strips.patience, strips.best, strips.waited,
        strips.outputs, losses, endings, stopped,
        aligned((layout.work_rows(network.sizes, len(problem.X), n_strips, block), LANES)),
        np.zeros((3, len(network.sizes)), np.int64),
    )  # fmt: skip
    left = stopped if endings.any() else strips.parameters
    parameters = left.swapaxes(0, 1).reshape(len(problem.divisor), -1)[:, :n]
    return Progress(losses.T[:done, :n], endings.reshape(-1)[:n], parameters)


BLOCK = 2**12
"""Numbers of a strip's activations at most, 32 KiB, so that they stay in cache."""


def _block(problem: Problem) -> int:
    """How many samples go through the network together."""
    return max(4, min(problem.batch_size, BLOCK // (sum(problem.network.sizes) * LANES)))
