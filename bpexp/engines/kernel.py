"""The compiled engine's loops.

The formulas are those of ``bpexp.nn``, compiled here for vectors of lanes; the loops put
them together in the reference engine's order of operations. Lanes are taken a strip at a
time, as many as a vector has: an epoch of a strip works on rows that stay in the
processor's first caches. Nothing is reordered or fused, so the bits are those of NumPy.
"""

# What numba compiles is typed by numba.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from typing import Any

import numba
import numpy as np
from numba.extending import register_jitable

from bpexp.engines.layout import ACTIVATIONS, ERRORS, LANES, LOSSES, NO_PATIENCE, RECENT, RULES
from bpexp.engines.vectors import all_of, broadcast, load, store
from bpexp.nn import activations, elementary, losses, optimizers
from bpexp.nn.elementary import (
    MODERATE,
    exp_of_difference,
    exp_of_negative,
    log,
    log1p,
    sigmoid,
    sigmoid_of_moderate,
    sum_error,
    tanh,
)
from bpexp.nn.ieee import where

SIGMOID, SYMMETRIC, TANH, SOFTSIGN, RELU, IDENTITY, SOFTMAX = range(len(ACTIVATIONS))
HALF_SQUARED, CROSS_ENTROPY = range(len(LOSSES))
LINEAR, ARCTANH = range(len(ERRORS))
DESCENT, MOMENTUM, NESTEROV, RMSPROP, ADAM, RPROP, QUICKPROP = range(len(RULES))
RUNNING, CONVERGED, STALLED, DIVERGED = range(4)

for module in (elementary, activations, losses, optimizers):
    for formula in vars(module).copy().values():
        if getattr(formula, "__module__", "") == module.__name__ and hasattr(formula, "__code__"):
            register_jitable(forceinline=True)(formula)

# Views of arrays are counted by atomic instructions unless told otherwise; nothing here
# allocates, so nothing needs counting.
options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
jit: Any = numba.njit(**options)
inlined: Any = numba.njit(forceinline=True, **options)
sigmoid_derivative = activations.sigmoid_derivative
symmetric_sigmoid_derivative = activations.symmetric_sigmoid_derivative
tanh_derivative = activations.tanh_derivative
softsign, softsign_derivative = activations.softsign, activations.softsign_derivative
relu, relu_derivative = activations.relu, activations.relu_derivative
binary_cross_entropy = losses.binary_cross_entropy
linear_error, arctanh_error = losses.linear_error, losses.arctanh_error


@inlined
def copy(Z, A, count):
    """The first ``count`` rows of Z = those of A."""
    for r in range(count):
        store(Z, r, load(A, r))


@inlined
def one_sum(Z, z, fresh, P, p, dp, Q, q, dq, count):
    """Z[z] = sum_t P[p + t dp] Q[q + t dq], added in order; to what is there unless ``fresh``."""
    a = load(P, p) * load(Q, q) if fresh else load(Z, z)
    for t in range(1 if fresh else 0, count):
        a = a + load(P, p + t * dp) * load(Q, q + t * dq)
    store(Z, z, a)


@inlined
def two_sums(Z, z, zv, fresh, P, p, dp, Q, q, qv, dq, count):
    """The same for the rows z and z + zv, with Q from q and q + qv."""
    y, r = z + zv, q + qv
    if fresh:
        v = load(P, p)
        a, b = v * load(Q, q), v * load(Q, r)
    else:
        a, b = load(Z, z), load(Z, y)
    for t in range(1 if fresh else 0, count):
        v = load(P, p + t * dp)
        a = a + v * load(Q, q + t * dq)
        b = b + v * load(Q, r + t * dq)
    store(Z, z, a)
    store(Z, y, b)


@inlined
def four_sums(Z, z, zu, zv, fresh, P, p, pu, dp, Q, q, qv, dq, count):
    """The same for two rows of P, p and p + pu, with two of Q: each that is loaded serves twice."""
    o, r = p + pu, q + qv
    if fresh:
        u, v, w, x = load(P, p), load(P, o), load(Q, q), load(Q, r)
        a, b, c, d = u * w, u * x, v * w, v * x
    else:
        a, b = load(Z, z), load(Z, z + zv)
        c, d = load(Z, z + zu), load(Z, z + zu + zv)
    for t in range(1 if fresh else 0, count):
        u, v = load(P, p + t * dp), load(P, o + t * dp)
        w, x = load(Q, q + t * dq), load(Q, r + t * dq)
        a = a + u * w
        b = b + u * x
        c = c + v * w
        d = d + v * x
    store(Z, z, a)
    store(Z, z + zv, b)
    store(Z, z + zu, c)
    store(Z, z + zu + zv, d)


@jit
def products(Z, z, zu, zv, fresh, P, p, pu, dp, n_u, Q, q, qv, dq, n_v, count):
    """Z[z + u zu + v zv] = sum_t P[p + u pu + t dp] Q[q + v qv + t dq], u < n_u, v < n_v.

    The ``count`` terms are added in order, to what is there unless ``fresh``.
    """
    for u in range(0, n_u - 1, 2):
        for v in range(0, n_v - 1, 2):
            four_sums(
                Z, z + u * zu + v * zv, zu, zv, fresh,
                P, p + u * pu, pu, dp, Q, q + v * qv, qv, dq, count,
            )  # fmt: skip
        if n_v % 2:
            v = n_v - 1
            two_sums(
                Z, z + u * zu + v * zv, zu, fresh, Q, q + v * qv, dq, P, p + u * pu, pu, dp, count
            )
    if n_u % 2:
        u = n_u - 1
        for v in range(0, n_v - 1, 2):
            two_sums(
                Z, z + u * zu + v * zv, zv, fresh, P, p + u * pu, dp, Q, q + v * qv, qv, dq, count
            )
        if n_v % 2:
            v = n_v - 1
            one_sum(Z, z + u * zu + v * zv, fresh, P, p + u * pu, dp, Q, q + v * qv, dq, count)


@inlined
def sums(Z, z, fresh, Q, q, count):
    """Z[z] = sum_t Q[q + t], added in order; to what is there unless ``fresh``."""
    a = load(Q, q) if fresh else load(Z, z)
    for t in range(1 if fresh else 0, count):
        a = a + load(Q, q + t)
    store(Z, z, a)


@inlined
def activation(z, code):
    """f(z); for softmax, which mixes units, only z."""
    if code == SIGMOID:
        return sigmoid_of_moderate(z) if all_of(abs(z) <= MODERATE) else sigmoid(z)
    if code == SYMMETRIC:
        return sigmoid(z) - 0.5
    if code == TANH:
        return tanh(z)
    if code == SOFTSIGN:
        return softsign(z)
    if code == RELU:
        return relu(z)
    return z


@inlined
def slope(a, code):
    """f' by the activation a."""
    if code == SIGMOID:
        return sigmoid_derivative(a)
    if code == SYMMETRIC:
        return symmetric_sigmoid_derivative(a)
    if code == TANH:
        return tanh_derivative(a)
    if code == SOFTSIGN:
        return softsign_derivative(a)
    if code == RELU:
        return relu_derivative(a)
    return broadcast(1.0)


@jit
def largest(Z, first, step, count):
    """The largest of the rows first, first + step, ...; NaN if one is."""
    top = load(Z, first)
    for j in range(1, count):
        z = load(Z, first + j * step)
        top = where(z > top, z, where(z == z, top, z))
    return top


@jit
def softmax(A, first, step, count):
    """exp(z - max) over its sum in place of z, the rows first, first + step, ...

    ``lost`` adds up what the sum loses.
    """
    top = largest(A, first, step, count)
    total, lost = exp_of_difference(load(A, first), top), broadcast(0.0)
    store(A, first, total)
    for j in range(1, count):
        e = exp_of_difference(load(A, first + j * step), top)
        store(A, first + j * step, e)
        added = total + e
        lost = lost + sum_error(total, e, added)
        total = added
    for j in range(count):
        store(A, first + j * step, load(A, first + j * step) / (total + lost))


@jit
def softmax_jacobian(D, A, first, step, count):
    """d = a (d - sum_k d_k a_k), over the rows first, first + step, ..."""
    total = load(D, first) * load(A, first)
    for j in range(1, count):
        total = total + load(D, first + j * step) * load(A, first + j * step)
    for j in range(count):
        r = first + j * step
        store(D, r, load(A, r) * (load(D, r) - total))


@jit
def error_signals(D, first, step, count, error, dead_zone):
    """D = the error signal of the differences in D."""
    for j in range(count):
        r = first + j * step
        if error == LINEAR:
            store(D, r, linear_error(load(D, r), dead_zone))
        else:
            store(D, r, arctanh_error(load(D, r), dead_zone))


@inlined
def squared_error(D, A, first, step, T, y, count, code, error, dead_zone, offset):
    """The sum of one sample's squared errors; D = dE/dz of the outputs."""
    e = load(A, first) - load(T, y)
    store(D, first, e)
    row = e * e
    for j in range(1, count):
        e = load(A, first + j * step) - load(T, y + j)
        store(D, first + j * step, e)
        row = row + e * e
    if error != LINEAR or dead_zone != 0.0:
        error_signals(D, first, step, count, error, dead_zone)
    if code == SOFTMAX:
        softmax_jacobian(D, A, first, step, count)
    else:
        for j in range(count):
            r = first + j * step
            store(D, r, load(D, r) * (slope(load(A, r), code) + offset))
    return row


@jit
def cross_entropy(D, Z, z, A, first, step, T, y, count):
    """The loss of one sample's sigmoid outputs; D = a - y."""
    row = broadcast(0.0)
    for j in range(count):
        v, t = load(Z, z + j * step), load(T, y + j)
        store(D, first + j * step, load(A, first + j * step) - t)
        term = binary_cross_entropy(v, t, log1p(exp_of_negative(-abs(v))))
        row = term if j == 0 else row + term
    return row


@jit
def categorical_cross_entropy(D, Z, z, A, first, step, T, y, count):
    """D = a - y; the loss is the sum over outputs of y ((max - z) + ln sum exp(z - max))."""
    top = largest(Z, z, step, count)
    spread = exp_of_negative(load(Z, z) - top)
    for j in range(1, count):
        spread = spread + exp_of_negative(load(Z, z + j * step) - top)
    spread = log(spread)
    row = broadcast(0.0)
    for j in range(count):
        t = load(T, y + j)
        store(D, first + j * step, load(A, first + j * step) - t)
        term = t * ((top - load(Z, z + j * step)) + spread)
        row = term if j == 0 else row + term
    return row


@inlined
def descend(w, gradient, rates, divisor, decays, decay):
    """One step of gradient descent on every parameter."""
    for p in range(len(w)):
        g, rate = load(gradient, p), rates
        if divisor[p] != 1.0:
            rate = rates / divisor[p]
        if decays:
            g = g + decay * load(w, p)
        store(w, p, optimizers.gradient_descent(load(w, p), g, rate))


@jit
def update(rule, w, gradient, slots, settings, rates, divisor, decays, decay):
    """One step of another rule on every parameter; slot i of parameter p is row i P + p."""
    P = len(w)
    h = settings
    for p in range(P):
        v, g = load(w, p), load(gradient, p)
        rate = rates / divisor[p]
        if decays:
            g = g + decay * v
        if rule == MOMENTUM:
            v, s = optimizers.momentum(v, g, load(slots, p), rate, load(h, 0))
            store(slots, p, s)
        elif rule == NESTEROV:
            v, s = optimizers.nesterov(v, g, load(slots, p), rate, load(h, 0))
            store(slots, p, s)
        elif rule == RMSPROP:
            v, s = optimizers.rmsprop(v, g, load(slots, p), rate, load(h, 0), load(h, 1))
            store(slots, p, s)
        elif rule == ADAM:
            v, s, t, first, second = optimizers.adam(
                v, g, load(slots, p), load(slots, P + p), load(slots, 2 * P + p),
                load(slots, 3 * P + p), rate, load(h, 0), load(h, 1), load(h, 2),
            )  # fmt: skip
            store(slots, p, s)
            store(slots, P + p, t)
            store(slots, 2 * P + p, first)
            store(slots, 3 * P + p, second)
        elif rule == RPROP:
            v, s, t = optimizers.rprop(
                v, g, load(slots, p), load(slots, P + p), rate,
                load(h, 0), load(h, 1), load(h, 2), load(h, 3),
            )  # fmt: skip
            store(slots, p, s)
            store(slots, P + p, t)
        else:
            v, s, t = optimizers.quickprop(
                v, g, load(slots, p), load(slots, P + p), rate, load(h, 0)
            )
            store(slots, p, s)
            store(slots, P + p, t)
        store(w, p, v)


@jit
def turn(losses, recent, done):
    """Writes the latest up to RECENT of ``done`` epochs' losses, a row each, as columns."""
    first = (done - 1) // RECENT * RECENT
    for k in range(len(losses)):
        curve = losses[k]
        for epoch in range(first, done):
            curve[epoch] = recent[epoch - first, k]


@jit
def judge(loss, wrong, stop_loss, patience, best, waited, endings):
    """See ``reference.judge``; ``wrong`` counts outputs that are not correct."""
    ended = False
    for k in range(LANES):
        if loss[k] < best[k]:
            best[k] = loss[k]
            waited[k] = 0
        else:
            waited[k] += 1
        if not np.isfinite(loss[k]):
            endings[k] = DIVERGED
        elif loss[k] <= stop_loss[k] or wrong[k] == 0.0:
            endings[k] = CONVERGED
        elif waited[k] >= patience[k]:
            endings[k] = STALLED
        ended = ended or endings[k] != RUNNING
    return ended


@jit
def judge_loss(loss, endings):
    """The same where no stopping rule is set: only a loss that is not finite ends a lane."""
    for k in range(LANES):
        if not np.isfinite(loss[k]):
            endings[k] = DIVERGED
    return True


@jit
def judge_parameters(w, endings, stopped):
    """Ends the lanes that go on and have a parameter not finite; whether there are some."""
    ended = False
    for k in range(LANES):
        broken = 0.0
        for p in range(len(w)):
            broken += w[p, k] * 0.0
        if broken != 0.0 and endings[k] == RUNNING:
            endings[k] = DIVERGED
            for p in range(len(w)):
                stopped[p, k] = w[p, k]
            ended = True
    return ended


@jit
def forward(sizes, functions, places, bias_input, x, shared, start, count, B, w, A, Z, logits):
    """Activations of ``count`` samples, the first of them ``start`` in ``x`` where it is shared;
    with ``logits`` also Z of the last layer.
    """
    first, bias, unit = places[0], places[1], places[2]
    layers = len(functions)
    for i in range(layers):
        n_in, n_out, below, above = sizes[i], sizes[i + 1], unit[i] * B, unit[i + 1] * B
        if i == 0 and shared:
            products(
                A, above, B, 1, True, w, first[i], 1, n_out, n_out,
                x, start * n_in, n_in, 1, count, n_in,
            )  # fmt: skip
        else:
            products(
                A, above, B, 1, True, w, first[i], 1, n_out, n_out, A, below, 1, B, count, n_in
            )
        for j in range(n_out):
            b = bias_input * load(w, bias[i] + j)
            for s in range(count):
                r = above + j * B + s
                z = load(A, r) + b
                if logits and i == layers - 1:
                    store(Z, j * B + s, z)
                store(A, r, activation(z, functions[i]))
        if functions[i] == SOFTMAX:
            for s in range(count):
                softmax(A, above + s, B, n_out)


@jit
def backward(
    sizes, functions, places, offset, x, shared, start, count, B, w, A, D, gradient, fresh
):
    """The gradient by D of the last layer, added to what it is unless ``fresh``."""
    first, bias, unit = places[0], places[1], places[2]
    for i in range(len(functions) - 1, -1, -1):
        n_in, n_out, below, above = sizes[i], sizes[i + 1], unit[i] * B, unit[i + 1] * B
        if i == 0 and shared:
            products(
                gradient, first[i], n_out, 1, fresh, x, start * n_in, 1, n_in, n_in,
                D, above, B, 1, n_out, count,
            )  # fmt: skip
        else:
            products(
                gradient, first[i], n_out, 1, fresh, A, below, B, 1, n_in,
                D, above, B, 1, n_out, count,
            )  # fmt: skip
        for j in range(n_out):
            sums(gradient, bias[i] + j, fresh, D, above + j * B, count)
        if i > 0:
            products(
                D, below, B, 1, True, w, first[i], n_out, 1, n_in, D, above, 1, B, count, n_out
            )
            for m in range(n_in):
                for s in range(count):
                    r = below + m * B + s
                    store(D, r, load(D, r) * (slope(load(A, r), functions[i - 1]) + offset))


def advance(
    sizes, functions, loss, error, dead_zone, offset, bias_input,
    X, x, Y, rule, divisor, decays, batch_size, block_size, factors, orders, watch,
    parameters, slots, settings, lr, decay,
    stop_loss, stop_correct, patience, best, waited, outputs,
    losses, endings, stopped, work, places,
):  # fmt: skip
    """Runs epochs until one ends a lane or all are done; returns how many were run.

    What belongs to lanes is (strips, rows, LANES). ``losses``, a row a lane, ``endings`` and
    ``stopped`` are filled in; see ``problem.Progress``. Only with ``watch`` are the parameters
    looked at after every epoch for ones not finite. Samples are taken in blocks of
    ``block_size`` within a batch; row ``u * block_size + s`` of A and D is unit u's for the
    block's sample s. ``x`` is X in one row; ``work`` is room for ``layout.work_rows`` rows,
    ``places`` zeros, (3, layers + 1).
    """
    n_strips, P = parameters.shape[:2]
    S, F = X.shape
    outs, layers, B = Y.shape[1], len(functions), block_size
    shared = len(orders) == 0
    # Where each layer's weights, biases and units begin.
    first, bias, unit = places[0], places[1], places[2]
    at = 0
    for i in range(layers):
        first[i] = at
        at += sizes[i] * sizes[i + 1]
        unit[i + 1] = unit[i] + sizes[i]
    for i in range(layers):
        bias[i] = at
        at += sizes[i + 1]
    last, code = unit[layers], functions[layers - 1]
    rows = (last + outs) * B
    A, D, at = work[:rows], work[rows : 2 * rows], 2 * rows
    Z, at = work[at : at + outs * B], at + outs * B
    gradient, at = work[at : at + P], at + P
    # Targets by output and lane, in the samples' order.
    T, at = work[at : at + S * outs], at + S * outs
    recent, wrong = work[at : at + RECENT * n_strips], work[at + RECENT * n_strips :]
    if shared:
        for s in range(S * outs):
            store(T, s, broadcast(Y[s // outs, s % outs]))
    checks, rules = False, False
    for strip in range(n_strips):
        for k in range(LANES):
            checks = checks or stop_correct[strip, 0, k] > 0.0
            rules = rules or stop_loss[strip, 0, k] >= 0.0 or patience[strip, 0, k] < NO_PATIENCE
    rules = rules or checks
    half = 0.5 if loss == HALF_SQUARED else 1.0
    for epoch in range(len(factors)):
        any_ended = False
        for strip in range(n_strips):
            w, kept = parameters[strip], outputs[strip]
            rates = load(lr[strip], 0) * factors[epoch]
            limit = load(stop_correct[strip], 0)
            total, missed = broadcast(0.0), broadcast(0.0 if checks else 1.0)
            ended = False
            start, batch_end = 0, 0
            while start < S:
                is_first = start == batch_end
                if is_first:
                    batch_end = min(start + batch_size, S)
                stop = min(start + B, batch_end)
                count = stop - start
                if not shared:
                    for s in range(count):
                        for k in range(LANES):
                            chosen = orders[epoch, start + s, strip * LANES + k]
                            for i in range(F):
                                A[i * B + s, k] = X[chosen, i]
                            for j in range(outs):
                                T[(start + s) * outs + j, k] = Y[chosen, j]
                # 1. forward pass
                forward(
                    sizes, functions, places, bias_input, x, shared, start, count, B,
                    w, A, Z, loss == CROSS_ENTROPY,
                )  # fmt: skip
                # 2. error
                for s in range(count):
                    r, y = last * B + s, (start + s) * outs
                    if loss == HALF_SQUARED:
                        row = squared_error(D, A, r, B, T, y, outs, code, error, dead_zone, offset)
                    elif code == SOFTMAX:
                        row = categorical_cross_entropy(D, Z, s, A, r, B, T, y, outs)
                    else:
                        row = cross_entropy(D, Z, s, A, r, B, T, y, outs)
                    total = half * row if start + s == 0 else total + half * row
                    if checks:
                        for j in range(outs):
                            off = abs(load(A, r + j * B) - load(T, y + j))
                            missed = missed + where(off < limit, 0.0, 1.0)
                    if not shared:
                        for j in range(outs):
                            for k in range(LANES):
                                chosen = orders[epoch, start + s, strip * LANES + k]
                                kept[chosen * outs + j, k] = A[r + j * B, k]
                    elif B < S or epoch == len(factors) - 1:
                        for j in range(outs):
                            store(kept, y + j, load(A, r + j * B))
                if stop == S:
                    now = RECENT * strip + epoch % RECENT
                    if loss == HALF_SQUARED:
                        store(recent, now, 2.0 * total / (S * outs))
                    else:
                        store(recent, now, total / S)
                    if rules:
                        store(wrong, 0, missed)
                        ended = judge(
                            recent[now], wrong[0], stop_loss[strip, 0], patience[strip, 0],
                            best[strip, 0], waited[strip, 0], endings[strip],
                        )  # fmt: skip
                    elif not all_of(load(recent, now) * 0.0 == 0.0):
                        ended = judge_loss(recent[now], endings[strip])
                    if ended:
                        copy(stopped[strip], w, P)
                # 3. backward pass
                backward(
                    sizes, functions, places, offset, x, shared, start, count, B,
                    w, A, D, gradient, is_first,
                )  # fmt: skip
                # 4. update
                if stop == batch_end:
                    if bias_input != 1.0:
                        for p in range(bias[0], P):
                            store(gradient, p, bias_input * load(gradient, p))
                    if rule == DESCENT:
                        descend(w, gradient, rates, divisor, decays, load(decay[strip], 0))
                    else:
                        update(
                            rule, w, gradient, slots[strip], settings[strip], rates, divisor,
                            decays, load(decay[strip], 0),
                        )  # fmt: skip
                start = stop
            if watch:
                ended = judge_parameters(w, endings[strip], stopped[strip]) or ended
            if ended:
                any_ended = True
                if shared and B >= S:
                    # All samples are in the one block that A holds.
                    for s in range(S):
                        for j in range(outs):
                            store(kept, s * outs + j, load(A, (last + j) * B + s))
        done = epoch + 1
        if any_ended or done % RECENT == 0 or done == len(factors):
            for strip in range(n_strips):
                turn(
                    losses[strip * LANES : (strip + 1) * LANES],
                    recent[RECENT * strip : RECENT * (strip + 1)], done,
                )  # fmt: skip
        if any_ended:
            return done
    return len(factors)
