"""Code that trains runs layer by layer: LANES runs side by side, a vector for each unit, or one run
at a time in vectors of a layer's units.

It is put together for one kind of network - so many layers, these activations - of any sizes, from
loops and from the textbook's formulas, which write down what they do on symbols. Rows go through
the network a block at a time, so that what belongs to them stays in the first caches. Sums are
added in index order and nothing is fused: the bits are NumPy's.

In memory a unit's numbers of LANES runs lie side by side. Of one run the units of a layer are
filled up to whole vectors; what is there counts for nothing.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any, NamedTuple

from llvmlite import ir

from bpexp.nn import elementary
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.ieee import where
from bpexp.nn.losses import ERRORS, LOSSES, binary_cross_entropy
from bpexp.nn.network import Network
from bpexp.nn.optimizers import OPTIMIZERS
from bpexp.training.llvm import jit
from bpexp.training.llvm.codegen import (
    INDEX,
    NUMBER,
    Rows,
    Variable,
    any_of,
    loop,
    products,
    vector,
)
from bpexp.training.llvm.vector_ir import LANES, TRUTH, WHOLE, Symbol, spread

ENTRY = "bpexp_layerwise"
BLOCK = 32
"""Rows that go through the network together."""
WHOLES = ("epochs", "n_groups", "n_samples", "batch_size")
ARRAYS = (
    "figures", "orders", "factors", "X", "Y", "divisor", "lr", "decay", "settings", "parameters",
    "stopped", "slots", "outputs", "rules", "losses", "work",
)  # fmt: skip
NOTHING = -0.0
"""What sums begin with: -0 + x is x, bit by bit, for every x."""


def full(n_units: int, together: int) -> int:
    """The numbers in a row of so many units."""
    return n_units * LANES if together == LANES else -(-n_units // LANES) * LANES


def figures(network: Network, together: int) -> dict[str, int]:
    """What the code is told of sizes: units of the layers, and the numbers in a row of them; where
    the weights and biases of each are among the parameters, and how many numbers these are; where
    the parts of the work are, and how many numbers it has.
    """
    layers, outputs = range(1, len(network.sizes)), full(network.sizes[-1], together)
    n, filled = list(network.sizes), [full(units, together) for units in network.sizes]
    weights = {f"w{i}": n[i - 1] * filled[i] for i in layers}
    parameters = weights | {f"b{i}": filled[i] for i in layers}
    work = {
        "gradient": sum(parameters.values()), "ones": BLOCK, "terms": outputs,
        "x": BLOCK * full(n[0], LANES), "y": BLOCK * outputs,
        **{f"{name}{i}": BLOCK * filled[i] for name in ("z", "a", "delta") for i in layers},
        **{f"turned{i}": n[i] * filled[i - 1] for i in layers[1:]},
    }  # fmt: skip
    return (
        {f"n{i}": units for i, units in enumerate(n)}
        | {f"full{i}": units for i, units in enumerate(filled)}
        | _places(parameters, "parameters_in_all")
        | _places(work, "work_in_all")
    )


def _places(sizes: dict[str, int], whole: str) -> dict[str, int]:
    """Where parts of these sizes begin, one after the other, and where the last ends."""
    return dict(zip([*sizes, whole], itertools.accumulate(sizes.values(), initial=0), strict=True))


class Kind(NamedTuple):
    """What code serves for: networks of these layers, of any sizes, so many runs ``together``, an
    update rule, whether weights decay, whether there is a ``Problem.divisor``, whether samples
    have an order of their own in each epoch.
    """

    network: Network
    together: int
    rule: str
    decays: bool
    divides: bool
    is_shuffled: bool


def module(kind: Kind) -> str:
    """LLVM's text of ENTRY(*WHOLES, *ARRAYS) -> epochs done: it returns after one that ends a run,
    or leaves a parameter not finite.

    Runs come in groups of as many as are ``together``. ``figures`` are the function's of that name;
    ``orders``, (epochs, n_samples, runs), are read if it ``is_shuffled``; ``divisor``, like the
    parameters of a group, if it ``divides``. X is (n_samples, n_in), Y (n_samples, full). The
    others are (groups, ..., together), but for ``losses``, (epochs, runs), and ``work``, 0 but for
    its ones. ``stopped`` gets the parameters before an epoch's last update. ``rules``: stop_loss,
    stop_tolerance, patience, best and waited; the last two move on.
    """
    made, tile = ir.Module(), (4, 4) if jit.has("avx512f") else (2, 2)
    kinds = [INDEX] * len(WHOLES)
    kinds += [(INDEX if at < 2 else NUMBER).as_pointer() for at in range(len(ARRAYS))]
    function = ir.Function(made, ir.FunctionType(INDEX, kinds), ENTRY)
    given = dict(zip((*WHOLES, *ARRAYS), function.args, strict=True))
    for name in ARRAYS:
        given[name].add_attribute("noalias")
    multiply = {together: products(made, tile, together) for together in {1, kind.together}}
    b = ir.IRBuilder(function.append_basic_block())
    told = figures(kind.network, kind.together)
    known = {name: b.load(b.gep(given["figures"], [INDEX(at)])) for at, name in enumerate(told)}
    runs = b.mul(given["n_groups"], INDEX(kind.together))
    losses = Rows(given["losses"], runs, kind.together)
    with loop(b, 0, given["epochs"]) as epoch:
        has_ended = Variable(b, Symbol(b, ir.Constant(TRUTH, [False] * LANES)))
        with loop(b, 0, given["n_groups"]) as group:
            code = _Code(b, kind, multiply, given | known, epoch, group)
            loss = code.run()
            losses.put_each(b, loss, epoch, group)
            ends = b.or_(has_ended.now.value, code.has_ended(loss))
            has_ended.become(Symbol(b, ends))
        with b.if_then(any_of(has_ended.now)):
            b.ret(b.add(epoch, INDEX(1)))
    b.ret(given["epochs"])
    return str(made)


class _Code:
    """Writes the code of an epoch of a group; knows where things are when that runs."""

    def __init__(
        self, b: ir.IRBuilder, kind: Kind, multiply: dict[int, ir.Function],
        known: dict[str, Any], epoch: Any, group: Any,
    ) -> None:  # fmt: skip
        self.b, self.kind, self.multiply, self.known = b, kind, multiply, known
        self.network, together = kind.network, kind.together
        self.layers = layers = range(1, len(self.network.sizes))
        self.last = layers[-1]
        self.n = [known[f"n{i}"] for i in (0, *layers)]
        self.full = [known[f"full{i}"] for i in (0, *layers)]
        self.n_parameters, self.epoch, self.group = known["parameters_in_all"], epoch, group
        rule, n_samples = OPTIMIZERS[kind.rule], known["n_samples"]

        def own(name: str, numbers: Any) -> Any:
            """The group's part of an array, of so many numbers."""
            return b.gep(known[name], [b.mul(group, numbers)])

        def each(name: str, count: int) -> Rows:
            """Rows of one number a run."""
            return Rows(own(name, INDEX(count * together)), INDEX(together), together)

        def rows(array: Any, name: str, i: int) -> Rows:
            return Rows(b.gep(array, [known[name]]), self.full[i], together)

        self.lr, self.decay, self.rules = each("lr", 1), each("decay", 1), each("rules", 5)
        self.settings = each("settings", len(rule.hyperparameter_names))
        self.parameters = Rows(own("parameters", self.n_parameters), self.n_parameters)
        self.stopped = Rows(own("stopped", self.n_parameters), self.n_parameters)
        n_slots = INDEX(len(rule.initial_state))
        self.slots = Rows(own("slots", b.mul(n_slots, self.n_parameters)), self.n_parameters)
        self.outputs = Rows(own("outputs", b.mul(n_samples, self.full[-1])), self.full[-1])
        self.gradient = Rows(b.gep(known["work"], [known["gradient"]]), self.n_parameters)
        self.weights, self.to_weights, self.biases, self.to_biases = (
            {i: rows(array.first, f"{name}{i}", i) for i in layers}
            for name in ("w", "b") for array in (self.parameters, self.gradient)
        )  # fmt: skip
        work = known["work"]
        self.x = Rows(b.gep(work, [known["x"]]), b.mul(self.n[0], INDEX(together)), together)
        self.ones = Rows(b.gep(work, [known["ones"]]), INDEX(1))
        self.y, self.terms = rows(work, "y", self.last), rows(work, "terms", self.last)
        self.z, self.a, self.delta = (
            {i: rows(work, f"{name}{i}", i) for i in layers} for name in ("z", "a", "delta")
        )
        self.turned = {i: rows(work, f"turned{i}", i - 1) for i in layers[1:]}
        self.total, self.missed, self.check = (Variable(b, vector(b, 0.0)) for _ in range(3))

    def run(self) -> Any:
        """The epoch's loss; ``check`` is left 0 where all parameters are finite."""
        b, known = self.b, self.known
        n_samples, batch_size = known["n_samples"], known["batch_size"]
        n_batches = b.sdiv(b.add(n_samples, b.sub(batch_size, INDEX(1))), batch_size)
        rate = self.lr.each(b, 0, 0) * Rows(known["factors"], INDEX(0)).each(b, 0, self.epoch)
        self.total.become(vector(b, NOTHING))
        self.missed.become(vector(b, 0.0))
        with loop(b, 0, n_batches) as batch:
            start = b.mul(batch, batch_size)
            stop = _least(b, b.add(start, batch_size), n_samples)
            self._turn_weights()
            self._clear(self.gradient, self.n_parameters)
            with loop(b, start, stop, BLOCK) as first:
                count = _least(b, b.sub(stop, first), INDEX(BLOCK))
                X, Y = self._block(first, count)
                # 1. forward pass
                for i in self.layers:
                    self._forward(i, X, count)
                # 2. error
                self._error(Y, count)
                self._keep_outputs(first, count)
                # 3. backward pass
                for i in reversed(self.layers):
                    self._gradient(i, X, count)
                    if i > 1:
                        self._delta_below(i, count)
            with (
                b.if_then(b.icmp_signed("==", stop, n_samples)),
                loop(b, 0, self.n_parameters, LANES) as at,
            ):
                self.stopped.put(b, self.parameters.vector(b, 0, at), 0, at)
            # 4. update
            self._update(rate)
        loss: Any = LOSSES[self.network.loss].on(self.network.functions[-1])
        samples, outputs = (spread(b, b.sitofp(count, NUMBER)) for count in (n_samples, self.n[-1]))
        return loss.reported(self.total.now, samples, outputs)

    def has_ended(self, loss: Any) -> Any:
        """For which runs the epoch was the last; as in ``reference``."""
        b = self.b
        stop_loss, stop_tolerance, patience, best, waited = (
            self.rules.each(b, at, 0) for at in range(5)
        )
        better = loss < best
        best, waited = where(better, loss, best), where(better, 0.0, waited + 1.0)
        self.rules.put_each(b, best, 3, 0)
        self.rules.put_each(b, waited, 4, 0)
        wrong = where(stop_tolerance > 0.0, self.missed.now, 1.0)
        sound = loss * 0.0 + self.check.now == 0.0
        ends = [loss <= stop_loss, waited >= patience, wrong == 0.0]
        return reduce(b.or_, [end.value for end in ends], b.not_(sound.value))

    def _turn_weights(self) -> None:
        """Rows of weights as columns, by which errors go back."""
        b = self.b
        for i, turned in self.turned.items():
            with loop(b, 0, self.n[i - 1]) as k, loop(b, 0, self.n[i]) as j:
                turned.put_each(b, self.weights[i].each(b, k, j), j, k)

    def _block(self, first: Any, count: Any) -> tuple[Rows, Rows]:
        """Inputs and targets of the block."""
        b = self.b
        X = Rows(self.known["X"], self.n[0])
        Y = Rows(self.known["Y"], self.full[-1], self.kind.together)
        if not self.kind.is_shuffled:
            return X._replace(first=X.at(b, first)), Y._replace(first=Y.at(b, first))
        with self._samples(first, count) as (r, lane, sample):
            self._copy(X, sample, 1, INDEX(0), self.x, r, lane, self.n[0])
            self._copy(Y, sample, self.kind.together, lane, self.y, r, lane, self.n[-1])
        return self.x, self.y

    def _keep_outputs(self, first: Any, count: Any) -> None:
        b, A, together = self.b, self.a[self.last], self.kind.together
        if self.kind.is_shuffled:
            with self._samples(first, count) as (r, lane, sample):
                self._copy(A, r, together, lane, self.outputs, sample, lane, self.n[-1])
        else:
            with loop(b, 0, count) as r, self._outputs() as j:
                self.outputs.put(b, A.vector(b, r, j), b.add(first, r), j)

    @contextmanager
    def _samples(self, first: Any, count: Any) -> Iterator[tuple[Any, Any, Any]]:
        """(row, lane, sample) of a block in each run's own order."""
        b, n_samples, together = self.b, self.known["n_samples"], INDEX(self.kind.together)
        runs = b.mul(self.known["n_groups"], together)
        orders = Rows(self.known["orders"], runs)
        with loop(b, 0, count) as r, loop(b, 0, together) as lane:
            row = b.add(b.mul(self.epoch, n_samples), b.add(first, r))
            run = b.add(b.mul(self.group, together), lane)
            yield r, lane, b.load(orders.at(b, row, run))

    def _copy(
        self, source: Rows, row: Any, step: int, lane: Any, to: Rows, to_row: Any, to_lane: Any,
        n_units: Any,
    ) -> None:  # fmt: skip
        """One lane's numbers of a row of units, ``step`` numbers apart where they come from."""
        b = self.b
        with loop(b, 0, n_units) as unit:
            value = b.load(source.at(b, row, b.add(b.mul(unit, INDEX(step)), lane)))
            at = b.add(b.mul(unit, INDEX(self.kind.together)), to_lane)
            b.store(value, to.at(b, to_row, at))

    def _clear(self, sums: Rows, count: Any) -> None:
        """Makes so many numbers the beginning of sums."""
        with loop(self.b, 0, count, LANES) as at:
            sums.put(self.b, vector(self.b, NOTHING), 0, at)

    def _add_products(
        self, shape: tuple[Any, Any], count: Any, left: Rows, turned: bool, right: Rows, to: Rows
    ) -> None:
        """Adds left right, or left^T right, of ``count`` terms a sum."""
        unit = INDEX(left.together)
        down, along = (unit, left.stride) if turned else (left.stride, unit)
        arguments = (*shape, count, left.first, down, along, right.first, right.stride, to.first)
        self.b.call(self.multiply[left.together], arguments)

    def _forward(self, i: int, X: Rows, count: Any) -> None:
        """The logits of a layer, and the activations of a hidden one."""
        b, below, Z = self.b, self.a[i - 1] if i > 1 else X, self.z[i]
        self._clear(Z, b.mul(count, self.full[i]))
        self._add_products((count, self.full[i]), self.n[i - 1], below, False, self.weights[i], Z)
        with loop(b, 0, count) as r, loop(b, 0, self.full[i], LANES) as j:
            z = Z.vector(b, r, j) + self.network.bias_input * self.biases[i].vector(b, 0, j)
            Z.put(b, z, r, j)
            if i < self.last:
                self.a[i].put(b, _activated(self.network.functions[i - 1], z), r, j)

    def _error(self, Y: Rows, count: Any) -> None:
        """The outputs, their loss and dE/dz."""
        b, name, A = self.b, self.network.functions[-1], self.a[self.last]
        with loop(b, 0, count) as r:
            if name == "softmax":
                self._softmax(r)
            else:
                with self._outputs() as j:
                    A.put(b, _activated(name, self.z[self.last].vector(b, r, j)), r, j)
            if self.network.loss == "half_squared":
                loss = 0.5 * self._half_squared(Y, r)
            elif name == "softmax":
                loss = self._categorical_cross_entropy(Y, r)
            else:
                loss = self._binary_cross_entropy(Y, r)
            self.total.become(self.total.now + loss)
            limit = self.rules.each(b, 1, 0)
            with b.if_then(any_of(limit > 0.0)), loop(b, 0, self.n[-1]) as j:
                off = abs(A.each(b, r, j) - Y.each(b, r, j))
                self.missed.become(self.missed.now + where(off < limit, vector(b, 0.0), 1.0))

    def _outputs(self) -> Any:
        """A loop over the vectors of outputs."""
        return loop(self.b, 0, self.full[-1], LANES)

    def _sum_of_terms(self) -> Any:
        b, total = self.b, Variable(self.b, vector(self.b, NOTHING))
        with loop(b, 0, self.n[-1]) as j:
            total.become(total.now + self.terms.each(b, 0, j))
        return total.now

    def _largest(self, r: Any) -> Any:
        """The row's largest logit; NaN if one is."""
        b, Z = self.b, self.z[self.last]
        top = Variable(b, Z.each(b, r, 0))
        with loop(b, 1, self.n[-1]) as j:
            z = Z.each(b, r, j)
            top.become(where(z > top.now, z, where(z == z, top.now, z)))
        return top.now

    def _softmax(self, r: Any) -> None:
        """As in ``arithmetic``: what the sum loses is added up beside it."""
        b, A, Z, top = self.b, self.a[self.last], self.z[self.last], self._largest(r)
        with self._outputs() as j:
            A.put(b, elementary.exp_of_difference(Z.vector(b, r, j), top), r, j)
        total, lost = (Variable(b, vector(b, NOTHING)) for _ in range(2))
        with loop(b, 0, self.n[-1]) as j:
            before, power = total.now, A.each(b, r, j)
            total.become(before + power)
            lost.become(lost.now + elementary.sum_error(before, power, total.now))
        divisor = total.now + lost.now
        with self._outputs() as j:
            A.put(b, A.vector(b, r, j) / divisor, r, j)

    def _half_squared(self, Y: Rows, r: Any) -> Any:
        """Twice the loss."""
        b, network, A, delta = self.b, self.network, self.a[self.last], self.delta[self.last]
        name = network.functions[-1]
        with self._outputs() as j:
            error = A.vector(b, r, j) - Y.vector(b, r, j)
            delta.put(b, error, r, j)
            self.terms.put(b, error * error, 0, j)
        loss = self._sum_of_terms()
        with self._outputs() as j:
            a = A.vector(b, r, j)
            error = ERRORS[network.error](delta.vector(b, r, j), network.dead_zone)
            if name == "softmax":
                self.terms.put(b, error * a, 0, j)
            else:
                error = error * self._slope(name, a)
            delta.put(b, error, r, j)
        if name == "softmax":
            total = self._sum_of_terms()
            with self._outputs() as j:
                delta.put(b, A.vector(b, r, j) * (delta.vector(b, r, j) - total), r, j)
        return loss

    def _binary_cross_entropy(self, Y: Rows, r: Any) -> Any:
        b, A, delta = self.b, self.a[self.last], self.delta[self.last]
        with self._outputs() as j:
            z, y = self.z[self.last].vector(b, r, j), Y.vector(b, r, j)
            delta.put(b, A.vector(b, r, j) - y, r, j)
            soft = elementary.log1p(elementary.exp_of_negative(-abs(z)))
            self.terms.put(b, binary_cross_entropy(z, y, soft), 0, j)  # type: ignore[arg-type]
        return self._sum_of_terms()

    def _categorical_cross_entropy(self, Y: Rows, r: Any) -> Any:
        b, A, Z, delta = self.b, self.a[self.last], self.z[self.last], self.delta[self.last]
        top = self._largest(r)
        with self._outputs() as j:
            self.terms.put(b, elementary.exp_of_negative(Z.vector(b, r, j) - top), 0, j)
        surplus = elementary.log(self._sum_of_terms())
        with self._outputs() as j:
            y = Y.vector(b, r, j)
            delta.put(b, A.vector(b, r, j) - y, r, j)
            self.terms.put(b, y * ((top - Z.vector(b, r, j)) + surplus), 0, j)
        return self._sum_of_terms()

    def _gradient(self, i: int, X: Rows, count: Any) -> None:
        """Adds the block's share."""
        below, delta = self.a[i - 1] if i > 1 else X, self.delta[i]
        shape, to_bias = (self.n[i - 1], self.full[i]), (INDEX(1), self.full[i])
        self._add_products(shape, count, below, True, delta, self.to_weights[i])
        self._add_products(to_bias, count, self.ones, True, delta, self.to_biases[i])

    def _delta_below(self, i: int, count: Any) -> None:
        b, below, name = self.b, self.delta[i - 1], self.network.functions[i - 2]
        shape = (count, self.full[i - 1])
        self._clear(below, b.mul(*shape))
        self._add_products(shape, self.n[i], self.delta[i], False, self.turned[i], below)
        with loop(b, 0, count) as r, loop(b, 0, self.full[i - 1], LANES) as k:
            slope = self._slope(name, self.a[i - 1].vector(b, r, k))
            below.put(b, below.vector(b, r, k) * slope, r, k)

    def _slope(self, name: str, a: Any) -> Any:
        """What an error is multiplied by on its way through a unit."""
        derivative = 1.0 if name == "identity" else ACTIVATIONS[name].slope(a)
        return derivative + self.network.offset

    def _update(self, rate: Any) -> None:
        b, rule, gradient = self.b, OPTIMIZERS[self.kind.rule], self.gradient
        divisor, decay = Rows(self.known["divisor"], INDEX(0)), self.decay.each(b, 0, 0)
        settings = [self.settings.each(b, at, 0) for at in range(len(rule.hyperparameter_names))]
        if self.network.bias_input != 1.0:
            with loop(b, self.known["b1"], self.n_parameters, LANES) as at:
                g = gradient.vector(b, 0, at)
                gradient.put(b, self.network.bias_input * g, 0, at)
        with loop(b, 0, self.n_parameters, LANES) as at:
            w, g = self.parameters.vector(b, 0, at), gradient.vector(b, 0, at)
            if self.kind.decays:
                g = g + decay * w
            lr = rate / divisor.vector(b, 0, at) if self.kind.divides else rate
            slots = [self.slots.vector(b, slot, at) for slot in range(len(rule.initial_state))]
            state, hyperparameters = rule.state(*slots), rule.hyperparameters(*settings)
            w, slots = rule.update(w, g, state, lr, hyperparameters)
            self.parameters.put(b, w, 0, at)
            for slot, value in enumerate(slots):
                self.slots.put(b, value, slot, at)
        self._check_parameters()

    def _check_parameters(self) -> None:
        b, check = self.b, Variable(self.b, vector(self.b, 0.0))
        if self.kind.together == LANES:
            with loop(b, 0, self.n_parameters, LANES) as at:
                check.become(check.now + self.parameters.vector(b, 0, at) * 0.0)
            self.check.become(check.now)
            return
        lanes: Any = Symbol(b, ir.Constant(WHOLE, list(range(LANES))))
        for i in self.layers:
            for part, rows in ((self.weights[i], self.n[i - 1]), (self.biases[i], INDEX(1))):
                with loop(b, 0, rows) as k, loop(b, 0, self.full[i], LANES) as j:
                    is_unit = lanes < spread(b, b.sub(self.n[i], j))
                    check.become(check.now + where(is_unit, part.vector(b, k, j) * 0.0, 0.0))
        each = [b.extract_element(check.now.value, INDEX(lane)) for lane in range(LANES)]
        self.check.become(spread(b, reduce(b.fadd, each)))


def _least(b: ir.IRBuilder, one: Any, other: Any) -> Any:
    return b.select(b.icmp_signed("<", one, other), one, other)


def _activated(name: str, z: Any) -> Any:
    return ACTIVATIONS[name].function(EXACT._replace(sigmoid=_sigmoid), z)


def _sigmoid(z: Any) -> Any:
    """In fewer steps where no lane needs the more."""
    b, found = z.builder, Variable(z.builder, z)
    is_far = Symbol(b, b.not_((abs(z) <= elementary.MODERATE).value))
    with b.if_else(any_of(is_far), likely=False) as (far, near):
        with far:
            found.become(elementary.sigmoid(z))
        with near:
            found.become(elementary.sigmoid_of_moderate(z))
    return found.now
