"""Code that trains one run, layer by layer, in vectors of a layer's units.

It is put together for one kind of network - so many layers, these activations - of any sizes, from
loops and from the textbook's formulas, which write down what they do on symbols. Rows go through
the network a block at a time, so that what belongs to them stays in the first caches. Sums are
added in index order and nothing is fused: the bits are NumPy's.

In memory the units of a layer are filled up to whole vectors; what is there counts for nothing.
"""

import itertools
from functools import reduce
from typing import Any

from llvmlite import ir

from bpexp.engines import machine
from bpexp.engines.loops import INDEX, NUMBER, Rows, Variable, loop, number, products, vector
from bpexp.engines.symbols import LANES, WHOLE, Symbol, spread
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
    "figures", "orders", "factors", "X", "Y", "divisor", "settings", "parameters", "stopped",
    "slots", "outputs", "rules", "losses", "work",
)  # fmt: skip
NOTHING = -0.0
"""What sums begin with: -0 + x is x, bit by bit, for every x."""


def full(n_units: int) -> int:
    """As many units as whole vectors hold."""
    return -(-n_units // LANES) * LANES


def figures(network: Network) -> dict[str, int]:
    """What the code is told of sizes: units of the layers, and filled up; where the weights and
    biases of each are among the parameters, filled up, and how many these are; where the parts of
    the work are, and how many numbers it has.
    """
    layers, outputs = range(1, len(network.sizes)), full(network.sizes[-1])
    n, filled = list(network.sizes), [full(units) for units in network.sizes]
    weights = {f"w{i}": n[i - 1] * filled[i] for i in layers}
    parameters = weights | {f"b{i}": filled[i] for i in layers}
    work = {
        "gradient": sum(parameters.values()), "ones": BLOCK, "terms": outputs,
        "x": BLOCK * filled[0], "y": BLOCK * outputs,
        **{f"{name}{i}": BLOCK * filled[i] for name in ("z", "a", "delta") for i in layers},
        **{f"turned{i}": n[i] * filled[i - 1] for i in layers[1:]},
    }  # fmt: skip
    return (
        {f"n{i}": units for i, units in enumerate(n)}
        | {f"full{i}": units for i, units in enumerate(filled)}
        | _places(parameters, "parameters")
        | _places(work, "work")
    )


def _places(sizes: dict[str, int], whole: str) -> dict[str, int]:
    """Where parts of these sizes begin, one after the other, and where the last ends."""
    return dict(zip([*sizes, whole], itertools.accumulate(sizes.values(), initial=0), strict=True))


def module(network: Network, rule: str, decays: bool, divides: bool, is_shuffled: bool) -> str:
    """LLVM's text of ENTRY(*WHOLES, *SINGLES, *ARRAYS) -> epochs done: it returns after one that
    ends the run, or leaves a parameter not finite. It serves for all ``network.sizes`` as many.

    ``figures`` are the function's of that name; ``orders``, (epochs, n_samples), are read if it
    ``is_shuffled``; ``divisor`` if it ``divides``. X is (n_samples, n_in); what else is of units
    is filled up. ``stopped`` gets the parameters before an epoch's last update. ``rules``:
    stop_loss, stop_correct, patience, best and waited; the last two move on.
    """
    kinds = [INDEX] * len(WHOLES) + [NUMBER] * len(SINGLES)
    kinds += [(INDEX if at < 2 else NUMBER).as_pointer() for at in range(len(ARRAYS))]
    made = ir.Module()
    tile = (4, 4) if machine.has("avx512f") else (2, 2)
    function = ir.Function(made, ir.FunctionType(INDEX, kinds), ENTRY)
    given = dict(zip((*WHOLES, *SINGLES, *ARRAYS), function.args, strict=True))
    for name in ARRAYS:
        given[name].add_attribute("noalias")
    b = ir.IRBuilder(function.append_basic_block())
    code = _Code(b, network, given, is_shuffled, products(made, tile))
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
        self, b: ir.IRBuilder, network: Network, given: dict[str, Any], is_shuffled: bool,
        products: ir.Function,
    ) -> None:  # fmt: skip
        self.b, self.network, self.given, self.is_shuffled = b, network, given, is_shuffled
        self.products = products
        self.layers = layers = range(1, len(network.sizes))
        self.last = layers[-1]
        self.known = known = {
            name: b.load(b.gep(given["figures"], [INDEX(at)]))
            for at, name in enumerate(figures(network))
        }
        self.n = [known[f"n{i}"] for i in (0, *layers)]
        self.full = [known[f"full{i}"] for i in (0, *layers)]
        self.n_parameters = known["parameters"]

        def rows(array: Any, name: str, i: int) -> Rows:
            return Rows(b.gep(array, [known[name]]), self.full[i])

        work, parameters = given["work"], given["parameters"]
        self.x, self.y = Rows(b.gep(work, [known["x"]]), self.n[0]), rows(work, "y", self.last)
        self.ones, self.terms = (
            Rows(b.gep(work, [known["ones"]]), INDEX(1)),
            rows(work, "terms", self.last),
        )
        self.z, self.a, self.delta = (
            {i: rows(work, f"{name}{i}", i) for i in layers} for name in ("z", "a", "delta")
        )
        self.turned = {i: rows(work, f"turned{i}", i - 1) for i in layers[1:]}
        self.weights = {i: rows(parameters, f"w{i}", i) for i in layers}
        self.biases = {i: rows(parameters, f"b{i}", i) for i in layers}
        gradient = b.gep(work, [known["gradient"]])
        self.to_weights = {i: rows(gradient, f"w{i}", i) for i in layers}
        self.to_biases = {i: rows(gradient, f"b{i}", i) for i in layers}
        self.rules = Rows(given["rules"], 0)
        self.total, self.missed, self.check = (Variable(b, number(b, 0.0)) for _ in range(3))
        with loop(b, 0, BLOCK) as r:
            self.ones.put(b, number(b, 1.0), 0, r)

    def epoch(self, epoch: Any, rule: str, decays: bool, divides: bool) -> Any:
        """The epoch's loss; ``check`` is left 0 where all parameters are finite."""
        b, given = self.b, self.given
        n_samples, batch_size = given["n_samples"], given["batch_size"]
        n_batches = b.sdiv(b.add(n_samples, b.sub(batch_size, INDEX(1))), batch_size)
        rate = Symbol(b, given["lr"]) * Rows(given["factors"], 0).number(b, 0, epoch)
        order, parameters = Rows(given["orders"], n_samples), Rows(given["parameters"], 0)
        self.total.become(number(b, NOTHING))
        self.missed.become(number(b, 0.0))
        with loop(b, 0, n_batches) as batch:
            start = b.mul(batch, batch_size)
            stop = _least(b, b.add(start, batch_size), n_samples)
            self._turn_weights()
            self._clear(self.to_weights[1], self.n_parameters)
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
                loop(b, 0, self.n_parameters, LANES) as at,
            ):
                Rows(given["stopped"], 0).put(b, parameters.vector(b, 0, at), 0, at)
            # 4. update
            self._update(rule, rate, decays, divides)
        loss: Any = LOSSES[self.network.loss, self.network.functions[-1]]
        samples, outputs = (Symbol(b, b.sitofp(n, NUMBER)) for n in (n_samples, self.n[-1]))
        return loss.reported(self.total.now, samples, outputs)

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
            with loop(b, 0, self.n[i - 1]) as k, loop(b, 0, self.n[i]) as j:
                turned.put(b, self.weights[i].number(b, k, j), j, k)

    def _block(self, sample: Any, first: Any, count: Any) -> tuple[Rows, Rows]:
        """Inputs and targets of the block."""
        b, n_in = self.b, self.n[0]
        X, Y = Rows(self.given["X"], n_in), Rows(self.given["Y"], self.full[-1])
        if not self.is_shuffled:
            return X._replace(first=X.at(b, first)), Y._replace(first=Y.at(b, first))
        with loop(b, 0, count) as r:
            with loop(b, 0, n_in) as i:
                self.x.put(b, X.number(b, sample(r), i), r, i)
            with self._outputs() as j:
                self.y.put(b, Y.vector(b, sample(r), j), r, j)
        return self.x, self.y

    def _clear(self, sums: Rows, count: Any) -> None:
        """Makes so many numbers the beginning of sums."""
        with loop(self.b, 0, count, LANES) as at:
            sums.put(self.b, vector(self.b, NOTHING), 0, at)

    def _add_products(
        self, shape: tuple[Any, Any], count: Any, left: Rows, turned: bool, right: Rows, to: Rows
    ) -> None:
        """Adds left right, or left^T right, of ``count`` terms a sum."""
        one = INDEX(1)
        down, along = (one, left.stride) if turned else (left.stride, one)
        arguments = (*shape, count, left.first, down, along, right.first, right.stride, to.first)
        self.b.call(self.products, arguments)

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

    def _error(self, Y: Rows, sample: Any, count: Any) -> None:
        """The outputs, their loss and dE/dz."""
        b, name = self.b, self.network.functions[-1]
        kept = Rows(self.given["outputs"], self.full[-1])
        with loop(b, 0, count) as r:
            A = kept._replace(first=kept.at(b, sample(r)))
            if name == "softmax":
                self._softmax(A, r)
            else:
                with self._outputs() as j:
                    A.put(b, _activated(name, self.z[self.last].vector(b, r, j)), 0, j)
            if self.network.loss == "half_squared":
                loss = 0.5 * self._half_squared(A, Y, r)
            elif name == "softmax":
                loss = self._categorical_cross_entropy(A, Y, r)
            else:
                loss = self._binary_cross_entropy(A, Y, r)
            self.total.become(self.total.now + loss)
            limit = self.rules.number(b, 0, 1)
            with b.if_then((limit > 0.0).value), loop(b, 0, self.n[-1]) as j:
                off = abs(A.number(b, 0, j) - Y.number(b, r, j))
                self.missed.become(self.missed.now + where(off < limit, number(b, 0.0), 1.0))

    def _outputs(self) -> Any:
        """A loop over the vectors of outputs."""
        return loop(self.b, 0, self.full[-1], LANES)

    def _sum_of_terms(self) -> Any:
        b, total = self.b, Variable(self.b, number(self.b, NOTHING))
        with loop(b, 0, self.n[-1]) as j:
            total.become(total.now + self.terms.number(b, 0, j))
        return total.now

    def _largest(self, r: Any) -> Any:
        """The row's largest logit in every lane; NaN if one is."""
        b, top = self.b, Variable(self.b, self.z[self.last].number(self.b, r))
        with loop(b, 1, self.n[-1]) as j:
            z = self.z[self.last].number(b, r, j)
            top.become(where(z > top.now, z, where(z == z, top.now, z)))
        return spread(b, top.now.value)

    def _softmax(self, A: Rows, r: Any) -> None:
        """As in ``arithmetic``: what the sum loses is added up beside it."""
        b, top = self.b, self._largest(r)
        with self._outputs() as j:
            A.put(b, elementary.exp_of_difference(self.z[self.last].vector(b, r, j), top), 0, j)
        total, lost = (Variable(b, number(b, NOTHING)) for _ in range(2))
        with loop(b, 0, self.n[-1]) as j:
            before, power = total.now, A.number(b, 0, j)
            total.become(before + power)
            lost.become(lost.now + elementary.sum_error(before, power, total.now))
        divisor = spread(b, (total.now + lost.now).value)
        with self._outputs() as j:
            A.put(b, A.vector(b, 0, j) / divisor, 0, j)

    def _half_squared(self, A: Rows, Y: Rows, r: Any) -> Any:
        """Twice the loss."""
        b, network, delta = self.b, self.network, self.delta[self.last]
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
        b, delta = self.b, self.delta[self.last]
        with self._outputs() as j:
            z, y = self.z[self.last].vector(b, r, j), Y.vector(b, r, j)
            delta.put(b, A.vector(b, 0, j) - y, r, j)
            soft = elementary.log1p(elementary.exp_of_negative(-abs(z)))
            self.terms.put(b, binary_cross_entropy(z, y, soft), 0, j)  # type: ignore[arg-type]
        return self._sum_of_terms()

    def _categorical_cross_entropy(self, A: Rows, Y: Rows, r: Any) -> Any:
        b, delta, top = self.b, self.delta[self.last], self._largest(r)
        with self._outputs() as j:
            self.terms.put(
                b, elementary.exp_of_negative(self.z[self.last].vector(b, r, j) - top), 0, j
            )
        surplus = elementary.log(spread(b, self._sum_of_terms().value))
        with self._outputs() as j:
            y = Y.vector(b, r, j)
            delta.put(b, A.vector(b, 0, j) - y, r, j)
            self.terms.put(b, y * ((top - self.z[self.last].vector(b, r, j)) + surplus), 0, j)
        return self._sum_of_terms()

    def _gradient(self, i: int, X: Rows, count: Any) -> None:
        """Adds the block's share."""
        below, delta = self.a[i - 1] if i > 1 else X, self.delta[i]
        shape = (self.n[i - 1], self.full[i])
        self._add_products(shape, count, below, True, delta, self.to_weights[i])
        to_bias = (INDEX(1), self.full[i])
        self._add_products(to_bias, count, self.ones, True, delta, self.to_biases[i])

    def _delta_below(self, i: int, count: Any) -> None:
        b, below, name = self.b, self.delta[i - 1], self.network.functions[i - 2]
        self._clear(below, b.mul(count, self.full[i - 1]))
        self._add_products(
            (count, self.full[i - 1]), self.n[i], self.delta[i], False, self.turned[i], below
        )
        with loop(b, 0, count) as r, loop(b, 0, self.full[i - 1], LANES) as k:
            slope = self._slope(name, self.a[i - 1].vector(b, r, k))
            below.put(b, below.vector(b, r, k) * slope, r, k)

    def _slope(self, name: str, a: Any) -> Any:
        """What an error is multiplied by on its way through a unit."""
        derivative = 1.0 if name == "identity" else ACTIVATIONS[name].derivative(a)
        return derivative + self.network.offset

    def _update(self, rule: str, rate: Symbol, decays: bool, divides: bool) -> None:
        b, given, formula = self.b, self.given, RULES[rule]
        settings = [
            Rows(given["settings"], 0).everywhere(b, 0, h) for h in range(len(formula.settings))
        ]
        parameters, gradient = Rows(given["parameters"], 0), Rows(self.to_weights[1].first, 0)
        slots, divisors = Rows(given["slots"], self.n_parameters), Rows(given["divisor"], 0)
        rates, decay = spread(b, rate.value), spread(b, given["decay"])
        if self.network.bias_input != 1.0:
            with loop(b, self.known["b1"], self.n_parameters, LANES) as at:
                g = gradient.vector(b, 0, at)
                gradient.put(b, self.network.bias_input * g, 0, at)
        with loop(b, 0, self.n_parameters, LANES) as at:
            w, g = parameters.vector(b, 0, at), gradient.vector(b, 0, at)
            if decays:
                g = g + decay * w
            lr = rates / divisors.vector(b, 0, at) if divides else rates
            held = [slots.vector(b, s, at) for s in range(len(formula.slots))]
            w, *held = formula.update(w, g, *held, lr, *settings)
            parameters.put(b, w, 0, at)
            for s, slot in enumerate(held):
                slots.put(b, slot, s, at)
        self._check_parameters()

    def _check_parameters(self) -> None:
        b, check = self.b, Variable(self.b, vector(self.b, 0.0))
        lanes: Any = Symbol(b, ir.Constant(WHOLE, list(range(LANES))))
        for i in self.layers:
            for part, rows in ((self.weights[i], self.n[i - 1]), (self.biases[i], INDEX(1))):
                with loop(b, 0, rows) as k, loop(b, 0, self.full[i], LANES) as j:
                    is_unit = lanes < spread(b, b.sub(self.n[i], j))
                    check.become(check.now + where(is_unit, part.vector(b, k, j) * 0.0, 0.0))
        each = [b.extract_element(check.now.value, INDEX(lane)) for lane in range(LANES)]
        self.check.become(Symbol(b, reduce(b.fadd, each)))


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
