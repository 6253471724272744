"""Code that trains one run, layer by layer, in vectors of a layer's units.

It is put together for the one shape of network from loops and from the textbook's formulas, which
write down what they do on symbols. Rows go through the network a block at a time, so that what
belongs to them stays in the first caches. Sums are added in index order and nothing is fused: the
bits are NumPy's.

In memory the units of a layer are filled up to whole vectors; what is there counts for nothing.
"""

import itertools
from typing import Any

from llvmlite import ir

from bpexp.engines import machine
from bpexp.engines.loops import INDEX, NOTHING, NUMBER, Rows, kept, loop, products, whole
from bpexp.engines.symbols import LANES, REAL, Symbol, spread
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
    "outputs", "losses", "work",
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
        "x": BLOCK * full(network.sizes[0]), "y": BLOCK * outputs, "terms": outputs,
        "logits": BLOCK * outputs,
        **{f"a{i}": BLOCK * full(n_out) for i, (_, n_out) in layers},
        **{f"delta{i}": BLOCK * full(n_out) for i, (_, n_out) in layers},
        **{f"turned{i}": n_out * full(n_in) for i, (n_in, n_out) in layers[1:]},
    }  # fmt: skip


def module(network: Network, rule: str, decays: bool, divides: bool, is_shuffled: bool) -> str:
    """LLVM's text of ENTRY(*WHOLES, *SINGLES, *ARRAYS) -> epochs done: it returns after one that
    leaves the loss or a parameter not finite.

    ``orders``, (epochs, n_samples), are read if it ``is_shuffled``; ``divisor`` if it ``divides``.
    X is (n_samples, n_in); what else is of units is filled up. ``stopped`` gets the parameters
    before an epoch's last update.
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
        sound = (loss * 0.0 + Symbol(b, b.load(code.check))) == 0.0
        with b.if_then(b.not_(sound.value)):
            b.ret(b.add(epoch, INDEX(1)))
    b.ret(given["epochs"])
    return str(made)


class _Code:
    """What writes the code, and where things are when that runs."""

    def __init__(
        self, b: ir.IRBuilder, network: Network, given: dict[str, Any], is_shuffled: bool
    ) -> None:
        self.b, self.network, self.given, self.is_shuffled = b, network, given, is_shuffled
        self.tile = (4, 4) if machine.has("avx512f") else (2, 2)
        sizes, layers = network.sizes, range(1, len(network.sizes))
        places, at = {}, 0
        for name, numbers in _parts(network).items():
            places[name], at = b.gep(given["work"], [INDEX(at)]), at + numbers
        self.x, self.y = Rows(places["x"], sizes[0]), Rows(places["y"], full(sizes[-1]))
        self.terms, self.logits = Rows(places["terms"], 0), Rows(places["logits"], full(sizes[-1]))
        self.a = {i: Rows(places[f"a{i}"], full(sizes[i])) for i in layers}
        self.delta = {i: Rows(places[f"delta{i}"], full(sizes[i])) for i in layers}
        self.turned = {i: Rows(places[f"turned{i}"], full(sizes[i - 1])) for i in layers[1:]}
        self.parameters = self._in_layers(given["parameters"])
        self.gradient = self._in_layers(places["gradient"])
        self.total, self.check = kept(b, NUMBER), kept(b, NUMBER)

    def _in_layers(self, first: Any) -> list[Rows]:
        """Weights layer by layer, then biases."""
        found, at = [], 0
        for n_in, n_out in self.network.shapes:
            found.append(Rows(self.b.gep(first, [whole(at)]), full(n_out)))
            at += n_in * full(n_out)
        return found

    def epoch(self, epoch: Any, rule: str, decays: bool, divides: bool) -> Symbol:
        """The epoch's loss; ``check`` is left 0 if all parameters are finite."""
        b, given, network = self.b, self.given, self.network
        n_samples, batch_size = given["n_samples"], given["batch_size"]
        rate = Symbol(b, given["lr"]) * Symbol(b, b.load(b.gep(given["factors"], [epoch])))
        order = Rows(given["orders"], n_samples)
        b.store(NUMBER(NOTHING), self.total)
        batch = kept(b, INDEX, INDEX(0))
        n_batches = b.sdiv(b.add(n_samples, b.sub(batch_size, INDEX(1))), batch_size)
        with loop(b, 0, n_batches):
            start = b.load(batch)
            stop = _least(b, b.add(start, batch_size), n_samples)
            b.store(stop, batch)
            self._turn_weights()
            with loop(b, 0, size(network), LANES) as at:
                nothing = spread(b, NUMBER(NOTHING))
                self.gradient[0].put(b, nothing, 0, at)
            with loop(b, start, stop, BLOCK) as first:
                count = _least(b, b.sub(stop, first), INDEX(BLOCK))

                def row(r: Any, first: Any = first) -> Any:
                    at = b.add(first, r)
                    return b.load(order.at(b, epoch, at)) if self.is_shuffled else at

                X, Y = self._samples(row, first, count)
                # 1. forward pass
                self._forward(X, count)
                # 2. error
                self._error(Y, row, count)
                # 3. backward pass
                self._backward(X, count)
            with (
                b.if_then(b.icmp_signed("==", stop, n_samples)),
                loop(b, 0, size(network), LANES) as at,
            ):
                Rows(given["stopped"], 0).put(b, self.parameters[0].vector(b, 0, at), 0, at)
            # 4. update
            self._update(rule, rate, decays, divides)
        loss: Any = LOSSES[network.loss, network.functions[-1]]
        total, samples = Symbol(b, b.load(self.total)), Symbol(b, b.sitofp(n_samples, NUMBER))
        reported: Symbol = loss.reported(total, samples, float(network.sizes[-1]))
        return reported

    def _turn_weights(self) -> None:
        """Rows of weights as columns, by which errors go back."""
        b, sizes = self.b, self.network.sizes
        for i, turned in self.turned.items():
            with loop(b, 0, sizes[i - 1]) as k, loop(b, 0, sizes[i]) as j:
                turned.put(b, self.parameters[i - 1].number(b, k, j), j, k)

    def _samples(self, row: Any, first: Any, count: Any) -> tuple[Rows, Rows]:
        """Inputs and targets of a block."""
        b, sizes = self.b, self.network.sizes
        X, Y = Rows(self.given["X"], sizes[0]), Rows(self.given["Y"], full(sizes[-1]))
        if not self.is_shuffled:
            return X._replace(first=X.at(b, first)), Y._replace(first=Y.at(b, first))
        with loop(b, 0, count) as r:
            with loop(b, 0, sizes[0]) as i:
                self.x.put(b, X.number(b, row(r), i), r, i)
            with loop(b, 0, full(sizes[-1]), LANES) as j:
                self.y.put(b, Y.vector(b, row(r), j), r, j)
        return self.x, self.y

    def _forward(self, X: Rows, count: Any) -> None:
        """Activations of the hidden layers, and the logits."""
        b, sizes, n_layers = self.b, self.network.sizes, len(self.network.functions)
        nothing = spread(b, NUMBER(NOTHING))
        for i, name in enumerate(self.network.functions, start=1):
            below, bias = self.a[i - 1] if i > 1 else X, self.parameters[n_layers + i - 1]
            Z = self.a[i] if i < n_layers else self.logits
            products(
                b, self.tile,
                lambda r, t, below=below: below.everywhere(b, r, t),
                self.parameters[i - 1], (count, full(sizes[i])), sizes[i - 1],
                lambda r, j: nothing,
                lambda r, j, z, Z=Z, bias=bias: Z.put(
                    b, z + bias.vector(b, 0, j) * self.network.bias_input, r, j
                ),
            )  # fmt: skip
            if i < n_layers:
                with loop(b, 0, count) as r, loop(b, 0, full(sizes[i]), LANES) as j:
                    Z.put(b, _activated(name, Z.vector(b, r, j)), r, j)

    def _error(self, Y: Rows, row: Any, count: Any) -> None:
        """Outputs, their loss and dE/dz."""
        b, network = self.b, self.network
        outputs = Rows(self.given["outputs"], full(network.sizes[-1]))
        with loop(b, 0, count) as r:
            A = outputs._replace(first=outputs.at(b, row(r)))
            if network.functions[-1] == "softmax":
                self._softmax(A, r)
            else:
                with self._vectors() as j:
                    A.put(b, _activated(network.functions[-1], self.logits.vector(b, r, j)), 0, j)
            if network.loss == "half_squared":
                loss = self._half_squared(A, Y, r) * 0.5
            elif network.functions[-1] == "softmax":
                loss = self._categorical_cross_entropy(A, Y, r)
            else:
                loss = self._binary_cross_entropy(A, Y, r)
            b.store((Symbol(b, b.load(self.total)) + loss).value, self.total)

    def _vectors(self) -> Any:
        """A loop over the columns of the outputs."""
        return loop(self.b, 0, full(self.network.sizes[-1]), LANES)

    def _sum_of_terms(self) -> Symbol:
        """Of the outputs', in order."""
        b, total = self.b, kept(self.b, NUMBER, NUMBER(NOTHING))
        with loop(b, 0, self.network.sizes[-1]) as j:
            b.store((Symbol(b, b.load(total)) + self.terms.number(b, 0, j)).value, total)
        return Symbol(b, b.load(total))

    def _largest(self, r: Any) -> Symbol:
        """Of the row's logits; NaN if one is."""
        b, top = self.b, kept(self.b, NUMBER, self.logits.number(self.b, r).value)
        with loop(b, 1, self.network.sizes[-1]) as j:
            z, before = self.logits.number(b, r, j), Symbol(b, b.load(top))
            after = where(z > before, z, where(z == z, before, z))
            b.store(after.value, top)
        return spread(b, b.load(top))

    def _softmax(self, A: Rows, r: Any) -> None:
        b, top = self.b, self._largest(r)
        with self._vectors() as j:
            A.put(b, elementary.exp_of_difference(self.logits.vector(b, r, j), top), 0, j)
        total, lost = (kept(b, NUMBER, NUMBER(NOTHING)) for _ in range(2))
        with loop(b, 0, self.network.sizes[-1]) as k:
            before, power = Symbol(b, b.load(total)), A.number(b, 0, k)
            added = before + power
            more = Symbol(b, b.load(lost)) + elementary.sum_error(before, power, added)
            b.store(more.value, lost)
            b.store(added.value, total)
        whole_sum = (Symbol(b, b.load(total)) + Symbol(b, b.load(lost))).value
        with self._vectors() as j:
            A.put(b, A.vector(b, 0, j) / spread(b, whole_sum), 0, j)

    def _half_squared(self, A: Rows, Y: Rows, r: Any) -> Symbol:
        b, network, delta = self.b, self.network, self.delta[len(self.network.functions)]
        with self._vectors() as j:
            error = A.vector(b, 0, j) - Y.vector(b, r, j)
            delta.put(b, error, r, j)
            self.terms.put(b, error * error, 0, j)
        loss = self._sum_of_terms()
        with self._vectors() as j:
            error = ERRORS[network.error](delta.vector(b, r, j), network.dead_zone)
            a = A.vector(b, 0, j)
            if network.functions[-1] == "softmax":
                self.terms.put(b, error * a, 0, j)
            else:
                error = error * _slope(network, network.functions[-1], a)
            delta.put(b, error, r, j)
        if network.functions[-1] == "softmax":
            total = spread(b, self._sum_of_terms().value)
            with self._vectors() as j:
                delta.put(b, A.vector(b, 0, j) * (delta.vector(b, r, j) - total), r, j)
        return loss

    def _binary_cross_entropy(self, A: Rows, Y: Rows, r: Any) -> Symbol:
        b, delta = self.b, self.delta[len(self.network.functions)]
        with self._vectors() as j:
            z, y = self.logits.vector(b, r, j), Y.vector(b, r, j)
            delta.put(b, A.vector(b, 0, j) - y, r, j)
            soft = elementary.log1p(elementary.exp_of_negative(-abs(z)))
            self.terms.put(b, binary_cross_entropy(z, y, soft), 0, j)
        return self._sum_of_terms()

    def _categorical_cross_entropy(self, A: Rows, Y: Rows, r: Any) -> Symbol:
        b, delta, top = self.b, self.delta[len(self.network.functions)], self._largest(r)
        with self._vectors() as j:
            power = elementary.exp_of_negative(self.logits.vector(b, r, j) - top)
            self.terms.put(b, power, 0, j)
        spread_out = elementary.log(spread(b, self._sum_of_terms().value))
        with self._vectors() as j:
            y = Y.vector(b, r, j)
            delta.put(b, A.vector(b, 0, j) - y, r, j)
            self.terms.put(b, y * ((top - self.logits.vector(b, r, j)) + spread_out), 0, j)
        return self._sum_of_terms()

    def _backward(self, X: Rows, count: Any) -> None:
        """Adds the block's share to the gradient."""
        b, sizes, n_layers = self.b, self.network.sizes, len(self.network.functions)
        for i in range(n_layers, 0, -1):
            below, delta, gradient = self.a[i - 1] if i > 1 else X, self.delta[i], self.gradient
            products(
                b, self.tile,
                lambda k, t, below=below: below.everywhere(b, t, k),
                delta, (sizes[i - 1], full(sizes[i])), count,
                lambda k, j, g=gradient[i - 1]: g.vector(b, k, j),
                lambda k, j, total, g=gradient[i - 1]: g.put(b, total, k, j),
            )  # fmt: skip
            products(
                b, self.tile,
                lambda k, t: spread(b, NUMBER(1.0)),
                delta, (1, full(sizes[i])), count,
                lambda k, j, g=gradient[n_layers + i - 1]: g.vector(b, k, j),
                lambda k, j, total, g=gradient[n_layers + i - 1]: g.put(b, total, k, j),
            )  # fmt: skip
            if i > 1:
                nothing, name = spread(b, NUMBER(NOTHING)), self.network.functions[i - 2]
                products(
                    b, self.tile,
                    lambda r, t, delta=delta: delta.everywhere(b, r, t),
                    self.turned[i], (count, full(sizes[i - 1])), sizes[i],
                    lambda r, k, nothing=nothing: nothing,
                    lambda r, k, d, below=below, name=name, lower=self.delta[i - 1]: lower.put(
                        b, d * _slope(self.network, name, below.vector(b, r, k)), r, k
                    ),
                )  # fmt: skip

    def _update(self, rule: str, rate: Symbol, decays: bool, divides: bool) -> None:
        b, given, network = self.b, self.given, self.network
        formula, P = RULES[rule], size(network)
        settings = [
            Rows(given["settings"], 0).everywhere(b, 0, h) for h in range(len(formula.settings))
        ]
        decay, rates = spread(b, given["decay"]), spread(b, rate.value)
        divisors, slots = Rows(given["divisor"], 0), Rows(given["slots"], P)
        check = kept(b, REAL, spread(b, NUMBER(0.0)).value)
        at = 0
        for part, (n_in, n_out) in enumerate(network.shapes):
            is_bias = part >= len(network.functions)
            for first, last, is_real in _columns(b, n_out):
                with loop(b, 0, n_in) as k, loop(b, first, last, LANES) as j:
                    place = b.add(b.add(b.mul(k, INDEX(full(n_out))), j), INDEX(at))
                    w, g = (
                        rows[0].vector(b, 0, place) for rows in (self.parameters, self.gradient)
                    )
                    if is_bias:
                        g = g * network.bias_input
                    if decays:
                        g = g + decay * w
                    lr = rates / divisors.vector(b, 0, place) if divides else rates
                    old = [slots.vector(b, s, place) for s in range(len(formula.slots))]
                    after, *new = formula.update(w, g, *old, lr, *settings)
                    self.parameters[0].put(b, after, 0, place)
                    for s, slot in enumerate(new):
                        slots.put(b, slot, s, place)
                    seen = after * 0.0
                    if is_real is not None:
                        seen = where(is_real, seen, 0.0)
                    b.store((Symbol(b, b.load(check)) + seen).value, check)
            at += n_in * full(n_out)
        found = Symbol(b, b.load(check))
        total = Symbol(b, NUMBER(0.0))
        for lane in range(LANES):
            total = total + Symbol(b, b.extract_element(found.value, ir.IntType(32)(lane)))
        b.store(total.value, self.check)


def _columns(b: ir.IRBuilder, n_units: int) -> list[tuple[int, int, Symbol | None]]:
    """The whole vectors of units, and the last that is not, with which of its lanes are units."""
    body, left = n_units // LANES * LANES, n_units % LANES
    is_real = [lane < left for lane in range(LANES)]
    mask = Symbol(b, ir.Constant(ir.VectorType(ir.IntType(1), LANES), is_real))
    return [(0, body, None)] * (body > 0) + [(body, body + LANES, mask)] * (left > 0)


def _least(b: ir.IRBuilder, one: Any, other: Any) -> Any:
    return b.select(b.icmp_signed("<", one, other), one, other)


def _activated(name: str, z: Symbol) -> Symbol:
    found: Symbol = ACTIVATIONS[name].f(EXACT._replace(sigmoid=_sigmoid), z)  # type: ignore[arg-type]
    return found


def _sigmoid(z: Any) -> Any:
    """In fewer steps where no lane needs the more."""
    b = z.builder
    found, bits = kept(b, REAL), ir.IntType(LANES)
    moderate = b.bitcast((abs(z) <= elementary.MODERATE).value, bits)
    with b.if_else(b.icmp_unsigned("==", moderate, bits(-1))) as (moderately, otherwise):
        with moderately:
            b.store(elementary.sigmoid_of_moderate(z).value, found)
        with otherwise:
            b.store(elementary.sigmoid(z).value, found)
    return Symbol(b, b.load(found))


def _slope(network: Network, name: str, a: Symbol) -> Any:
    """What an error is multiplied by on its way through a unit."""
    derivative: Any = 1.0 if name == "identity" else ACTIVATIONS[name].derivative(a)  # type: ignore
    return derivative + network.offset
