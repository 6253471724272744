"""Section 7 of the document: the weight update by the optimizer, and the loss afterwards."""

from collections.abc import Iterator

from bpexp.explain.backward import parameters
from bpexp.explain.symbols import indexed
from bpexp.explain.view import View, spoken
from bpexp.nn.optimizers import OPTIMIZERS, UpdateNumbers
from bpexp.render.document import Block, Equations, Heading, Paragraph, Table
from bpexp.training.engine import RunStatus

_END_REASONS = {
    RunStatus.CONVERGED: "a stopping criterion is met",
    RunStatus.STALLED: "the loss has not improved for too long",
    RunStatus.DIVERGED: "the loss is no longer finite",
}


def weight_update(view: View) -> Iterator[Block]:
    """Section 7: the update of one weight as equations, and of all parameters as a table."""
    step, show = view.step, view.show
    optimizer = step.config.optimizer
    yield Heading(2, f"7. Update by {spoken(optimizer.name)}")
    g = step.backward.gradient + optimizer.weight_decay * step.before
    if optimizer.weight_decay:
        yield Paragraph(
            f"g is the gradient with weight decay: ∂E/∂w + {show(optimizer.weight_decay)} w."
        )
    if optimizer.by_fan_in:
        yield Paragraph("η is divided by the number of connections into the unit.")
    elif step.update.lrs.max() != step.config.lr:
        yield Paragraph(f"In this epoch the schedule makes η = {show(step.update.lrs[0])}.")
    shown = list(parameters(step))
    first = indexed("w", len(step.forward.Z), 1, 1)
    index = next(index for index, symbol, _ in shown if symbol == first)
    yield Paragraph(f"For {first}:")
    record = OPTIMIZERS[optimizer.name]
    old, new = step.update.states
    numbers = UpdateNumbers(
        w=step.before[index],
        g=g[index],
        before=record.state(*old[:, index].tolist()),
        after=record.state(*new[:, index].tolist()),
        lr=step.update.lrs[index],
        hyperparameters=record.hyperparameters(*step.update.hyperparameters.tolist()),
        new_w=step.update.after[index],
    )
    yield Equations(record.explain(numbers, show))
    fields = list(record.initial_state)
    yield Table(
        ("", "before", "g", *(f"{s} after" for s in record.symbols.values()), "change", "after"),
        [
            (
                symbol, show(step.before[i]), show(g[i]),
                *(show(new[fields.index(name), i]) for name in record.symbols),
                show(step.update.after[i] - step.before[i]), show(step.update.after[i]),
            )
            for i, symbol, _ in shown
        ],
    )  # fmt: skip
    if step.status is not RunStatus.RUNNING:
        yield Paragraph(
            f"In the run itself {_END_REASONS[step.status]} at this forward pass: the run ends "
            "here and this update is not made."
        )
    loss = "loss" if step.n_batches == 1 else "loss of this batch"
    direction = "down" if step.update.loss_after < step.forward.loss else "up"
    yield Paragraph(
        f"With the new weights the {loss} goes {direction} from {show(step.forward.loss)} to "
        f"{show(step.update.loss_after)}."
    )
