"""The compiled engine's loops.

The formulas are those of ``bpexp.nn``, compiled here for single numbers; the loops put
them together in the reference engine's order of operations. Each stage is a flat loop
over lanes, which LLVM turns into vector instructions; without fast-math it neither
reorders nor fuses operations, so the bits are those of NumPy.
"""

# What numba compiles is typed by numba.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

import itertools
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba.extending import overload, register_jitable

from bpexp.nn import activations, elementary, ieee, losses, optimizers
from bpexp.nn.elementary import (
    exp_of_difference,
    exp_of_negative,
    log,
    log1p,
    sigmoid,
    sum_error,
    tanh,
)

ACTIVATIONS = ("sigmoid", "symmetric_sigmoid", "tanh", "softsign", "relu", "identity", "softmax")
SIGMOID, SYMMETRIC, TANH, SOFTSIGN, RELU, IDENTITY, SOFTMAX = range(7)
LOSSES = ("half_squared", "cross_entropy")
HALF_SQUARED, CROSS_ENTROPY = range(2)
ERRORS = ("linear", "arctanh")
LINEAR, ARCTANH = range(2)
RULES = ("gradient_descent", "momentum", "nesterov", "rmsprop", "adam", "rprop", "quickprop")
DESCENT, MOMENTUM, NESTEROV, RMSPROP, ADAM, RPROP, QUICKPROP = range(7)
RUNNING, CONVERGED, STALLED, DIVERGED = range(4)
NO_PATIENCE = 2**62
RECENT = 8
"""Epochs whose losses are turned from rows to columns at once: a cache line of each lane's."""

for module in (elementary, activations, losses, optimizers):
    for formula in vars(module).copy().values():
        if getattr(formula, "__module__", "") == module.__name__ and hasattr(formula, "__code__"):
            register_jitable(formula)


@overload(ieee.where)
def _where(condition, yes, no):
    return lambda condition, yes, no: yes if condition else no


@overload(ieee.to_bits)
def _to_bits(x):
    return lambda x: np.float64(x).view(np.int64)


@overload(ieee.from_bits)
def _from_bits(bits):
    return lambda bits: np.int64(bits).view(np.float64)


# Views of arrays are counted by atomic instructions unless told otherwise; nothing here
# allocates, so nothing needs counting.
options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
jit: Any = numba.njit(cache=True, **options)
inlined: Any = numba.njit(forceinline=True, **options)
sigmoid_derivative = activations.sigmoid_derivative
symmetric_sigmoid_derivative = activations.symmetric_sigmoid_derivative
tanh_derivative = activations.tanh_derivative
softsign, softsign_derivative = activations.softsign, activations.softsign_derivative
relu, relu_derivative = activations.relu, activations.relu_derivative
binary_cross_entropy = losses.binary_cross_entropy
linear_error, arctanh_error = losses.linear_error, losses.arctanh_error


@inlined
def copy(z, a):
    """z = a."""
    for k in range(len(z)):
        z[k] = a[k]


@inlined
def fill(z, number):
    """z = number."""
    for k in range(len(z)):
        z[k] = number


@inlined
def products(z, fresh, P, p, dp, Q, q, dq, count):
    """z = sum_t P[p + t dp] Q[q + t dq], added in order; to what z is, unless ``fresh``."""
    n, t = len(z), 0
    if fresh:
        a, b = P[p], Q[q]
        if count == 1:
            for k in range(n):
                z[k] = a[k] * b[k]
            return
        c, d = P[p + dp], Q[q + dq]
        t = 2
        if count >= 4:
            e, f, g, h = P[p + 2 * dp], Q[q + 2 * dq], P[p + 3 * dp], Q[q + 3 * dq]
            for k in range(n):
                z[k] = ((a[k] * b[k] + c[k] * d[k]) + e[k] * f[k]) + g[k] * h[k]
            t = 4
        else:
            for k in range(n):
                z[k] = a[k] * b[k] + c[k] * d[k]
    while t < count:
        a, b = P[p + t * dp], Q[q + t * dq]
        if t + 1 == count:
            for k in range(n):
                z[k] += a[k] * b[k]
            return
        c, d = P[p + (t + 1) * dp], Q[q + (t + 1) * dq]
        if t + 3 < count:
            e, f = P[p + (t + 2) * dp], Q[q + (t + 2) * dq]
            g, h = P[p + (t + 3) * dp], Q[q + (t + 3) * dq]
            for k in range(n):
                z[k] = (((z[k] + a[k] * b[k]) + c[k] * d[k]) + e[k] * f[k]) + g[k] * h[k]
            t += 4
        else:
            for k in range(n):
                z[k] = (z[k] + a[k] * b[k]) + c[k] * d[k]
            t += 2


@inlined
def scaled(z, fresh, x, p, dp, Q, q, dq, count):
    """The same with numbers x[p + t dp] that all lanes share."""
    n, t = len(z), 0
    if fresh:
        a, b = x[p], Q[q]
        if count == 1:
            for k in range(n):
                z[k] = a * b[k]
            return
        c, d = x[p + dp], Q[q + dq]
        t = 2
        if count >= 4:
            e, f, g, h = x[p + 2 * dp], Q[q + 2 * dq], x[p + 3 * dp], Q[q + 3 * dq]
            for k in range(n):
                z[k] = ((a * b[k] + c * d[k]) + e * f[k]) + g * h[k]
            t = 4
        else:
            for k in range(n):
                z[k] = a * b[k] + c * d[k]
    while t < count:
        a, b = x[p + t * dp], Q[q + t * dq]
        if t + 1 == count:
            for k in range(n):
                z[k] += a * b[k]
            return
        c, d = x[p + (t + 1) * dp], Q[q + (t + 1) * dq]
        if t + 3 < count:
            e, f = x[p + (t + 2) * dp], Q[q + (t + 2) * dq]
            g, h = x[p + (t + 3) * dp], Q[q + (t + 3) * dq]
            for k in range(n):
                z[k] = (((z[k] + a * b[k]) + c * d[k]) + e * f[k]) + g * h[k]
            t += 4
        else:
            for k in range(n):
                z[k] = (z[k] + a * b[k]) + c * d[k]
            t += 2


@inlined
def sums(z, fresh, Q, q, count):
    """z = sum_t Q[q + t], added in order; to what z is, unless ``fresh``."""
    n, t = len(z), 0
    if fresh:
        copy(z, Q[q])
        t = 1
    while t < count:
        a = Q[q + t]
        if t + 2 < count:
            b, c = Q[q + t + 1], Q[q + t + 2]
            for k in range(n):
                z[k] = ((z[k] + a[k]) + b[k]) + c[k]
            t += 3
        else:
            for k in range(n):
                z[k] += a[k]
            t += 1


@inlined
def activate(a, z, b, bias_input, code):
    """a = f(z) of one unit, its bias added to z first; for softmax only that."""
    n = len(z)
    if code == SIGMOID:
        for k in range(n):
            v = z[k] + bias_input * b[k]
            z[k] = v
            a[k] = sigmoid(v)
    elif code == SYMMETRIC:
        for k in range(n):
            v = z[k] + bias_input * b[k]
            z[k] = v
            a[k] = sigmoid(v) - 0.5
    elif code == TANH:
        for k in range(n):
            v = z[k] + bias_input * b[k]
            z[k] = v
            a[k] = tanh(v)
    elif code == SOFTSIGN:
        for k in range(n):
            v = z[k] + bias_input * b[k]
            z[k] = v
            a[k] = softsign(v)
    elif code == RELU:
        for k in range(n):
            v = z[k] + bias_input * b[k]
            z[k] = v
            a[k] = relu(v)
    else:
        for k in range(n):
            v = z[k] + bias_input * b[k]
            z[k] = v
            a[k] = v


@inlined
def slope(d, a, code, offset):
    """d = d (f' + offset) of one unit, with f' by its activation a."""
    n = len(d)
    if code == SIGMOID:
        for k in range(n):
            d[k] = d[k] * (sigmoid_derivative(a[k]) + offset)
    elif code == SYMMETRIC:
        for k in range(n):
            d[k] = d[k] * (symmetric_sigmoid_derivative(a[k]) + offset)
    elif code == TANH:
        for k in range(n):
            d[k] = d[k] * (tanh_derivative(a[k]) + offset)
    elif code == SOFTSIGN:
        for k in range(n):
            d[k] = d[k] * (softsign_derivative(a[k]) + offset)
    elif code == RELU:
        for k in range(n):
            d[k] = d[k] * (relu_derivative(a[k]) + offset)
    else:
        for k in range(n):
            d[k] = d[k] * (1.0 + offset)


@jit
def largest(top, Z, first, step, count):
    """The largest of the rows first, first + step, ...; NaN if one is."""
    copy(top, Z[first])
    for j in range(1, count):
        z = Z[first + j * step]
        for k in range(len(top)):
            top[k] = z[k] if z[k] > top[k] or z[k] != z[k] else top[k]


@jit
def softmax(A, Z, first, step, count, top, total, lost):
    """exp(z - max) over its sum, over the rows first, first + step, ...

    ``lost`` adds up what the sum loses.
    """
    n = len(top)
    largest(top, Z, first, step, count)
    for j in range(count):
        a, z = A[first + j * step], Z[first + j * step]
        for k in range(n):
            e = exp_of_difference(z[k], top[k])
            a[k] = e
            before = 0.0 if j == 0 else total[k]
            total[k] = e if j == 0 else before + e
            lost[k] = 0.0 if j == 0 else lost[k] + sum_error(before, e, total[k])
    for j in range(count):
        a = A[first + j * step]
        for k in range(n):
            a[k] = a[k] / (total[k] + lost[k])


@jit
def softmax_jacobian(D, A, first, step, count, total):
    """d = a (d - sum_k d_k a_k), over the rows first, first + step, ..."""
    n = len(total)
    for j in range(count):
        d, a = D[first + j * step], A[first + j * step]
        for k in range(n):
            total[k] = d[k] * a[k] if j == 0 else total[k] + d[k] * a[k]
    for j in range(count):
        d, a = D[first + j * step], A[first + j * step]
        for k in range(n):
            d[k] = a[k] * (d[k] - total[k])


@inlined
def squared_error(d, row, a, y, error, dead_zone, fresh):
    """d = the error signal of one output; adds its squared error to ``row``."""
    n = len(d)
    if error == LINEAR and dead_zone == 0.0:
        for k in range(n):
            e = a[k] - y[k]
            d[k] = e
            row[k] = e * e if fresh else row[k] + e * e
        return
    for k in range(n):
        e = a[k] - y[k]
        row[k] = e * e if fresh else row[k] + e * e
    if error == LINEAR:
        for k in range(n):
            d[k] = linear_error(a[k] - y[k], dead_zone)
    else:
        for k in range(n):
            d[k] = arctanh_error(a[k] - y[k], dead_zone)


@jit
def cross_entropy(d, row, z, a, y, fresh):
    """d = a - y of one sigmoid output; adds its loss to ``row``."""
    for k in range(len(d)):
        d[k] = a[k] - y[k]
        term = binary_cross_entropy(z[k], y[k], log1p(exp_of_negative(-abs(z[k]))))
        row[k] = term if fresh else row[k] + term


@jit
def categorical_cross_entropy(D, row, Z, A, Y, y, first, step, count, top, spread):
    """d = a - y; the loss is the sum over outputs of y ((max - z) + ln sum exp(z - max))."""
    n = len(row)
    largest(top, Z, first, step, count)
    for j in range(count):
        z = Z[first + j * step]
        for k in range(n):
            e = exp_of_negative(z[k] - top[k])
            spread[k] = e if j == 0 else spread[k] + e
    for k in range(n):
        spread[k] = log(spread[k])
    for j in range(count):
        d, z, a, t = D[first + j * step], Z[first + j * step], A[first + j * step], Y[y + j]
        for k in range(n):
            d[k] = a[k] - t[k]
            term = t[k] * ((top[k] - z[k]) + spread[k])
            row[k] = term if j == 0 else row[k] + term


@jit
def update(rule, parameters, gradient, slots, settings, rates, divisor, decays, decay, divided):
    """One step of the rule on every parameter."""
    P, n = parameters.shape
    h = settings
    for p in range(P):
        w, g, rate = parameters[p], gradient[p], rates
        if divisor[p] != 1.0:
            rate = divided
            for k in range(n):
                rate[k] = rates[k] / divisor[p]
        if decays:
            for k in range(n):
                g[k] = g[k] + decay[k] * w[k]
        if rule == DESCENT:
            for k in range(n):
                w[k] = optimizers.gradient_descent(w[k], g[k], rate[k])
        elif rule == MOMENTUM:
            s = slots[0, p]
            for k in range(n):
                w[k], s[k] = optimizers.momentum(w[k], g[k], s[k], rate[k], h[0, k])
        elif rule == NESTEROV:
            s = slots[0, p]
            for k in range(n):
                w[k], s[k] = optimizers.nesterov(w[k], g[k], s[k], rate[k], h[0, k])
        elif rule == RMSPROP:
            s = slots[0, p]
            for k in range(n):
                w[k], s[k] = optimizers.rmsprop(w[k], g[k], s[k], rate[k], h[0, k], h[1, k])
        elif rule == ADAM:
            s, t, u, v = slots[0, p], slots[1, p], slots[2, p], slots[3, p]
            for k in range(n):
                w[k], s[k], t[k], u[k], v[k] = optimizers.adam(
                    w[k], g[k], s[k], t[k], u[k], v[k], rate[k], h[0, k], h[1, k], h[2, k]
                )
        elif rule == RPROP:
            s, t = slots[0, p], slots[1, p]
            for k in range(n):
                w[k], s[k], t[k] = optimizers.rprop(
                    w[k], g[k], s[k], t[k], rate[k], h[0, k], h[1, k], h[2, k], h[3, k]
                )
        else:
            s, t = slots[0, p], slots[1, p]
            for k in range(n):
                w[k], s[k], t[k] = optimizers.quickprop(w[k], g[k], s[k], t[k], rate[k], h[0, k])


@jit
def judge_loss(loss, endings):
    """The same where no stopping rule is set: only a loss that is not finite ends a lane."""
    zero = 0.0
    for k in range(len(loss)):
        zero += loss[k] * 0.0
    if zero == 0.0:
        return False
    for k in range(len(loss)):
        if not np.isfinite(loss[k]):
            endings[k] = DIVERGED
    return True


@jit
def turn(losses, recent, done):
    """Writes the latest up to RECENT of ``done`` epochs' losses, a row each, as columns."""
    first = (done - 1) // RECENT * RECENT
    for k in range(len(losses)):
        curve = losses[k]
        for epoch in range(first, done):
            curve[epoch] = recent[epoch - first, k]


@jit
def find_broken(broken, parameters):
    """NaN in ``broken`` where a lane has a parameter that is not finite, else 0."""
    P, n = parameters.shape
    fill(broken, 0.0)
    for p in range(P):
        w = parameters[p]
        for k in range(n):
            broken[k] += w[k] * 0.0


@jit
def judge(loss, wrong, stop_loss, patience, best, waited, endings):
    """See ``reference.judge``; ``wrong`` counts outputs that are not correct."""
    ended = False
    for k in range(len(loss)):
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
def keep(outputs, A, last, B, shared):
    """Copies the outputs, where all samples are in the one block that A holds."""
    S, outs = outputs.shape[:2]
    if shared and B >= S:
        for s in range(S):
            for j in range(outs):
                copy(outputs[s, j], A[(last + j) * B + s])


def work_rows(sizes: Sequence[int], n_samples: int, block_size: int) -> int:
    """Rows of room that ``advance`` needs: for its blocks, gradient, targets and single rows."""
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))
    return 3 * sum(sizes) * block_size + n_parameters + n_samples * sizes[-1] + 8 + RECENT


@jit
def advance(
    sizes, functions, loss, error, dead_zone, offset, bias_input,
    X, x, Y, rule, divisor, decays, batch_size, block_size, factors, orders, watch,
    parameters, slots, settings, lr, decay,
    stop_loss, stop_correct, patience, best, waited, outputs,
    losses, endings, stopped, work, places,
):  # fmt: skip
    """Runs epochs until one ends a lane or all are done; returns how many were run.

    ``losses``, a row a lane, ``endings`` and ``stopped`` are filled in; see
    ``problem.Progress``. Only with ``watch`` are the parameters looked at after every epoch
    for ones not finite. Samples are taken in blocks of ``block_size`` within a batch; row
    ``u * block_size + s`` of A, Z and D is unit u's for the block's sample s. ``x`` is X in
    one row; ``work`` is room for ``work_rows`` rows, ``places`` zeros, (3, layers + 1).
    """
    P, n = parameters.shape
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
    A, Z, D = work[:rows], work[rows : 2 * rows], work[2 * rows : 3 * rows]
    at = 3 * rows + P
    gradient = work[3 * rows : at]
    # Targets by output and lane, in the samples' order.
    T = work[at : at + S * outs]
    at += S * outs
    top, spread, row, total = work[at], work[at + 1], work[at + 2], work[at + 3]
    wrong, rates, broken, lost = work[at + 4], work[at + 5], work[at + 6], work[at + 7]
    recent = work[at + 8 : at + 8 + RECENT]
    fill(broken, 0.0)
    if shared:
        for s in range(S * outs):
            fill(T[s], Y[s // outs, s % outs])
    checks, rules = False, False
    for k in range(n):
        checks = checks or stop_correct[k] > 0.0
        rules = rules or checks or stop_loss[k] >= 0.0 or patience[k] < NO_PATIENCE
    for epoch in range(len(factors)):
        for k in range(n):
            rates[k] = lr[k] * factors[epoch]
        fill(wrong, 0.0 if checks else 1.0)
        ended = False
        start = 0
        while start < S:
            # A block ends with its batch.
            stop = min(start + B, S, (start // batch_size + 1) * batch_size)
            count, is_first = stop - start, start % batch_size == 0
            if not shared:
                for s in range(count):
                    for k in range(n):
                        chosen = orders[epoch, start + s, k]
                        for i in range(F):
                            A[i * B + s, k] = X[chosen, i]
                        for j in range(outs):
                            T[(start + s) * outs + j, k] = Y[chosen, j]
            # 1. forward pass
            for i in range(layers):
                n_in, n_out, below, above = sizes[i], sizes[i + 1], unit[i] * B, unit[i + 1] * B
                for j in range(n_out):
                    for s in range(count):
                        r = above + j * B + s
                        if i == 0 and shared:
                            scaled(
                                Z[r], True, x, (start + s) * F, 1,
                                parameters, first[i] + j, n_out, n_in,
                            )  # fmt: skip
                        else:
                            products(
                                Z[r], True, A, below + s, B, parameters, first[i] + j, n_out, n_in
                            )
                        activate(A[r], Z[r], parameters[bias[i] + j], bias_input, functions[i])
                if functions[i] == SOFTMAX:
                    for s in range(count):
                        softmax(A, Z, above + s, B, n_out, top, spread, lost)
            # 2. error
            for s in range(count):
                r, y = last * B + s, (start + s) * outs
                if loss == CROSS_ENTROPY and code == SOFTMAX:
                    categorical_cross_entropy(D, row, Z, A, T, y, r, B, outs, top, spread)
                for j in range(outs):
                    d, a, t = D[r + j * B], A[r + j * B], T[y + j]
                    if loss == HALF_SQUARED:
                        squared_error(d, row, a, t, error, dead_zone, j == 0)
                    elif code == SIGMOID:
                        cross_entropy(d, row, Z[r + j * B], a, t, j == 0)
                    if checks:
                        limit = stop_correct
                        for k in range(n):
                            wrong[k] += 0.0 if abs(a[k] - t[k]) < limit[k] else 1.0
                    if not shared:
                        for k in range(n):
                            outputs[orders[epoch, start + s, k], j, k] = a[k]
                    elif B < S or epoch == len(factors) - 1:
                        copy(outputs[start + s, j], a)
                half = 0.5 if loss == HALF_SQUARED else 1.0
                if start + s == 0:
                    for k in range(n):
                        total[k] = half * row[k]
                else:
                    for k in range(n):
                        total[k] += half * row[k]
            # 3. backward pass
            if loss == HALF_SQUARED:
                for s in range(count):
                    r = last * B + s
                    if code == SOFTMAX:
                        softmax_jacobian(D, A, r, B, outs, spread)
                    else:
                        for j in range(outs):
                            slope(D[r + j * B], A[r + j * B], code, offset)
            for i in range(layers - 1, -1, -1):
                n_in, n_out, below, above = sizes[i], sizes[i + 1], unit[i] * B, unit[i + 1] * B
                for j in range(n_out):
                    for m in range(n_in):
                        g = gradient[first[i] + m * n_out + j]
                        if i == 0 and shared:
                            scaled(g, is_first, x, start * F + m, F, D, above + j * B, 1, count)
                        else:
                            products(g, is_first, A, below + m * B, 1, D, above + j * B, 1, count)
                    sums(gradient[bias[i] + j], is_first, D, above + j * B, count)
                if i > 0:
                    for m in range(n_in):
                        for s in range(count):
                            r, w = below + m * B + s, first[i] + m * n_out
                            products(D[r], True, D, above + s, B, parameters, w, 1, n_out)
                            slope(D[r], A[r], functions[i - 1], offset)
            # 4. update
            start = stop
            if start == S:
                report = recent[epoch % RECENT]
                for k in range(n):
                    if loss == HALF_SQUARED:
                        report[k] = 2.0 * total[k] / (S * outs)
                    else:
                        report[k] = total[k] / S
                if rules:
                    ended = judge(report, wrong, stop_loss, patience, best, waited, endings)
                else:
                    ended = judge_loss(report, endings)
                if ended:
                    for p in range(P):
                        copy(stopped[p], parameters[p])
                    keep(outputs, A, last, B, shared)
            if start == S or start % batch_size == 0:
                if bias_input != 1.0:
                    for p in range(bias[0], P):
                        for k in range(n):
                            gradient[p, k] = bias_input * gradient[p, k]
                update(
                    rule, parameters, gradient, slots, settings, rates, divisor,
                    decays, decay, spread,
                )  # fmt: skip
        if watch:
            find_broken(broken, parameters)
        for k in range(n):
            if broken[k] != 0.0 and endings[k] == RUNNING:
                endings[k] = DIVERGED
                if not ended:
                    for p in range(P):
                        copy(stopped[p], parameters[p])
                    keep(outputs, A, last, B, shared)
                ended = True
                for p in range(P):
                    stopped[p, k] = parameters[p, k]
        done = epoch + 1
        if ended or done % RECENT == 0 or done == len(factors):
            turn(losses, recent, done)
        if ended:
            return done
    return len(factors)
