"""Section 7 of the document: the weight update by the optimizer, and the loss afterwards."""

from collections.abc import Iterator, Sequence
from math import isfinite

from bpexp.explain.backward import parameters
from bpexp.explain.step import Step
from bpexp.explain.symbols import indexed
from bpexp.explain.view import View, spoken
from bpexp.nn.optimizers import OPTIMIZERS, Optimizer, UpdateNumbers
from bpexp.render.document import Block, Equations, Heading, Paragraph, Table
from bpexp.training.engine import RunStatus
from bpexp.typing import Array

_END_REASONS = {
    RunStatus.CONVERGED: "a stopping criterion is met",
    RunStatus.STALLED: "the loss has not improved for too long",
    RunStatus.DIVERGED: "the loss is no longer finite",
}


def weight_update(view: View) -> Iterator[Block]:
    """Section 7: the update of one weight as equations, and of all parameters as a table."""
    step, show = view.step, view.show
    optimizer = step.config.optimizer
    g = step.backward.gradient + optimizer.weight_decay * step.before
    shown = list(parameters(step))
    first = indexed("w", len(step.forward.Z), 1, 1)
    index = next(index for index, symbol, _ in shown if symbol == first)
    record = OPTIMIZERS[optimizer.name]
    yield Heading(2, f"7. Update by {spoken(optimizer.name)}")
    yield from _gradient_and_rate(view)
    yield Paragraph(f"For {first}:")
    yield Equations(record.explain(_numbers_of(step, record, g, index), show))
    yield _table(view, record, g, [(i, symbol) for i, symbol, _ in shown])
    if step.status is not RunStatus.RUNNING:
        yield Paragraph(_end(step))
    loss = "loss" if step.n_mini_batches == 1 else "loss of this batch"
    yield Paragraph(f"With the new weights the {loss} {_change(view)}.")


def _end(step: Step) -> str:
    """Why and where the run ends, as a sentence."""
    if step.status is RunStatus.DIVERGED and isfinite(step.forward.loss):
        return "With this update a weight is no longer finite: the run diverges and ends here."
    reason = _END_REASONS[step.status]
    if step.n_mini_batches > 1:
        return f"In this mini-batch {reason}: the run ends after this epoch."
    return (
        f"In the run itself {reason} at this forward pass: the run ends here and this update is "
        "not made."
    )


def _change(view: View) -> str:
    """How the update changes the loss, after the subject of the sentence."""
    show, before, after = view.show, view.step.forward.loss, view.step.update.loss_after
    if after == before:
        return f"stays {show(before)}"
    if not (isfinite(before) and isfinite(after)):
        return f"changes from {show(before)} to {show(after)}"
    return f"goes {'down' if after < before else 'up'} from {show(before)} to {show(after)}"


def _gradient_and_rate(view: View) -> Iterator[Block]:
    """What g and η stand for, where they are not the gradient and ``lr``."""
    step, show = view.step, view.show
    optimizer = step.config.optimizer
    if optimizer.weight_decay:
        yield Paragraph(
            f"g is the gradient with weight decay: ∂E/∂w + {show(optimizer.weight_decay)} w."
        )
    if step.update.lr != step.config.lr:
        yield Paragraph(f"In this epoch the schedule makes η = {show(step.update.lr)}.")
    if optimizer.by_fan_in:
        yield Paragraph("η is divided by the number of connections into the unit.")


def _numbers_of(step: Step, record: Optimizer, g: Array, index: int) -> UpdateNumbers:
    """The numbers of one parameter's update; ``g``, (n_parameters,), includes weight decay."""
    before, after = (states[:, index].tolist() for states in step.update.states)
    return UpdateNumbers(
        w=step.before[index],
        g=g[index],
        before=record.state(*before),
        after=record.state(*after),
        lr=step.update.lrs[index],
        hyperparameters=record.hyperparameters(*step.update.hyperparameters.tolist()),
        new_w=step.update.after[index],
    )


def _table(view: View, record: Optimizer, g: Array, shown: Sequence[tuple[int, str]]) -> Table:
    """A row for each parameter that is shown, given by its index and symbol."""
    step, show = view.step, view.show
    (_, new), after = step.update.states, step.update.after
    fields = list(record.initial_state)
    return Table(
        ("", "before", "g", *(f"{s} after" for s in record.symbols.values()), "change", "after"),
        [
            (
                symbol, show(step.before[i]), show(g[i]),
                *(show(new[fields.index(name), i]) for name in record.symbols),
                show(after[i] - step.before[i]), show(after[i]),
            )
            for i, symbol in shown
        ],
    )  # fmt: skip
