"""C99 code of encoders, the input layers of `cmlp.layers`; the code needs no ``math.h``."""

import numpy as np

from cmlp.formats.c_text import render_array, render_integers

SCALE = """static void scale_columns(const float *x, float *y, const float *factor, int n)
{
    int i;
    for (i = 0; i < n; i++)
        y[i] = factor[i] * x[i];
}
"""

COPY = """/* Copy n columns: from[i] to to[i]. */
static void copy_columns(const float *x, float *y, const int *from, const int *to, int n)
{
    int i;
    for (i = 0; i < n; i++)
        y[to[i]] = x[from[i]];
}
"""

CODE_OF = """/* The code of a category, 1 to categories, or 0 for any other number. */
static int code_of(float x, int categories)
{
    const int code = x >= 1.0f && x <= (float)categories ? (int)x : 0;
    return (float)code == x ? code : 0;
}
"""

ONE_HOT = """/* One output for each category, or one of -1 and 1 for two; 0 for code 0. */
static void encode_one_hot(const float *x, float *y, const int *from, const int *to,
                           const int *categories, int n)
{
    int i, j;
    for (i = 0; i < n; i++) {
        const int code = code_of(x[from[i]], categories[i]);
        if (categories[i] == 2)
            y[to[i]] = code ? 2.0f * (float)code - 3.0f : 0.0f;
        else
            for (j = 0; j < categories[i]; j++)
                y[to[i] + j] = j == code - 1 ? 1.0f : 0.0f;
    }
}
"""

EMBEDDING = """/* The code's row of a table of dim columns; zeros for code 0. */
static void encode_embedding(const float *x, float *y, const int *from, const int *to,
                             const int *categories, int n, const float *table, int dim)
{
    int i, j;
    for (i = 0; i < n; i++) {
        const int code = code_of(x[from[i]], categories[i]);
        for (j = 0; j < dim; j++)
            y[to[i] + j] = code ? table[(code - 1) * dim + j] : 0.0f;
        table += categories[i] * dim;
    }
}
"""

# As v_sincos of the engine (csrc/trigonometry.h), with the polynomials of Cephes: absolute error
# about 1e-7. Angles from 2^20 turns on are taken as 0.
SINE_COSINE = """/* Sine and cosine of an angle in turns. */
static void sine_cosine(float turns, float *sine, float *cosine)
{
    float x, z, s, c;
    int quarters;
    if (!(turns > -1048576.0f && turns < 1048576.0f))
        turns = 0.0f;
    quarters = (int)(4.0f * turns + (turns < 0.0f ? -0.5f : 0.5f));
    x = (turns - 0.25f * (float)quarters) * 6.28318531f;
    z = x * x;
    s = x + x * z * ((-1.95152959e-4f * z + 8.33216087e-3f) * z - 0.166666546f);
    c = 1.0f - 0.5f * z
        + z * z * ((2.44331571e-5f * z - 1.38873163e-3f) * z + 4.16666646e-2f);
    switch ((unsigned)quarters & 3u) {
    case 0:
        *sine = s, *cosine = c;
        break;
    case 1:
        *sine = c, *cosine = -s;
        break;
    case 2:
        *sine = -s, *cosine = -c;
        break;
    default:
        *sine = -c, *cosine = s;
    }
}
"""

PERIODIC = """/* W p + c of a number x, from its features p: cos(2 pi w x + b), or, without phases,
 * cosines, then sines, of 2 pi w x. The phases are in turns. */
static void encode_periodic(float x, float *y, const float *frequency, const float *phase,
                            const float *weight, const float *bias, int frequencies, int outputs)
{
    const int features = phase ? frequencies : 2 * frequencies;
    float sine, cosine;
    int i, j;
    for (j = 0; j < outputs; j++)
        y[j] = bias[j];
    for (i = 0; i < frequencies; i++) {
        sine_cosine(frequency[i] * x + (phase ? phase[i] : 0.0f), &sine, &cosine);
        for (j = 0; j < outputs; j++) {
            y[j] += weight[j * features + i] * cosine;
            if (!phase)
                y[j] += weight[j * features + frequencies + i] * sine;
        }
    }
}
"""

# Callers first, as in `c_functions.FUNCTIONS`.
ENCODER_FUNCTIONS = (SCALE, COPY, ONE_HOT, EMBEDDING, CODE_OF, PERIODIC, SINE_COSINE)


def name_array(encoder, name):
    """Return the name of an array of an encoder, without the prefix of the network."""
    return f"{encoder.layer.kind}_{name}_{encoder.number}"


def render_encoder_arrays(encoder, prefix=""):
    """Yield the constant arrays of a `FoldedEncoder`."""
    layer, plan, values = encoder.layer, encoder.plan, encoder.values

    def name(what):
        return prefix + name_array(encoder, what)

    if layer.kind == "scale":
        yield render_array("float", name("factor"), values["input_scale"].ravel())
        return
    if len(plan.kept_column):
        yield render_integers(name("kept"), plan.kept_column)
        yield render_integers(name("kept_to"), plan.kept_target)
    yield render_integers(name("from"), plan.column)
    yield render_integers(name("to"), plan.target)
    if len(plan.categories):
        yield render_integers(name("categories"), plan.categories)
    if layer.kind == "embedding":
        yield render_array("float", name("table"), values["embedding"].T.ravel())
    if layer.kind == "periodic":
        yield from render_periodic_arrays(encoder, name)


def render_periodic_arrays(encoder, name):
    """Yield the parameters of a `Periodic`, column by column."""
    values, (weight, bias) = encoder.values, encoder.stack_maps()
    yield render_array("float", name("frequency"), values["frequency"].T.ravel())
    if encoder.layer.has_phases:
        yield render_array("float", name("phase"), values["phase"].T.ravel() / (2 * np.pi))
    yield render_array("float", name("weight"), weight.transpose(0, 2, 1).ravel())
    yield render_array("float", name("bias"), bias.ravel())


def render_encoder_calls(encoder, source, target, prefix=""):
    """Return the lines that compute the outputs of a `FoldedEncoder`.

    Parameters
    ----------
    encoder : FoldedEncoder
    source, target : str
        The arrays of its inputs and outputs.
    prefix : str, default ""
        Of the names of the constant arrays.
    """
    layer, plan = encoder.layer, encoder.plan

    def name(what):
        return prefix + name_array(encoder, what)

    if layer.kind == "scale":
        return [f"    scale_columns({source}, {target}, {name('factor')}, {encoder.inputs});"]
    lines, n = [], len(plan.column)
    if len(plan.kept_column):
        lines.append(f"    copy_columns({source}, {target}, {name('kept')}, {name('kept_to')}, "
                     f"{len(plan.kept_column)});")  # fmt: skip
    if layer.kind == "periodic":
        return lines + render_periodic_loop(encoder, source, target, name)
    arguments = f"{source}, {target}, {name('from')}, {name('to')},"
    sizes = f"{name('categories')}, {n}"
    if layer.kind == "one_hot":
        return [*lines, f"    encode_one_hot({arguments}", f"                   {sizes});"]
    return [
        *lines, f"    encode_embedding({arguments}",
        f"                     {sizes}, {name('table')}, {layer.dim});",
    ]  # fmt: skip


def render_periodic_loop(encoder, source, target, name):
    """Return the lines that compute the outputs of a `Periodic`, column by column."""
    layer = encoder.layer
    frequencies, outputs = layer.frequencies, layer.outputs_per_column
    phase = f"{name('phase')} + {frequencies} * i" if layer.has_phases else "0"
    lines = [
        f"    for (i = 0; i < {len(encoder.plan.column)}; i++) {{",
        f"        const float value = {source}[{name('from')}[i]];",
        f"        float *to = {target} + {name('to')}[i];",
        f"        encode_periodic(value, to, {name('frequency')} + {frequencies} * i,",
        f"                        {phase},",
        f"                        {name('weight')} + {outputs * layer.features} * i,",
        f"                        {name('bias')} + {outputs} * i, {frequencies}, {outputs});",
    ]
    if layer.rectifies:
        lines += [
            f"        for (j = 0; j < {outputs}; j++)",
            "            to[j] = to[j] < 0.0f ? 0.0f : to[j];",
        ]
    if layer.keeps_value:
        lines.append(f"        to[{outputs}] = value;")
    return [*lines, "    }"]
