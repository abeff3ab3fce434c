"""C99 code of the functions that exported networks call.

A file contains only the functions that it calls. `EXP`, `TANH`, `LOG1P`, `LOG` and `ERF` are macros
for functions of ``math.h``, or for those in `MATH_FUNCTIONS`.
"""

# Activation -> expression of the pre-activation z; {k} is the activation's parameter.
ACTIVATION_CODE = {
    "identity": "z",
    "sigmoid": "sigmoid(z)",
    "hard_sigmoid": "z < -3.0f ? 0.0f : z > 3.0f ? 1.0f : z / 6.0f + 0.5f",
    "tanh": "TANH(z)",
    "hard_tanh": "z < -1.0f ? -1.0f : z > 1.0f ? 1.0f : z",
    "relu": "z < 0.0f ? 0.0f : z",
    "leaky_relu": "z < 0.0f ? {k} * z : z",
    "elu": "z < 0.0f ? {k} * (EXP(z) - 1.0f) : z",
    "selu": "1.05070099f * (z < 0.0f ? 1.67326324f * (EXP(z) - 1.0f) : z)",
    "celu": "z < 0.0f ? {k} * (EXP(z / {k}) - 1.0f) : z",
    "gelu": "0.5f * z * (1.0f + ERF(0.707106781f * z))",
    "gelu_tanh": "z * sigmoid(1.59576912f * (z + 0.044715f * z * z * z))",
    "silu": "z * sigmoid(z)",
    "mish": "z * TANH(softplus(z))",
    "softplus": "softplus(z)",
    "softsign": "z / (1.0f + (z < 0.0f ? -z : z))",
    "softmax": None,  # reads the whole layer: a function of its own
}

SIGMOID = """static float sigmoid(float z)
{
    return z < 0.0f ? EXP(z) / (1.0f + EXP(z)) : 1.0f / (1.0f + EXP(-z));
}
"""

SOFTPLUS = """static float softplus(float z)
{
    return (z < 0.0f ? 0.0f : z) + LOG1P(EXP(z < 0.0f ? z : -z));
}
"""

# exp(z) = 2^n exp(r) with n the nearest integer to z / log(2); exp(r), abs(r) <= log(2) / 2, by
# its Taylor polynomial of degree 7. Relative error about 1e-6; 0 below -87, exp(88) above 88.
OWN_EXP = """static float own_exp(float z)
{
    float r, p = 1.0f;
    int n, i;
    if (z < -87.0f)
        return 0.0f;
    if (z > 88.0f)
        z = 88.0f;
    n = (int)(z * 1.44269504f + (z < 0.0f ? -0.5f : 0.5f));
    r = z - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
    for (i = 7; i > 0; i--)
        p = 1.0f + p * r / (float)i;
    for (; n > 0; n--)
        p *= 2.0f;
    for (; n < 0; n++)
        p *= 0.5f;
    return p;
}
"""

OWN_TANH = """static float own_tanh(float z)
{
    const float e = own_exp(z < 0.0f ? 2.0f * z : -2.0f * z);
    const float t = (1.0f - e) / (1.0f + e);
    return z < 0.0f ? -t : t;
}
"""

# log(1 + x) = 2 artanh(x / (2 + x)) by its series, for x from 0 to 1: Abramowitz and Stegun, 1964,
# 4.1.27.
OWN_LOG1P = """static float own_log1p(float x)
{
    const float s = x / (2.0f + x), q = s * s;
    float p = 1.0f / 17.0f;
    int i;
    for (i = 15; i > 0; i -= 2)
        p = 1.0f / (float)i + p * q;
    return 2.0f * s * p;
}
"""

# log(x) = n log(2) + log(1 + m) for x = 2^n (1 + m), a normal number.
OWN_LOG = """static float own_log(float x)
{
    int n = 0;
    for (; x < 1.0f; n--)
        x *= 2.0f;
    for (; x >= 2.0f; n++)
        x *= 0.5f;
    return (float)n * 0.693147181f + own_log1p(x - 1.0f);
}
"""

OWN_ERF = """static float own_erf(float x) /* Abramowitz and Stegun, 1964, 7.1.26 */
{
    const float size = x < 0.0f ? -x : x, t = 1.0f / (1.0f + 0.3275911f * size);
    const float p = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t
                      - 0.284496736f) * t + 0.254829592f) * t;
    const float e = 1.0f - p * own_exp(-x * x);
    return x < 0.0f ? -e : e;
}
"""

LAYER_NORM = """static void normalize(float *z, int n, const float *scale, const float *shift,
                      float epsilon)
{
    float mean = 0.0f, variance = 0.0f;
    int j;
    for (j = 0; j < n; j++)
        mean += z[j];
    mean /= (float)n;
    for (j = 0; j < n; j++)
        variance += (z[j] - mean) * (z[j] - mean);
    variance = 1.0f / sqrtf(variance / (float)n + epsilon);
    for (j = 0; j < n; j++)
        z[j] = scale[j] * ((z[j] - mean) * variance) + shift[j];
}
"""

SOFTMAX = """static void softmax(float *z, int n)
{
    float greatest = z[0], sum = 0.0f;
    int j;
    for (j = 1; j < n; j++)
        greatest = z[j] > greatest ? z[j] : greatest;
    for (j = 0; j < n; j++) {
        z[j] = EXP(z[j] - greatest);
        sum += z[j];
    }
    for (j = 0; j < n; j++)
        z[j] /= sum;
}
"""

# Macro -> function of math.h, own function, code of the own function.
MATH_FUNCTIONS = {
    "EXP": ("expf", "own_exp", OWN_EXP),
    "TANH": ("tanhf", "own_tanh", OWN_TANH),
    "LOG1P": ("log1pf", "own_log1p", OWN_LOG1P),
    "LOG": ("logf", "own_log", OWN_LOG),
    "ERF": ("erff", "own_erf", OWN_ERF),
}

# Functions that call macros of MATH_FUNCTIONS or each other, callers first.
FUNCTIONS = (SOFTMAX, SIGMOID, SOFTPLUS, LAYER_NORM)
