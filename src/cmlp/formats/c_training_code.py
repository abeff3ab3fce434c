"""C99 code of exports that continue the training; see `c_training`.

The engine has the same losses and derivatives; its ``csrc/losses.h`` and ``csrc/activations.h``
cite the sources of the formulas. The functions use the macros of `c_functions.MATH_FUNCTIONS`.
"""

# Activation -> derivative as an expression of the output a; {k} is the activation's parameter.
DERIVATIVE_CODE = {
    "identity": None,
    "sigmoid": "a * (1.0f - a)",
    "hard_sigmoid": "a > 0.0f && a < 1.0f ? 1.0f / 6.0f : 0.0f",
    "tanh": "1.0f - a * a",
    "hard_tanh": "a > -1.0f && a < 1.0f ? 1.0f : 0.0f",
    "relu": "a > 0.0f ? 1.0f : 0.0f",
    "leaky_relu": "a > 0.0f ? 1.0f : {k}",
    "elu": "a > 0.0f ? 1.0f : a + {k}",
    "selu": "a > 0.0f ? 1.05070099f : a + 1.75809934f",
    "celu": "a > 0.0f ? 1.0f : a / {k} + 1.0f",
    "softplus": "1.0f - EXP(-a)",
    "softsign": "(1.0f - (a < 0.0f ? -a : a)) * (1.0f - (a < 0.0f ? -a : a))",
}

# The same as an expression of the pre-activation z.
SLOPE_CODE = {
    "gelu": "0.5f * (1.0f + ERF(0.707106781f * z)) + 0.398942280f * z * EXP(-0.5f * z * z)",
    "gelu_tanh": "gated_slope(z, sigmoid(1.59576912f * (z + 0.044715f * z * z * z)), "
    "1.59576912f * (1.0f + 0.134145f * z * z))",
    "silu": "gated_slope(z, sigmoid(z), 1.0f)",
    "mish": "mish_slope(z, TANH(softplus(z)))",
}

# Loss -> value and gradient with respect to the output a of a target t; {n} is the number of
# outputs, {k} the loss's parameter. Both are of one output.
LOSS_CODE = {
    "quadratic": ("0.5f * (a - t) * (a - t)", "a - t"),
    "mse": ("(a - t) * (a - t) / {n}", "2.0f * (a - t) / {n}"),
    "mae": ("ABS(a - t) / {n}", "SIGN(a - t) / {n}"),
    "huber": (
        "(ABS(a - t) > {k} ? {k} * (ABS(a - t) - 0.5f * {k}) : 0.5f * (a - t) * (a - t)) / {n}",
        "(ABS(a - t) > {k} ? {k} * SIGN(a - t) : a - t) / {n}",
    ),
    "log_cosh": (
        "(ABS(a - t) + LOG1P(EXP(-2.0f * ABS(a - t))) - 0.693147181f) / {n}",
        "TANH(a - t) / {n}",
    ),
    "poisson": ("(EXP(a) - t * a) / {n}", "(EXP(a) - t) / {n}"),
    "poisson_deviance": ("EXP(a) - t + t * (LOG(AT_LEAST_TINY(t)) - a)", "EXP(a) - t"),
    "cross_entropy": ("-t * LOG(AT_LEAST_TINY(a))", "-t / AT_LEAST_TINY(a)"),
    "binary_cross_entropy": (
        "-t * LOG(AT_LEAST_TINY(a)) - (1.0f - t) * LOG(AT_LEAST_TINY(1.0f - a))",
        "(1.0f - t) / AT_LEAST_TINY(1.0f - a) - t / AT_LEAST_TINY(a)",
    ),
    "hinge": ("MARGIN(a, t) / {n}", "MARGIN(a, t) > 0.0f ? -(2.0f * t - 1.0f) / {n} : 0.0f"),
    "squared_hinge": (
        "MARGIN(a, t) * MARGIN(a, t) / {n}",
        "-2.0f * (2.0f * t - 1.0f) * MARGIN(a, t) / {n}",
    ),
    "pinball": (
        "(t > a ? {k} * (t - a) : ({k} - 1.0f) * (t - a)) / {n}",
        "(a > t ? 1.0f - {k} : a < t ? -{k} : 0.0f) / {n}",
    ),
}  # fmt: skip

# Macros of the expressions above, in the order of their definition.
MACROS = {
    "ABS": "#define ABS(x) ((x) < 0.0f ? -(x) : (x))",
    "SIGN": "#define SIGN(x) ((x) > 0.0f ? 1.0f : (x) < 0.0f ? -1.0f : 0.0f)",
    "AT_LEAST_TINY": "#define AT_LEAST_TINY(x) ((x) > 1.17549435e-38f ? (x) : 1.17549435e-38f)",
    "MARGIN": "#define MARGIN(a, t) "
    "(1.0f - (2.0f * (t)-1.0f) * (a) > 0.0f ? 1.0f - (2.0f * (t)-1.0f) * (a) : 0.0f)",
}

GATED_SLOPE = """/* The derivative of z s with s = sigmoid(u(z)) and slope = du/dz. */
static float gated_slope(float z, float s, float slope)
{
    return s + z * s * (1.0f - s) * slope;
}
"""

MISH_SLOPE = """/* The derivative of z t with t = tanh(softplus(z)). */
static float mish_slope(float z, float t)
{
    return t + z * sigmoid(z) * (1.0f - t * t);
}
"""

SLOPE_FUNCTIONS = (GATED_SLOPE, MISH_SLOPE)

# Softmax with cross-entropy from the outputs a and the logits z: sum_j t_j (L - z_j) with
# L = log sum_j exp z_j; it needs no logarithm of a rounded probability.
SOFTMAX_LOSS = """/* z: logits in, probabilities out; t: targets in, factor * gradient out. */
static float softmax_loss(float *z, float *t, int n, float factor)
{
    float greatest = z[0], sum = 0.0f, weight = 0.0f, weighted = 0.0f;
    int j;
    for (j = 1; j < n; j++)
        greatest = z[j] > greatest ? z[j] : greatest;
    for (j = 0; j < n; j++) {
        weight += t[j];
        weighted += t[j] * (z[j] - greatest);
        z[j] = EXP(z[j] - greatest);
        sum += z[j];
    }
    for (j = 0; j < n; j++) {
        z[j] /= sum;
        t[j] = (z[j] * weight - t[j]) * factor;
    }
    return weight * LOG(sum) - weighted;
}
"""

SIGMOID_LOSS = """/* z: logits in, probabilities out; t: targets in, factor * gradient out. */
static float sigmoid_loss(float *z, float *t, int n, float factor)
{
    float loss = 0.0f;
    int j;
    for (j = 0; j < n; j++) {
        loss += (z[j] > 0.0f ? z[j] : 0.0f) - z[j] * t[j]
                + LOG1P(EXP(z[j] < 0.0f ? z[j] : -z[j]));
        z[j] = sigmoid(z[j]);
        t[j] = (z[j] - t[j]) * factor;
    }
    return loss;
}
"""

SOFTMAX_BACKWARD = """/* d: gradient of the outputs a of a softmax in, of the logits out. */
static void softmax_backward(const float *a, float *d, int n)
{
    float mean = 0.0f;
    int j;
    for (j = 0; j < n; j++)
        mean += a[j] * d[j];
    for (j = 0; j < n; j++)
        d[j] = a[j] * (d[j] - mean);
}
"""

BACKPROPAGATE = """/* e: gradient of a layer's inputs; d: of its pre-activations. */
static void backpropagate(const float *d, float *e, const float *w, int inputs, int outputs)
{
    int i, j;
    for (j = 0; j < inputs; j++)
        e[j] = 0.0f;
    for (i = 0; i < outputs; i++)
        for (j = 0; j < inputs; j++)
            e[j] += d[i] * w[i * inputs + j];
}
"""

# {velocity}: an argument with the element's velocity, or nothing. {body}: lines of the optimizer.
DESCEND = """/* A step of SGD for the parameter w with the gradient g. */
static void descend(float *w, {velocity}float g, {decay}float lr)
{{
{body}
}}
"""

# {v_parameter}, {v}, {v_bias}: the velocities of the layer, of a weight and of a bias, or nothing;
# {decay}, {bias_decay}: the weight decay of weights and of biases, or nothing.
UPDATE = """/* Update a layer, from its inputs x and the gradients d of n samples. */
static void update(const float *x, const float *d, int n, float *w, float *b, {v_parameter}
                   int inputs, int outputs, float lr)
{{
    int i, j, k;
    for (i = 0; i < outputs; i++) {{
        float g;
        for (j = 0; j < inputs; j++) {{
            g = 0.0f;
            for (k = 0; k < n; k++)
                g += d[k * outputs + i] * x[k * inputs + j];
            descend(w + i * inputs + j, {v}g, {decay}lr);
        }}
        g = 0.0f;
        for (k = 0; k < n; k++)
            g += d[k * outputs + i];
        descend(b + i, {v_bias}g, {bias_decay}lr);
    }}
}}
"""

EPOCH = """float {name}_train_epoch(const float *x, const {target} *y, int n, int batch, float lr)
{{
    float total = 0.0f;
    int rest;
    if (n < 1 || batch < 1 || batch > {macro}_MAX_BATCH)
        return -1.0f;
    for (rest = n; rest > 0; rest -= batch) {{
        const int size = rest < batch ? rest : batch;
        total += (float)size * {name}_train_step(x, y, size, lr);
        x += size * {macro}_INPUTS;
        y += size{columns};
    }}
    return total / (float)n;
}}
"""

RESET = """void {name}_reset_velocity(void)
{{
    int i;
    for (i = 0; i < {macro}_PARAMETERS; i++)
        velocity[i] = 0.0f;
{flag}}}
"""
