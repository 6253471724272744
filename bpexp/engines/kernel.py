"""The compiled engine's loops.

The formulas are those of ``bpexp.nn``, compiled here for single numbers; the loops put
them together in the reference engine's order of operations. Each stage is a flat loop
over lanes, which LLVM turns into vector instructions; without fast-math it neither
reorders nor fuses operations, so the bits are those of NumPy.
"""

# What numba compiles is typed by numba.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

import numba
import numpy as np
from numba.extending import overload, register_jitable

from bpexp.nn import activations, elementary, ieee, losses, optimizers
from bpexp.nn.elementary import exp_of_negative, log, log1p, sigmoid, tanh

ACTIVATIONS = ("sigmoid", "symmetric_sigmoid", "tanh", "softsign", "relu", "identity", "softmax")
SIGMOID, SYMMETRIC, TANH, SOFTSIGN, RELU, IDENTITY, SOFTMAX = range(7)
LOSSES = ("half_squared", "cross_entropy")
HALF_SQUARED, CROSS_ENTROPY = range(2)
ERRORS = ("linear", "arctanh")
LINEAR, ARCTANH = range(2)
RULES = ("gradient_descent", "momentum", "nesterov", "rmsprop", "adam", "rprop", "quickprop")
DESCENT, MOMENTUM, NESTEROV, RMSPROP, ADAM, RPROP, QUICKPROP = range(7)
RUNNING, CONVERGED, STALLED, DIVERGED = range(4)

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


jit = numba.njit(nogil=True, error_model="numpy", cache=True)
sigmoid_derivative = activations.sigmoid_derivative
symmetric_sigmoid_derivative = activations.symmetric_sigmoid_derivative
tanh_derivative = activations.tanh_derivative
softsign, softsign_derivative = activations.softsign, activations.softsign_derivative
relu, relu_derivative = activations.relu, activations.relu_derivative
binary_cross_entropy = losses.binary_cross_entropy
linear_error, arctanh_error = losses.linear_error, losses.arctanh_error


@jit
def affine_of_sample(Z, x, parameters, first, bias, bias_input):
    """Z[j] = sum_i x[i] W[i, j] + bias_input b[j], for inputs that all lanes share."""
    n_out, n = Z.shape
    for j in range(n_out):
        z, w = Z[j], parameters[first + j]
        for k in range(n):
            z[k] = x[0] * w[k]
        for i in range(1, len(x)):
            xi, w = x[i], parameters[first + i * n_out + j]
            for k in range(n):
                z[k] += xi * w[k]
        b = parameters[bias + j]
        for k in range(n):
            z[k] += bias_input * b[k]


@jit
def affine(Z, A, parameters, first, bias, bias_input):
    """Z[j] = sum_i A[i] W[i, j] + bias_input b[j]."""
    n_out, n = Z.shape
    for j in range(n_out):
        z, a, w = Z[j], A[0], parameters[first + j]
        for k in range(n):
            z[k] = a[k] * w[k]
        for i in range(1, len(A)):
            a, w = A[i], parameters[first + i * n_out + j]
            for k in range(n):
                z[k] += a[k] * w[k]
        b = parameters[bias + j]
        for k in range(n):
            z[k] += bias_input * b[k]


@jit
def activate(A, Z, code):
    """A = f(Z), unit by unit; softmax over the units."""
    n_out, n = Z.shape
    if code == SOFTMAX:
        softmax(A, Z)
        return
    for j in range(n_out):
        a, z = A[j], Z[j]
        if code == SIGMOID:
            for k in range(n):
                a[k] = sigmoid(z[k])
        elif code == SYMMETRIC:
            for k in range(n):
                a[k] = sigmoid(z[k]) - 0.5
        elif code == TANH:
            for k in range(n):
                a[k] = tanh(z[k])
        elif code == SOFTSIGN:
            for k in range(n):
                a[k] = softsign(z[k])
        elif code == RELU:
            for k in range(n):
                a[k] = relu(z[k])
        else:
            a[:] = z


@jit
def largest(Z):
    """The largest of the units, NaN if one is."""
    top = Z[0].copy()
    for j in range(1, len(Z)):
        z = Z[j]
        for k in range(len(top)):
            top[k] = z[k] if z[k] > top[k] or z[k] != z[k] else top[k]
    return top


@jit
def softmax(A, Z):
    """exp(z - max) over its sum, over the units."""
    n_out, n = Z.shape
    top, total = largest(Z), np.empty(n)
    for j in range(n_out):
        a, z = A[j], Z[j]
        for k in range(n):
            a[k] = exp_of_negative(z[k] - top[k])
        if j == 0:
            total[:] = a
        else:
            for k in range(n):
                total[k] += a[k]
    for j in range(n_out):
        a = A[j]
        for k in range(n):
            a[k] = a[k] / total[k]


@jit
def times_slope(D, A, code, offset):
    """D = D (f' + offset), with f' by the activations A."""
    n_out, n = D.shape
    for j in range(n_out):
        d, a = D[j], A[j]
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
def times_softmax_jacobian(D, A):
    """D = a (d - sum_k d_k a_k)."""
    n_out, n = D.shape
    total = np.empty(n)
    for j in range(n_out):
        d, a = D[j], A[j]
        if j == 0:
            for k in range(n):
                total[k] = d[k] * a[k]
        else:
            for k in range(n):
                total[k] += d[k] * a[k]
    for j in range(n_out):
        d, a = D[j], A[j]
        for k in range(n):
            d[k] = a[k] * (d[k] - total[k])


@jit
def output_error(D, row, Z, A, Y, loss, error, dead_zone, code):
    """Sets D to the error signal at the output and ``row`` to the sample's loss."""
    n_out, n = A.shape
    for j in range(n_out):
        d, a, y, z = D[j], A[j], Y[j], Z[j]
        if j == 0:
            row[:] = 0.0
        if loss == HALF_SQUARED:
            for k in range(n):
                e = a[k] - y[k]
                row[k] = e * e if j == 0 else row[k] + e * e
            if error == LINEAR:
                if dead_zone == 0.0:
                    for k in range(n):
                        d[k] = a[k] - y[k]
                else:
                    for k in range(n):
                        d[k] = linear_error(a[k] - y[k], dead_zone)
            else:
                for k in range(n):
                    d[k] = arctanh_error(a[k] - y[k], dead_zone)
        else:
            for k in range(n):
                d[k] = a[k] - y[k]
            if code == SIGMOID:
                for k in range(n):
                    term = binary_cross_entropy(z[k], y[k], log1p(exp_of_negative(-abs(z[k]))))
                    row[k] = term if j == 0 else row[k] + term
    if loss == HALF_SQUARED:
        for k in range(n):
            row[k] = 0.5 * row[k]
    elif code == SOFTMAX:
        categorical_cross_entropy(row, Z, Y)


@jit
def categorical_cross_entropy(row, Z, Y):
    """Sum over units of y ((max - z) + ln sum exp(z - max))."""
    n_out, n = Z.shape
    top, spread = largest(Z), np.empty(n)
    for j in range(n_out):
        z = Z[j]
        for k in range(n):
            e = exp_of_negative(z[k] - top[k])
            spread[k] = e if j == 0 else spread[k] + e
    for k in range(n):
        spread[k] = log(spread[k])
    for j in range(n_out):
        y, z = Y[j], Z[j]
        for k in range(n):
            term = y[k] * ((top[k] - z[k]) + spread[k])
            row[k] = term if j == 0 else row[k] + term


@jit
def back(E, D, parameters, first):
    """E[i] = sum_j D[j] W[i, j]."""
    n_in, n = E.shape
    n_out = len(D)
    for i in range(n_in):
        e, d, w = E[i], D[0], parameters[first + i * n_out]
        for k in range(n):
            e[k] = d[k] * w[k]
        for j in range(1, n_out):
            d, w = D[j], parameters[first + i * n_out + j]
            for k in range(n):
                e[k] += d[k] * w[k]


@jit
def collect(gradient, D, A, first, bias, is_first):
    """Adds the sample's A[i] D[j] and D[j] to the gradient of weights and biases."""
    n_out, n = D.shape
    for i in range(len(A)):
        a = A[i]
        for j in range(n_out):
            d, g = D[j], gradient[first + i * n_out + j]
            if is_first:
                for k in range(n):
                    g[k] = a[k] * d[k]
            else:
                for k in range(n):
                    g[k] += a[k] * d[k]
    collect_bias(gradient, D, bias, is_first)


@jit
def collect_of_sample(gradient, D, x, first, bias, is_first):
    """The same for inputs that all lanes share."""
    n_out, n = D.shape
    for i in range(len(x)):
        xi = x[i]
        for j in range(n_out):
            d, g = D[j], gradient[first + i * n_out + j]
            if is_first:
                for k in range(n):
                    g[k] = xi * d[k]
            else:
                for k in range(n):
                    g[k] += xi * d[k]
    collect_bias(gradient, D, bias, is_first)


@jit
def collect_bias(gradient, D, bias, is_first):
    """Adds D[j] to the gradient of the biases."""
    n_out, n = D.shape
    for j in range(n_out):
        d, g = D[j], gradient[bias + j]
        if is_first:
            g[:] = d
        else:
            for k in range(n):
                g[k] += d[k]


@jit
def update(rule, parameters, gradient, slots, settings, rates, divisor, decays, decay, broken):
    """One step of the rule on every parameter; adds NaN to ``broken`` where one is not finite."""
    P, n = parameters.shape
    rate, h = np.empty(n), settings
    for p in range(P):
        w, g = parameters[p], gradient[p]
        for k in range(n):
            rate[k] = rates[k] / divisor[p] if divisor[p] != 1.0 else rates[k]
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
def advance(
    sizes, functions, loss, error, dead_zone, offset, bias_input,
    X, Y, rule, divisor, decays, batch_size, factors, orders,
    parameters, slots, settings, lr, decay,
    stop_loss, stop_correct, patience, best, waited, outputs,
    losses, endings, stopped,
):  # fmt: skip
    """Runs epochs until one ends a lane or all are done; returns how many were run.

    ``losses``, ``endings`` and ``stopped`` are filled in; see ``problem.Progress``.
    """
    P, n = parameters.shape
    S, F = X.shape
    n_outputs, layers = Y.shape[1], len(functions)
    shared = len(orders) == 0
    # Where each layer's weights, biases and units begin.
    first, bias = np.empty(layers, np.int64), np.empty(layers, np.int64)
    unit = np.zeros(layers + 1, np.int64)
    at = 0
    for i in range(layers):
        first[i] = at
        at += sizes[i] * sizes[i + 1]
        unit[i + 1] = unit[i] + sizes[i]
    for i in range(layers):
        bias[i] = at
        at += sizes[i + 1]
    units = unit[layers] + n_outputs
    A, Z, D = np.empty((units, n)), np.empty((units, n)), np.empty((units, n))
    y, row, total, wrong = np.empty((n_outputs, n)), np.empty(n), np.empty(n), np.empty(n)
    rates, broken, gradient = np.empty(n), np.empty(n), np.empty((P, n))
    for epoch in range(len(factors)):
        for k in range(n):
            rates[k] = lr[k] * factors[epoch]
        wrong[:] = 0.0
        broken[:] = 0.0
        ended = False
        for s in range(S):
            is_first = s % batch_size == 0
            x = X[s]
            if shared:
                for j in range(n_outputs):
                    y[j, :] = Y[s, j]
            else:
                for k in range(n):
                    chosen = orders[epoch, s, k]
                    for i in range(F):
                        A[i, k] = X[chosen, i]
                    for j in range(n_outputs):
                        y[j, k] = Y[chosen, j]
            # 1. forward pass
            for i in range(layers):
                a, z = A[unit[i] : unit[i + 1]], Z[unit[i + 1] : unit[i + 1] + sizes[i + 1]]
                if i == 0 and shared:
                    affine_of_sample(z, x, parameters, first[i], bias[i], bias_input)
                else:
                    affine(z, a, parameters, first[i], bias[i], bias_input)
                activate(A[unit[i + 1] : unit[i + 1] + sizes[i + 1]], z, functions[i])
            # 2. error
            a, d = A[unit[layers] :], D[unit[layers] :]
            output_error(
                d, row, Z[unit[layers] :], a, y, loss, error, dead_zone, functions[layers - 1]
            )
            for k in range(n):
                total[k] = row[k] if s == 0 else total[k] + row[k]
            for j in range(n_outputs):
                aj, yj = a[j], y[j]
                if shared:
                    outputs[s, j, :] = aj
                else:
                    for k in range(n):
                        outputs[orders[epoch, s, k], j, k] = aj[k]
                for k in range(n):
                    wrong[k] += 0.0 if abs(aj[k] - yj[k]) < stop_correct[k] else 1.0
            # 3. backward pass
            if loss == HALF_SQUARED:
                if functions[layers - 1] == SOFTMAX:
                    times_softmax_jacobian(d, a)
                else:
                    times_slope(d, a, functions[layers - 1], offset)
            for i in range(layers - 1, -1, -1):
                d, a = D[unit[i + 1] : unit[i + 1] + sizes[i + 1]], A[unit[i] : unit[i + 1]]
                if i == 0 and shared:
                    collect_of_sample(gradient, d, x, first[i], bias[i], is_first)
                else:
                    collect(gradient, d, a, first[i], bias[i], is_first)
                if i > 0:
                    e = D[unit[i] : unit[i + 1]]
                    back(e, d, parameters, first[i])
                    times_slope(e, a, functions[i - 1], offset)
            # 4. update
            if s == S - 1:
                for k in range(n):
                    if loss == HALF_SQUARED:
                        losses[epoch, k] = 2.0 * total[k] / (S * n_outputs)
                    else:
                        losses[epoch, k] = total[k] / S
                ended = judge(losses[epoch], wrong, stop_loss, patience, best, waited, endings)
                if ended:
                    stopped[:] = parameters
            if s == S - 1 or (s + 1) % batch_size == 0:
                if bias_input != 1.0:
                    for p in range(bias[0], P):
                        for k in range(n):
                            gradient[p, k] = bias_input * gradient[p, k]
                broken[:] = 0.0
                update(
                    rule, parameters, gradient, slots, settings, rates, divisor,
                    decays, decay, broken,
                )  # fmt: skip
        for k in range(n):
            if broken[k] != 0.0 and endings[k] == RUNNING:
                endings[k] = DIVERGED
                if not ended:
                    stopped[:] = parameters
                ended = True
                stopped[:, k] = parameters[:, k]
        if ended:
            return epoch + 1
    return len(factors)
