"""The formulas of cmlp in plain NumPy and float64, without any code of cmlp.

Weights have the shape (outputs, inputs), biases (outputs, 1); samples are rows.
"""

import math

import numpy as np


def sigmoid(z):
    small = np.exp(-np.abs(z))
    return np.where(z < 0, small, 1) / (1 + small)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def normal(z):
    return 0.5 * np.vectorize(math.erfc, otypes=[float])(-z / math.sqrt(2))


def gelu_argument(z):
    return 2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)


def elu(z):
    return np.where(z < 0, np.expm1(np.minimum(z, 0)), z)


SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z < 0, 0.01 * z, z),
    "elu": elu,
    "selu": lambda z: SELU[0] * np.where(z < 0, SELU[1] * elu(z), z),
    "celu": elu,
    "gelu": lambda z: z * normal(z),
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh(gelu_argument(z) / 2)),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * np.tanh(np.logaddexp(0, z)),
    "softplus": lambda z: np.logaddexp(0, z),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "softmax": softmax,
}

# Derivative of each activation, by its input and output; softmax has a Jacobian instead.
DERIVATIVES = {
    "identity": lambda z, a: np.ones_like(z),
    "sigmoid": lambda z, a: a * (1 - a),
    "hard_sigmoid": lambda z, a: np.where(np.abs(z) < 3, 1 / 6, 0),
    "tanh": lambda z, a: 1 - a**2,
    "hard_tanh": lambda z, a: (np.abs(z) < 1).astype(float),
    "relu": lambda z, a: (z > 0).astype(float),
    "leaky_relu": lambda z, a: np.where(z > 0, 1, 0.01),
    "elu": lambda z, a: np.exp(np.minimum(z, 0)),
    "selu": lambda z, a: SELU[0] * np.where(z < 0, SELU[1] * np.exp(np.minimum(z, 0)), 1),
    "celu": lambda z, a: np.exp(np.minimum(z, 0)),
    "gelu": lambda z, a: normal(z) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
    "gelu_tanh": lambda z, a: (
        sigmoid(gelu_argument(z))
        + z
        * sigmoid(gelu_argument(z))
        * sigmoid(-gelu_argument(z))
        * 2
        * math.sqrt(2 / math.pi)
        * (1 + 3 * 0.044715 * z**2)
    ),
    "silu": lambda z, a: sigmoid(z) * (1 + z * sigmoid(-z)),
    "mish": lambda z, a: (
        np.tanh(np.logaddexp(0, z)) + z * sigmoid(z) / np.cosh(np.logaddexp(0, z)) ** 2
    ),
    "softplus": lambda z, a: sigmoid(z),
    "softsign": lambda z, a: 1 / (1 + np.abs(z)) ** 2,
}


def smooth(y, smoothing):
    """Return targets of two classes with label smoothing."""
    return y * (1 - smoothing) + smoothing / 2


def mean(a):
    """Return the means that outputs of gaussian_nll describe."""
    return a[:, : a.shape[1] // 2]


def variance(a, eps=1e-6):
    """Return the variances that outputs of gaussian_nll describe."""
    return np.exp(a[:, a.shape[1] // 2 :]) + eps


def repeat(y, quantiles):
    """Return targets for each block of outputs, one block for each quantile."""
    return np.tile(y, len(quantiles))


def levels(y, quantiles):
    """Return the quantile of each output."""
    return np.repeat(quantiles, y.shape[1])


def add_increments(a, quantiles):
    """Return the quantiles, (n, outputs), that outputs of a non-crossing pinball loss describe."""
    found, *rest = np.split(a, len(quantiles), axis=1)
    found = [found]
    for z in rest:
        found.append(found[-1] + np.logaddexp(0, z))
    return np.hstack(found)


# Number of outputs for each target, of the losses that have several.
BLOCKS = {"gaussian_nll": 2}

# Loss of each sample, by outputs and targets.
LOSSES = {
    "quadratic": lambda a, y: ((a - y) ** 2).sum(axis=1) / 2,
    "mse": lambda a, y: ((a - y) ** 2).mean(axis=1),
    "mae": lambda a, y: np.abs(a - y).mean(axis=1),
    "huber": lambda a, y, delta=1.0: np.where(
        np.abs(a - y) > delta, delta * (np.abs(a - y) - delta / 2), (a - y) ** 2 / 2
    ).mean(axis=1),
    "log_cosh": lambda a, y: np.log(np.cosh(a - y)).mean(axis=1),
    "poisson": lambda a, y: (np.exp(a) - y * a).mean(axis=1),
    "poisson_deviance": lambda a, y: (np.exp(a) - y + y * (np.log(np.where(y > 0, y, 1)) - a)).sum(
        axis=1
    ),
    "hinge": lambda a, y: np.maximum(0, 1 - (2 * y - 1) * a).mean(axis=1),
    "squared_hinge": lambda a, y: (np.maximum(0, 1 - (2 * y - 1) * a) ** 2).mean(axis=1),
    "cross_entropy": lambda a, y: (
        -np.where(y > 0, y * np.log(np.where(y > 0, a, 1)), 0).sum(axis=1)
    ),
    "binary_cross_entropy": lambda a, y, smoothing=0.0: (
        -(smooth(y, smoothing) * np.log(a) + (1 - smooth(y, smoothing)) * np.log(1 - a)).sum(axis=1)
    ),
    "pinball": lambda a, y, q=(0.5,): np.maximum(
        levels(y, q) * (repeat(y, q) - a), (levels(y, q) - 1) * (repeat(y, q) - a)
    ).mean(axis=1),
    "gaussian_nll": lambda a, y, eps=1e-6: (
        np.log(variance(a, eps)) / 2 + (mean(a) - y) ** 2 / variance(a, eps) / 2
    ).mean(axis=1),
}

LOSS_GRADIENTS = {
    "quadratic": lambda a, y: a - y,
    "mse": lambda a, y: 2 * (a - y) / a.shape[1],
    "mae": lambda a, y: np.sign(a - y) / a.shape[1],
    "huber": lambda a, y, delta=1.0: np.clip(a - y, -delta, delta) / a.shape[1],
    "log_cosh": lambda a, y: np.tanh(a - y) / a.shape[1],
    "poisson": lambda a, y: (np.exp(a) - y) / a.shape[1],
    "poisson_deviance": lambda a, y: np.exp(a) - y,
    "hinge": lambda a, y: np.where((2 * y - 1) * a < 1, 1 - 2 * y, 0) / a.shape[1],
    "squared_hinge": lambda a, y: 2 * (1 - 2 * y) * np.maximum(0, 1 - (2 * y - 1) * a) / a.shape[1],
    "cross_entropy": lambda a, y: -y / a,
    "binary_cross_entropy": lambda a, y: (1 - y) / (1 - a) - y / a,
    "pinball": lambda a, y, q=(0.5,): (
        np.where(a > repeat(y, q), 1 - levels(y, q), np.where(a < repeat(y, q), -levels(y, q), 0))
        / a.shape[1]
    ),
    "gaussian_nll": lambda a, y, eps=1e-6: (
        np.hstack(
            [
                (mean(a) - y) / variance(a, eps),
                (1 - (mean(a) - y) ** 2 / variance(a, eps)) * (1 - eps / variance(a, eps)) / 2,
            ]
        )
        / y.shape[1]
    ),
}


def forward(weights, biases, activations, X):
    """Return the pre-activations and the outputs of all layers; the first outputs are X."""
    sums, outputs = [], [np.asarray(X, float)]
    for w, b, name in zip(weights, biases, activations, strict=True):
        sums.append(outputs[-1] @ w.T + b.T)
        outputs.append(ACTIVATIONS[name](sums[-1]))
    return sums, outputs


def mean_loss(weights, biases, activations, loss, X, y):
    return LOSSES[loss](forward(weights, biases, activations, X)[1][-1], y).mean()


def gradient(weights, biases, activations, loss, X, y):
    """Return mean loss, weight gradients, bias gradients."""
    sums, outputs = forward(weights, biases, activations, X)
    through = LOSS_GRADIENTS[loss](outputs[-1], y) / len(X)
    nabla_w, nabla_b = [], []
    for layer in reversed(range(len(weights))):
        a = outputs[layer + 1]
        if activations[layer] == "softmax":
            delta = a * (through - (through * a).sum(axis=1, keepdims=True))
        else:
            delta = through * DERIVATIVES[activations[layer]](sums[layer], a)
        nabla_w.insert(0, delta.T @ outputs[layer])
        nabla_b.insert(0, delta.sum(axis=0)[:, None])
        through = delta @ weights[layer]
    return LOSSES[loss](outputs[-1], y).mean(), nabla_w, nabla_b


def sgd(weights, biases, activations, loss, X, y, lr, batch_size):
    """Train in place for one epoch in order; return the mean loss over the samples."""
    total = 0
    for start in range(0, len(X), batch_size):
        batch = slice(start, start + batch_size)
        value, nabla_w, nabla_b = gradient(weights, biases, activations, loss, X[batch], y[batch])
        total += value * len(X[batch])
        for parameters, nablas in ((weights, nabla_w), (biases, nabla_b)):
            for parameter, nabla in zip(parameters, nablas, strict=True):
                parameter -= lr * nabla
    return total / len(X)


def one_hot(labels, classes):
    return np.eye(classes)[labels]


def stepping(rule):
    """Decorate the update rule of one parameter into that of several.

    The rule takes the parameter p, its gradient g, a dict with the state of p, the number t of
    the step from 1 and the hyperparameters, and changes p in place. The decorated function takes
    the parameters and hyperparameters, and returns a function that takes their gradients and
    changes all parameters in place.
    """

    def steps(*parameters, **hyper):
        states = [{} for _ in parameters]
        t = 0

        def step(*gradients):
            nonlocal t
            t += 1
            for p, g, state in zip(parameters, gradients, states, strict=True):
                rule(p, g, state, t, **hyper)

        return step

    return steps


@stepping
def sgd_steps(p, g, state, t, *, lr, momentum, dampening, nesterov, weight_decay):
    g = g + weight_decay * p
    if momentum:
        state["sum"] = momentum * state["sum"] + (1 - dampening) * g if t > 1 else g
        g = g + momentum * state["sum"] if nesterov else state["sum"]
    p -= lr * g


def adam_means(g, state, t, betas):
    """Return the bias-corrected moment estimates of Kingma and Ba, 2015, algorithm 1."""
    m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g**2
    if "greatest" in state:
        v = state["greatest"] = np.maximum(state["greatest"], v)
    return m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)


@stepping
def adam_steps(p, g, state, t, *, lr, betas, eps, weight_decay, amsgrad):
    if amsgrad:
        state.setdefault("greatest", 0)
    m, v = adam_means(g + weight_decay * p, state, t, betas)
    p -= lr * m / (np.sqrt(v) + eps)


@stepping
def adamw_steps(p, g, state, t, *, lr, betas, eps, weight_decay, amsgrad):
    if amsgrad:
        state.setdefault("greatest", 0)
    p *= 1 - lr * weight_decay
    m, v = adam_means(g, state, t, betas)
    p -= lr * m / (np.sqrt(v) + eps)


@stepping
def nadam_steps(p, g, state, t, *, lr, betas, eps, weight_decay, momentum_decay):
    g = g + weight_decay * p
    adam_means(g, state, t, betas)
    mu, following = (betas[0] * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in (t, t + 1))
    product = state["product"] = state.get("product", 1) * mu
    mean = following * state["m"] / (1 - product * following) + (1 - mu) * g / (1 - product)
    p -= lr * mean / (np.sqrt(state["v"] / (1 - betas[1] ** t)) + eps)


@stepping
def rmsprop_steps(p, g, state, t, *, lr, alpha, eps, weight_decay, momentum, centered):
    g = g + weight_decay * p
    square = state["square"] = alpha * state.get("square", 0) + (1 - alpha) * g**2
    mean = state["mean"] = alpha * state.get("mean", 0) + (1 - alpha) * g
    scaled = g / (np.sqrt(square - mean**2 if centered else square) + eps)
    state["sum"] = momentum * state.get("sum", 0) + scaled
    p -= lr * state["sum"]


@stepping
def adagrad_steps(p, g, state, t, *, lr, lr_decay, weight_decay, initial_accumulator_value, eps):
    g = g + weight_decay * p
    state["sum"] = state.get("sum", initial_accumulator_value) + g**2
    p -= lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(state["sum"]) + eps)


@stepping
def adadelta_steps(p, g, state, t, *, lr, rho, eps, weight_decay):
    g = g + weight_decay * p
    square = state["square"] = rho * state.get("square", 0) + (1 - rho) * g**2
    before = state.get("change", 0)
    change = np.sqrt(before + eps) / np.sqrt(square + eps) * g
    state["change"] = rho * before + (1 - rho) * change**2
    p -= lr * change


@stepping
def lion_steps(p, g, state, t, *, lr, betas, weight_decay):
    p *= 1 - lr * weight_decay
    before = state.get("m", 0)
    p -= lr * np.sign(betas[0] * before + (1 - betas[0]) * g)
    state["m"] = betas[1] * before + (1 - betas[1]) * g


OPTIMIZERS = {
    "sgd": sgd_steps,
    "adam": adam_steps,
    "adamw": adamw_steps,
    "nadam": nadam_steps,
    "rmsprop": rmsprop_steps,
    "adagrad": adagrad_steps,
    "adadelta": adadelta_steps,
    "lion": lion_steps,
}

# Variance of the weights of a layer, by its numbers of inputs i and outputs o.
INITIALIZER_VARIANCES = {
    "reference": lambda i, o: 1,
    "glorot_uniform": lambda i, o: 2 / (i + o),
    "glorot_normal": lambda i, o: 2 / (i + o),
    "he_uniform": lambda i, o: 2 / i,
    "he_normal": lambda i, o: 2 / i,
    "lecun_uniform": lambda i, o: 1 / i,
    "lecun_normal": lambda i, o: 1 / i,
    "orthogonal": lambda i, o: 1 / max(i, o),
    "zeros": lambda i, o: 0,
}


def class_ratio(ratio):
    """Return a metric of labels and predictions: the mean of a ratio over the classes present.

    `ratio` takes the numbers of true positives, of predictions and of samples of a class. With
    `binary` the metric is that of class 1.
    """

    def metric(truth, predicted, binary=False):
        classes = [1] if binary else sorted({*truth, *predicted})
        return np.mean([
            ratio(((predicted == c) & (truth == c)).sum(), (predicted == c).sum(),
                  (truth == c).sum())
            for c in classes
        ])  # fmt: skip

    return metric


CLASS_METRICS = {
    "accuracy": lambda truth, predicted, binary=False: (predicted == truth).mean(),
    "precision": class_ratio(lambda hits, predicted, actual: hits / max(predicted, 1)),
    "recall": class_ratio(lambda hits, predicted, actual: hits / max(actual, 1)),
    "f1": class_ratio(lambda hits, predicted, actual: 2 * hits / max(predicted + actual, 1)),
}

REAL_METRICS = {
    "r2": lambda y, a: (
        1 - ((y - a) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    ).mean(),
    "mae": lambda y, a: np.abs(y - a).mean(),
    "mse": lambda y, a: ((y - a) ** 2).mean(),
    "rmse": lambda y, a: np.sqrt(((y - a) ** 2).mean(axis=0)).mean(),
}


def top_k(truth, outputs, k):
    """Return the fraction of samples with fewer than k outputs >= that of their class; no NaN."""
    others = [np.delete(o, t) for t, o in zip(truth, outputs, strict=True)]
    ranks = [(o >= out[t]).sum() for t, o, out in zip(truth, others, outputs, strict=True)]
    is_number = ~np.isnan(outputs).any(axis=1)
    return np.mean(is_number & (np.array(ranks) < k))


def philox(key, counters):
    """Return the words of Philox4x32-10 (Salmon et al., SC11), shape (n, 4).

    The counters have the shape (n, 4), the key 64 bits.
    """
    x = np.array(counters, np.uint64)
    k = np.array([key & 0xFFFFFFFF, key >> 32], np.uint64)
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = x[:, 0] * np.uint64(0xD2511F53), x[:, 2] * np.uint64(0xCD9E8D57)
        x = np.stack([(p1 >> 32) ^ x[:, 1] ^ k[0], p1 & low, (p0 >> 32) ^ x[:, 3] ^ k[1],
                      p0 & low], axis=1)  # fmt: skip
        k = (k + np.array([0x9E3779B9, 0xBB67AE85], np.uint64)) & low
    return x.astype(np.uint32)


def words(stream, columns, seed, epoch, layer, offset, samples):
    """Return random words, shape (samples, blocks, 4, 16): a block has 16 counters.

    `offset` is the position of the first sample in the epoch.
    """
    blocks = -(-columns // (16 * (8 if stream == 1 else 4)))
    counters = [
        (c, offset + i, epoch, stream | layer << 8)
        for i in range(samples)
        for c in range(16 * blocks)
    ]
    return philox(seed, counters).reshape(samples, blocks, 16, 4).transpose(0, 1, 3, 2)


def mask(rate, columns, seed, epoch, layer, offset, samples):
    """Return the factors of dropout, shape (samples, columns)."""
    dropped = round(rate * 65536)
    w = words(1, columns, seed, epoch, layer, offset, samples)
    halves = np.stack([w & 0xFFFF, w >> 16], axis=3).reshape(samples, -1)[:, :columns]
    return np.where(halves >= dropped, 65536 / (65536 - dropped), 0.0)


def normal_noise(columns, seed, epoch, offset, samples):
    """Return normal numbers, shape (samples, columns), by the method of Box and Muller."""
    w = words(2, columns, seed, epoch, 0, offset, samples)
    u = ((w >> 8) + 0.5) / 2**24
    radius, angle = np.sqrt(-2 * np.log(u[:, :, ::2])), 2 * np.pi * (u[:, :, 1::2] - 0.5)
    pairs = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=3)
    return pairs.reshape(samples, -1)[:, :columns]


def normalize(kind, z, eps):
    """Return z normalized over the batch or over the layer, and 1 / standard deviation."""
    axis = 0 if kind == "batch" else 1
    inverse = 1 / np.sqrt(z.var(axis=axis, keepdims=True) + eps)
    return (z - z.mean(axis=axis, keepdims=True)) * inverse, inverse


def regularized_gradient(weights, biases, scales, activations, loss, X, y, masks, norms, eps):
    """Return loss and gradients of a batch with dropout and normalization.

    `masks` has the factors of dropout for the inputs and each hidden layer; `norms` has "batch",
    "layer" or None for each hidden layer.
    """
    a, kept = np.asarray(X, float) * masks[0], []
    for layer, (w, b, name) in enumerate(zip(weights, biases, activations, strict=True)):
        hidden = layer < len(weights) - 1
        z, h, inverse = a @ w.T, None, None
        if hidden and norms[layer]:
            h, inverse = normalize(norms[layer], z, eps)
            z = h * scales[layer].T
        z = z + b.T
        out = ACTIVATIONS[name](z)
        kept.append((a, z, out, h, inverse))
        a = out * masks[layer + 1] if hidden else out
    through = LOSS_GRADIENTS[loss](a, y) / len(X)
    nablas = []
    for layer in reversed(range(len(weights))):
        below, z, out, h, inverse = kept[layer]
        hidden = layer < len(weights) - 1
        if hidden:
            through = through * masks[layer + 1]
        if activations[layer] == "softmax":
            delta = out * (through - (through * out).sum(axis=1, keepdims=True))
        else:
            delta = through * DERIVATIVES[activations[layer]](z, out)
        nabla_b, nabla_s = delta.sum(axis=0)[:, None], None
        if hidden and norms[layer]:
            nabla_s = (delta * h).sum(axis=0)[:, None]
            axis = 0 if norms[layer] == "batch" else 1
            g = delta * scales[layer].T
            delta = inverse * (g - g.mean(axis=axis, keepdims=True)
                               - h * (g * h).mean(axis=axis, keepdims=True))  # fmt: skip
        nablas.insert(0, (delta.T @ below, nabla_b, nabla_s))
        through = delta @ weights[layer]
    return LOSSES[loss](a, y).mean(), nablas


# bfloat16.

FLOAT32_TINY = 2.0**-126


def flush(x):
    """Replace subnormal numbers of float32 by zeros of the same sign."""
    return np.where(np.abs(x) < FLOAT32_TINY, np.copysign(np.zeros_like(x), x), x)


def round_bfloat16(x):
    """Round float32 numbers to 8 significant bits, ties to even; subnormal numbers to zero."""
    with np.errstate(invalid="ignore"):  # signaling NaN
        mantissa, exponent = np.frexp(flush(x.astype(np.float64)))
    rounded = np.ldexp(np.rint(np.ldexp(mantissa, 8)), exponent - 8)
    largest = 2.0**128 * (1 - 2.0**-8)
    return np.where(np.abs(rounded) > largest, np.copysign(np.inf, x), rounded).astype(np.float32)


def multiply_bfloat16(a, b, start):
    """Return start + a @ b with a and b rounded, by multiply-adds of pairs, the odd one first.

    The products of two numbers of 8 bits are exact in float32, and their sums with a float32 are
    all but exact in extended precision, so that each multiply-add is rounded once.
    """
    a, b = round_bfloat16(a), round_bfloat16(b)
    sums = flush(np.array(np.broadcast_to(start, (a.shape[0], b.shape[1])), np.float32))
    for t in range(0, a.shape[1], 2):
        for index in (t + 1, t):
            if index < a.shape[1]:
                products = np.outer(a[:, index].astype(np.longdouble), b[index])
                sums = flush((products + sums).astype(np.float32))
    return sums


def multiply_bfloat16_tiles(a, b, start):
    """Return start + a @ b with a and b rounded, as TDPBF16PS sums: see csrc/bfloat16_tiles.h."""
    a, b = round_bfloat16(a), round_bfloat16(b)
    sums = flush(np.array(np.broadcast_to(start, (a.shape[0], b.shape[1])), np.float32))
    for t in range(0, a.shape[1], 32):
        parts = [np.zeros_like(sums), np.zeros_like(sums)]
        for index in range(t, min(t + 32, a.shape[1])):
            products = np.outer(a[:, index].astype(np.longdouble), b[index])
            parts[index % 2] = flush((products + parts[index % 2]).astype(np.float32))
        sums = flush(sums + flush(parts[0] + parts[1]))
    return sums


def encode_one_hot(x, categories):
    """Columns for codes 1 to `categories`; one column of -1, 0, 1 for two categories."""
    if categories == 2:
        return np.select([x == 1, x == 2], [-1.0, 1.0], 0.0)[:, None]
    return (x[:, None] == np.arange(1, categories + 1)).astype(float)


def encode_embedding(x, table):
    """Rows of the table (dim, categories) for codes from 1; zeros for code 0."""
    return np.vstack([np.zeros(len(table)), table.T])[x.astype(int)]


def encode_periodic(x, frequency, weight, bias, phase=None, rectifies=False, keeps_value=False):
    """Periodic embedding of one column: (features, outputs) weight, vectors of the others."""
    angle = 2 * np.pi * x[:, None] * frequency
    both = np.hstack([np.cos(angle), np.sin(angle)])
    features = both if phase is None else np.cos(angle + phase)
    outputs = features @ weight + bias
    if rectifies:
        outputs = np.maximum(outputs, 0)
    return np.hstack([outputs, x[:, None]]) if keeps_value else outputs
