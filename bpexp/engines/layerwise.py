"""Code that trains one run, layer by layer, in vectors of a layer's units.

It is put together for the one shape of network from loops and from the textbook's formulas, which
write down what they do on symbols. Rows go through the network a block at a time, so that what
belongs to them stays in the first caches. Sums are added in index order and nothing is fused: the
bits are NumPy's.

In memory the units of a layer are filled up to whole vectors; what is there counts for nothing.
"""

import itertools
from functools import reduce
from typing import Any

from llvmlite import ir

from bpexp.engines import machine
from bpexp.engines.loops import (
    INDEX,
    NUMBER,
    Rows,
    Variable,
    loop,
    nothing,
    number,
    products,
    vector,
)
from bpexp.engines.symbols import LANES, Symbol, spread
from bpexp.nn import elementary
from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.ieee import where
from bpexp.nn.losses import ERRORS, LOSSES, binary_cross_entropy
from bpexp.nn.network import Network
from bpexp.nn.optimizers import RULES

ENTRY = "bpexp_layerwise"
BLOCK = 32
"""Rows that go through the network together."""
WHOLES = ("epochs", "n_samples", "batch_size")
SINGLES = ("lr", "decay")
ARRAYS = (
    "factors", "orders", "X", "Y", "divisor", "settings", "parameters", "stopped", "slots",
    "outputs", "rules", "losses", "work",
)  # fmt: skip


def full(n_units: int) -> int:
    """As many units as whole vectors hold."""
    return -(-n_units // LANES) * LANES


def size(network: Network) -> int:
    """How many parameters there are, filled up."""
    return sum(n_in * full(n_out) for n_in, n_out in network.shapes)


def room(network: Network) -> int:
    """How many numbers the code's work takes."""
    return sum(_parts(network).values())


def _parts(network: Network) -> dict[str, int]:
    """The parts of the work, each of so many numbers."""
    layers = list(enumerate(itertools.pairwise(network.sizes), start=1))
    outputs = full(network.sizes[-1])
    return {
        "gradient": size(network),
        "x": BLOCK * full(network.sizes[0]), "y": BLOCK * outputs,
        "logits": BLOCK * outputs, "terms": outputs,
        **{f"a{i}": BLOCK * full(n_out) for i, (_, n_out) in layers},
        **{f"delta{i}": BLOCK * full(n_out) for i, (_, n_out) in layers},
        **{f"turned{i}": n_out * full(n_in) for i, (n_in, n_out) in layers[1:]},
    }  # fmt: skip


def module(network: Network, rule: str, decays: bool, divides: bool, is_shuffled: bool) -> str:
    """LLVM's text of ENTRY(*WHOLES, *SINGLES, *ARRAYS) -> epochs done: it returns after one that
    ends the run, or leaves a parameter not finite.

    ``orders``, (epochs, n_samples), are read if it ``is_shuffled``; ``divisor`` if it ``divides``.
    X is (n_samples, n_in); what else is of units is filled up. ``stopped`` gets the parameters
    before an epoch's last update. ``rules``: stop_loss, stop_correct, patience, best and waited;
    the last two move on.
    """
    kinds = [INDEX] * len(WHOLES) + [NUMBER] * len(SINGLES) + [NUMBER.as_pointer()] * len(ARRAYS)
    kinds[len(WHOLES) + len(SINGLES) + ARRAYS.index("orders")] = INDEX.as_pointer()
    made = ir.Module()
    function = ir.Function(made, ir.FunctionType(INDEX, kinds), ENTRY)
    given = dict(zip((*WHOLES, *SINGLES, *ARRAYS), function.args, strict=True))
    for name in ARRAYS:
        given[name].add_attribute("noalias")
    b = ir.IRBuilder(function.append_basic_block())
    code = _Code(b, network, given, is_shuffled)
    with loop(b, 0, given["epochs"]) as epoch:
        loss = code.epoch(epoch, rule, decays, divides)
        b.store(loss.value, b.gep(given["losses"], [epoch]))
        with b.if_then(code.has_ended(loss)):
            b.ret(b.add(epoch, INDEX(1)))
    b.ret(given["epochs"])
    return str(made)


class _Code:
    """Writes the code; knows where things are when that runs."""

    def __init__(
        self, b: ir.IRBuilder, network: Network, given: dict[str, Any], is_shuffled: bool
    ) -> None:
        self.b, self.network, self.given, self.is_shuffled = b, network, given, is_shuffled
        self.tile = (4, 4) if machine.has("avx512f") else (2, 2)
        self.sizes, self.layers = network.sizes, range(1, len(network.sizes))
        self.outputs = self.sizes[-1]
        places, at = {}, 0
        for name, numbers in _parts(network).items():
            places[name], at = b.gep(given["work"], [INDEX(at)]), at + numbers

        def rows(name: str, units: int) -> Rows:
            return Rows(places[name], full(units))

        self.x, self.y = Rows(places["x"], self.sizes[0]), rows("y", self.outputs)
        self.logits, self.terms = rows("logits", self.outputs), rows("terms", self.outputs)
        self.a = {i: rows(f"a{i}", self.sizes[i]) for i in self.layers}
        self.delta = {i: rows(f"delta{i}", self.sizes[i]) for i in self.layers}
        self.turned = {i: rows(f"turned{i}", self.sizes[i - 1]) for i in self.layers[1:]}
        self.weights, self.biases = self._in_layers(given["parameters"])
        self.to_weights, self.to_biases = self._in_layers(places["gradient"])
        self.rules = Rows(given["rules"], 0)
        self.total, self.missed, self.check = (Variable(b, number(b, 0.0)) for _ in range(3))

    def _in_layers(self, first: Any) -> tuple[dict[int, Rows], dict[int, Rows]]:
        """Weights and biases by their layer, or their gradients."""
        found, at = [], 0
        for n_in, n_out in self.network.shapes:
            found.append(Rows(self.b.gep(first, [INDEX(at)]), full(n_out)))
            at += n_in * full(n_out)
        weights, biases = found[: len(self.layers)], found[len(self.layers) :]
        return dict(zip(self.layers, weights, strict=True)), dict(
            zip(self.layers, biases, strict=True)
        )

    def epoch(self, epoch: Any, rule: str, decays: bool, divides: bool) -> Any:
        """The epoch's loss; ``check`` is left 0 where all parameters are finite."""
        b, given = self.b, self.given
        n_samples, batch_size = given["n_samples"], given["batch_size"]
        n_batches = b.sdiv(b.add(n_samples, b.sub(batch_size, INDEX(1))), batch_size)
        rate = Symbol(b, given["lr"]) * Rows(given["factors"], 0).number(b, 0, epoch)
        order, everything = Rows(given["orders"], n_samples), size(self.network)
        gradient, parameters = self.to_weights[1], self.weights[1]
        self.total.become(number(b, -0.0))
        self.missed.become(number(b, 0.0))
        with loop(b, 0, n_batches) as batch:
            start = b.mul(batch, batch_size)
            stop = _least(b, b.add(start, batch_size), n_samples)
            self._turn_weights()
            with loop(b, 0, everything, LANES) as at:
                gradient.put(b, nothing(b), 0, at)
            with loop(b, start, stop, BLOCK) as first:
                count = _least(b, b.sub(stop, first), INDEX(BLOCK))

                def sample(r: Any, first: Any = first) -> Any:
                    at = b.add(first, r)
                    return b.load(order.at(b, epoch, at)) if self.is_shuffled else at

                X, Y = self._block(sample, first, count)
                # 1. forward pass
                for i in self.layers:
                    self._forward(i, X, count)
                # 2. error
                self._error(Y, sample, count)
                # 3. backward pass
                for i in reversed(self.layers):
                    self._gradient(i, X, count)
                    if i > 1:
                        self._delta_below(i, count)
            with (
                b.if_then(b.icmp_signed("==", stop, n_samples)),
                loop(b, 0, everything, LANES) as at,
            ):
                Rows(given["stopped"], 0).put(b, parameters.vector(b, 0, at), 0, at)
            # 4. update
            self._update(rule, rate, decays, divides)
        loss: Any = LOSSES[self.network.loss, self.network.functions[-1]]
        samples = Symbol(b, b.sitofp(n_samples, NUMBER))
        return loss.reported(self.total.now, samples, float(self.outputs))

    def has_ended(self, loss: Any) -> Any:
        """Whether the epoch was the run's last; as in ``reference``."""
        b = self.b
        stop_loss, stop_correct, patience, best, waited = (
            self.rules.number(b, 0, at) for at in range(5)
        )
        better = loss < best
        best, waited = where(better, loss, best), where(better, 0.0, waited + 1.0)
        self.rules.put(b, best, 0, 3)
        self.rules.put(b, waited, 0, 4)
        wrong = where(stop_correct > 0.0, self.missed.now, 1.0)
        sound = loss * 0.0 + self.check.now == 0.0
        ends = [loss <= stop_loss, waited >= patience, wrong == 0.0]
        return reduce(b.or_, [end.value for end in ends], b.not_(sound.value))

    def _turn_weights(self) -> None:
        """Rows of weights as columns, by which errors go back."""
        b = self.b
        for i, turned in self.turned.items():
            with loop(b, 0, self.sizes[i - 1]) as k, loop(b, 0, self.sizes[i]) as j:
                turned.put(b, self.weights[i].number(b, k, j), j, k)

    def _block(self, sample: Any, first: Any, count: Any) -> tuple[Rows, Rows]:
        """Inputs and targets of the block."""
        b, n_in = self.b, self.sizes[0]
        X, Y = Rows(self.given["X"], n_in), Rows(self.given["Y"], full(self.outputs))
        if not self.is_shuffled:
            return X._replace(first=X.at(b, first)), Y._replace(first=Y.at(b, first))
        with loop(b, 0, count) as r:
            with loop(b, 0, n_in) as i:
                self.x.put(b, X.number(b, sample(r), i), r, i)
            with self._outputs() as j:
                self.y.put(b, Y.vector(b, sample(r), j), r, j)
        return self.x, self.y

    def _forward(self, i: int, X: Rows, count: Any) -> None:
        """Activations of a hidden layer, or the logits of the last."""
        b, below = self.b, self.a[i - 1] if i > 1 else X
        Z = self.a[i] if i < self.layers[-1] else self.logits

        def finish(r: Any, j: Any, z: Any) -> None:
            Z.put(b, z + self.biases[i].vector(b, 0, j) * self.network.bias_input, r, j)

        products(
            b, self.tile, (count, full(self.sizes[i])), self.sizes[i - 1],
            lambda r, k: below.everywhere(b, r, k), self.weights[i],
            lambda r, j: nothing(b), finish,
        )  # fmt: skip
        if i < self.layers[-1]:
            with loop(b, 0, count) as r, loop(b, 0, full(self.sizes[i]), LANES) as j:
                Z.put(b, _activated(self.network.functions[i - 1], Z.vector(b, r, j)), r, j)

    def _error(self, Y: Rows, sample: Any, count: Any) -> None:
        """The outputs, their loss and dE/dz."""
        b, name = self.b, self.network.functions[-1]
        kept = Rows(self.given["outputs"], full(self.outputs))
        with loop(b, 0, count) as r:
            A = kept._replace(first=kept.at(b, sample(r)))
            if name == "softmax":
                self._softmax(A, r)
            else:
                with self._outputs() as j:
                    A.put(b, _activated(name, self.logits.vector(b, r, j)), 0, j)
            if self.network.loss == "half_squared":
                loss = 0.5 * self._half_squared(A, Y, r)
            elif name == "softmax":
                loss = self._categorical_cross_entropy(A, Y, r)
            else:
                loss = self._binary_cross_entropy(A, Y, r)
            self.total.become(self.total.now + loss)
            limit = self.rules.number(b, 0, 1)
            with b.if_then((limit > 0.0).value), loop(b, 0, self.outputs) as j:
                off = abs(A.number(b, 0, j) - Y.number(b, r, j))
                self.missed.become(self.missed.now + where(off < limit, number(b, 0.0), 1.0))

    def _outputs(self) -> Any:
        """A loop over the vectors of outputs."""
        return loop(self.b, 0, full(self.outputs), LANES)

    def _sum_of_terms(self) -> Any:
        b, total = self.b, Variable(self.b, number(self.b, -0.0))
        with loop(b, 0, self.outputs) as j:
            total.become(total.now + self.terms.number(b, 0, j))
        return total.now

    def _largest(self, r: Any) -> Any:
        """The row's largest logit in every lane; NaN if one is."""
        b, top = self.b, Variable(self.b, self.logits.number(self.b, r))
        with loop(b, 1, self.outputs) as j:
            z = self.logits.number(b, r, j)
            top.become(where(z > top.now, z, where(z == z, top.now, z)))
        return spread(b, top.now.value)

    def _softmax(self, A: Rows, r: Any) -> None:
        """As in ``arithmetic``: what the sum loses is added up beside it."""
        b, top = self.b, self._largest(r)
        with self._outputs() as j:
            A.put(b, elementary.exp_of_difference(self.logits.vector(b, r, j), top), 0, j)
        total, lost = (Variable(b, number(b, -0.0)) for _ in range(2))
        with loop(b, 0, self.outputs) as j:
            before, power = total.now, A.number(b, 0, j)
            total.become(before + power)
            lost.become(lost.now + elementary.sum_error(before, power, total.now))
        divisor = spread(b, (total.now + lost.now).value)
        with self._outputs() as j:
            A.put(b, A.vector(b, 0, j) / divisor, 0, j)

    def _half_squared(self, A: Rows, Y: Rows, r: Any) -> Any:
        """Twice the loss."""
        b, network, delta = self.b, self.network, self.delta[self.layers[-1]]
        name = network.functions[-1]
        with self._outputs() as j:
            error = A.vector(b, 0, j) - Y.vector(b, r, j)
            delta.put(b, error, r, j)
            self.terms.put(b, error * error, 0, j)
        loss = self._sum_of_terms()
        with self._outputs() as j:
            a = A.vector(b, 0, j)
            error = ERRORS[network.error](delta.vector(b, r, j), network.dead_zone)
            if name != "softmax":
                error = error * self._slope(name, a)
            delta.put(b, error, r, j)
            self.terms.put(b, error * a, 0, j)
        if name == "softmax":
            total = spread(b, self._sum_of_terms().value)
            with self._outputs() as j:
                delta.put(b, A.vector(b, 0, j) * (delta.vector(b, r, j) - total), r, j)
        return loss

    def _binary_cross_entropy(self, A: Rows, Y: Rows, r: Any) -> Any:
        b, delta = self.b, self.delta[self.layers[-1]]
        with self._outputs() as j:
            z, y = self.logits.vector(b, r, j), Y.vector(b, r, j)
            delta.put(b, A.vector(b, 0, j) - y, r, j)
            soft = elementary.log1p(elementary.exp_of_negative(-abs(z)))
            self.terms.put(b, binary_cross_entropy(z, y, soft), 0, j)  # type: ignore[arg-type]
        return self._sum_of_terms()

    def _categorical_cross_entropy(self, A: Rows, Y: Rows, r: Any) -> Any:
        b, delta, top = self.b, self.delta[self.layers[-1]], self._largest(r)
        with self._outputs() as j:
            self.terms.put(b, elementary.exp_of_negative(self.logits.vector(b, r, j) - top), 0, j)
        surplus = elementary.log(spread(b, self._sum_of_terms().value))
        with self._outputs() as j:
            y = Y.vector(b, r, j)
            delta.put(b, A.vector(b, 0, j) - y, r, j)
            self.terms.put(b, y * ((top - self.logits.vector(b, r, j)) + surplus), 0, j)
        return self._sum_of_terms()

    def _gradient(self, i: int, X: Rows, count: Any) -> None:
        """Adds the block's share."""
        b, below, delta = self.b, self.a[i - 1] if i > 1 else X, self.delta[i]
        weights, biases = self.to_weights[i], self.to_biases[i]
        products(
            b, self.tile, (self.sizes[i - 1], full(self.sizes[i])), count,
            lambda k, r: below.everywhere(b, r, k), delta,
            lambda k, j: weights.vector(b, k, j),
            lambda k, j, total: weights.put(b, total, k, j),
        )  # fmt: skip
        products(
            b, self.tile, (1, full(self.sizes[i])), count,
            lambda k, r: vector(b, 1.0), delta,
            lambda k, j: biases.vector(b, k, j),
            lambda k, j, total: biases.put(b, total, k, j),
        )  # fmt: skip

    def _delta_below(self, i: int, count: Any) -> None:
        b, name = self.b, self.network.functions[i - 2]

        def finish(r: Any, k: Any, error: Any) -> None:
            slope = self._slope(name, self.a[i - 1].vector(b, r, k))
            self.delta[i - 1].put(b, error * slope, r, k)

        products(
            b, self.tile, (count, full(self.sizes[i - 1])), self.sizes[i],
            lambda r, j: self.delta[i].everywhere(b, r, j), self.turned[i],
            lambda r, k: nothing(b), finish,
        )  # fmt: skip

    def _slope(self, name: str, a: Any) -> Any:
        """What an error is multiplied by on its way through a unit."""
        derivative = 1.0 if name == "identity" else ACTIVATIONS[name].derivative(a)
        return derivative + self.network.offset

    def _update(self, rule: str, rate: Symbol, decays: bool, divides: bool) -> None:
        b, given, formula = self.b, self.given, RULES[rule]
        parameters, gradient, divisors = self.weights[1], self.to_weights[1], given["divisor"]
        slots = Rows(given["slots"], size(self.network))
        settings = [
            Rows(given["settings"], 0).everywhere(b, 0, h) for h in range(len(formula.settings))
        ]
        rates, decay = spread(b, rate.value), spread(b, given["decay"])
        check, start = Variable(b, vector(b, 0.0)), 0
        for part, (n_in, n_out) in enumerate(self.network.shapes):
            for first, last, is_unit in _columns(b, n_out):
                with loop(b, 0, n_in) as k, loop(b, first, last, LANES) as j:
                    at = b.add(b.add(b.mul(k, INDEX(full(n_out))), j), INDEX(start))
                    w, g = parameters.vector(b, 0, at), gradient.vector(b, 0, at)
                    if part >= len(self.layers):
                        g = g * self.network.bias_input
                    if decays:
                        g = g + decay * w
                    lr = rates / Rows(divisors, 0).vector(b, 0, at) if divides else rates
                    held = [slots.vector(b, s, at) for s in range(len(formula.slots))]
                    w, *held = formula.update(w, g, *held, lr, *settings)
                    parameters.put(b, w, 0, at)
                    for s, slot in enumerate(held):
                        slots.put(b, slot, s, at)
                    check.become(check.now + where(is_unit, w * 0.0, 0.0))
            start += n_in * full(n_out)
        lanes = [b.extract_element(check.now.value, INDEX(lane)) for lane in range(LANES)]
        self.check.become(Symbol(b, reduce(b.fadd, lanes)))


def _columns(b: ir.IRBuilder, n_units: int) -> list[tuple[int, int, Symbol]]:
    """From where to where all lanes of vectors are units, and which are in the last."""
    body, rest = n_units // LANES * LANES, n_units % LANES

    def first(count: int) -> Symbol:
        truths = [lane < count for lane in range(LANES)]
        return Symbol(b, ir.Constant(ir.VectorType(ir.IntType(1), LANES), truths))

    columns = []
    if body:
        columns.append((0, body, first(LANES)))
    if rest:
        columns.append((body, body + LANES, first(rest)))
    return columns


def _least(b: ir.IRBuilder, one: Any, other: Any) -> Any:
    return b.select(b.icmp_signed("<", one, other), one, other)


def _activated(name: str, z: Any) -> Any:
    return ACTIVATIONS[name].f(EXACT._replace(sigmoid=_sigmoid), z)


def _sigmoid(z: Any) -> Any:
    """In fewer steps where no lane needs the more."""
    b, bits, found = z.builder, ir.IntType(LANES), Variable(z.builder, z)
    moderate = b.bitcast((abs(z) <= elementary.MODERATE).value, bits)
    with b.if_else(b.icmp_unsigned("==", moderate, bits(-1))) as (moderately, otherwise):
        with moderately:
            found.become(elementary.sigmoid_of_moderate(z))
        with otherwise:
            found.become(elementary.sigmoid(z))
    return found.now
