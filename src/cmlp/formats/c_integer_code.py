"""C99 code of the functions that integer-only exports call; see `c_integer`.

No function uses a floating-point type, a 64-bit type, a division, or the right shift of a negative
number, whose result C99 leaves to the implementation (6.5.7). A compiler for a CPU without
instructions for these needs no library.
"""

import numpy as np

# Unsigned, because partial sums may wrap around. The products fit into an int of 16 bits.
# (q - zero_point) * w would not wrap, but gcc 12 computes other sums for that with AVX512_VNNI.
SUM = """/* The integer of a pre-activation; start: the bias without the zero point's share. */
static int32_t sum(const uint8_t *q, const int8_t *w, int32_t start, int inputs)
{
    uint32_t total = (uint32_t)start;
    int j;
    for (j = 0; j < inputs; j++)
        total += (uint32_t)(q[j] * w[j]);
    return total <= INT32_MAX ? (int32_t)total : -(int32_t)(UINT32_MAX - total) - 1;
}
"""

# The product has 64 bits, high and low, from four products of 16-bit halves: no step overflows.
SCALE = """/* a * m / 2^shift to the nearest integer, ties up, at most 2^31 - 1.
 * m: below 2^31; shift: from 1 to 62. */
static uint32_t scale(uint32_t a, uint32_t m, int shift)
{
    const uint32_t a0 = a & 0xffff, a1 = a >> 16, m0 = m & 0xffff, m1 = m >> 16;
    const uint32_t right = a0 * m0, middle = a1 * m0 + (right >> 16);
    const uint32_t cross = a0 * m1 + (middle & 0xffff);
    uint32_t high = a1 * m1 + (middle >> 16) + (cross >> 16);
    uint32_t low = cross << 16 | (right & 0xffff);
    if (shift > 32) {
        high += (uint32_t)1 << (shift - 33);
    } else {
        const uint32_t half = (uint32_t)1 << (shift - 1);
        low += half;
        high += low < half;
    }
    if (shift >= 32)
        return high >> (shift - 32);
    return high >> (shift - 1) ? INT32_MAX : high << (32 - shift) | low >> shift;
}
"""

RESCALE = """/* v * m / 2^shift to the nearest integer, ties away from 0. */
static int32_t rescale(int32_t v, int32_t m, int shift)
{
    if (v < 0)
        return -(int32_t)scale(0 - (uint32_t)v, (uint32_t)m, shift);
    return (int32_t)scale((uint32_t)v, (uint32_t)m, shift);
}
"""

TO_INTEGERS = """/* The next layer's integers: sum * m / 2^shift, from low to high, plus the zero
 * point. */
static void to_integers(const uint8_t *q, uint8_t *r, const int8_t *w, const int32_t *start,
                        const int32_t *m, const uint8_t *shift, int inputs, int outputs,
                        int low, int high, int zero_point)
{
    int i;
    for (i = 0; i < outputs; i++, w += inputs) {
        const int32_t v = rescale(sum(q, w, start[i], inputs), m[i], shift[i]);
        r[i] = (uint8_t)((v < low ? low : v > high ? high : (int)v) + zero_point);
    }
}
"""

TO_INTEGERS_LEAKY = """/* The same with other factors for negative sums. */
static void to_integers_leaky(const uint8_t *q, uint8_t *r, const int8_t *w,
                              const int32_t *start, const int32_t *m, const uint8_t *shift,
                              const int32_t *m_negative, const uint8_t *shift_negative,
                              int inputs, int outputs, int low, int high, int zero_point)
{
    int i;
    for (i = 0; i < outputs; i++, w += inputs) {
        const int32_t s = sum(q, w, start[i], inputs);
        const int32_t v = s < 0 ? rescale(s, m_negative[i], shift_negative[i])
                                : rescale(s, m[i], shift[i]);
        r[i] = (uint8_t)((v < low ? low : v > high ? high : (int)v) + zero_point);
    }
}
"""

# {kind}: int16_t or int32_t.
TO_LEVELS = """/* The same for an activation in a table: the next layer's integer is level[k]
 * if k of the numbers from[0] < from[1] < ... are at most the pre-activation,
 * sum * m / 2^shift. */
static void to_levels(const uint8_t *q, uint8_t *r, const int8_t *w, const int32_t *start,
                      const int32_t *m, const uint8_t *shift, int inputs, int outputs,
                      const {kind} *from, const uint8_t *level, int count)
{{
    int i;
    for (i = 0; i < outputs; i++, w += inputs) {{
        const int32_t z = rescale(sum(q, w, start[i], inputs), m[i], shift[i]);
        int first = 0, last = count;
        while (first < last) {{
            const int middle = first + (last - first) / 2;
            if (from[middle] <= z)
                first = middle + 1;
            else
                last = middle;
        }}
        r[i] = level[first];
    }}
}}
"""

TO_FIXED = """/* The pre-activations sum * m / 2^shift. */
static void to_fixed(const uint8_t *q, int32_t *z, const int8_t *w, const int32_t *start,
                     const int32_t *m, const uint8_t *shift, int inputs, int outputs)
{
    int i;
    for (i = 0; i < outputs; i++, w += inputs)
        z[i] = rescale(sum(q, w, start[i], inputs), m[i], shift[i]);
}
"""

# Integers per octave of the table of 2^-x, in bits. Between them the function is interpolated
# linearly, with a relative error of at most (log(2) / 64)^2 / 8 = 1.5e-5.
POWER_BITS = 6

POWERS = np.rint(2.0 ** (16 - np.arange(2**POWER_BITS + 1) / 2**POWER_BITS)).astype(int)

EXP = """/* 2^16 exp(-d), for d * m / 2^shift = 2^16 log2(e) d. */
static uint32_t fixed_exp(uint32_t d, uint32_t m, int shift)
{
    const uint32_t x = scale(d, m, shift), whole = x >> 16, i = x >> 10 & 63, rest = x & 1023;
    const uint32_t power = powers[i] - ((powers[i] - powers[i + 1]) * rest + 512) / 1024;
    return whole > 16 ? 0 : (power + ((uint32_t)1 << whole) / 2) >> whole;
}
"""

DIVIDE = """/* 2^15 a / b to the nearest integer, for a <= b < 2^31. */
static int32_t divide(uint32_t a, uint32_t b)
{
    uint32_t quotient = 0;
    int i;
    for (i = 0; i <= 16; i++) {
        quotient <<= 1;
        if (a >= b) {
            a -= b;
            quotient |= 1;
        }
        a <<= 1;
    }
    return (int32_t)((quotient + 1) >> 1);
}
"""

# The sum of at most 32767 exponentials is below 2^31.
SOFTMAX = """static void fixed_softmax(int32_t *z, int n, uint32_t m, int shift)
{
    uint32_t total = 0;
    int32_t greatest = z[0];
    int j;
    for (j = 1; j < n; j++)
        greatest = z[j] > greatest ? z[j] : greatest;
    for (j = 0; j < n; j++) {
        z[j] = (int32_t)fixed_exp((uint32_t)greatest - (uint32_t)z[j], m, shift);
        total += (uint32_t)z[j];
    }
    for (j = 0; j < n; j++)
        z[j] = divide((uint32_t)z[j], total);
}
"""

SIGMOID = """static void fixed_sigmoid(int32_t *z, int n, uint32_t m, int shift)
{
    int j;
    for (j = 0; j < n; j++) {
        const uint32_t size = z[j] < 0 ? 0 - (uint32_t)z[j] : (uint32_t)z[j];
        const uint32_t e = fixed_exp(size, m, shift);
        const int32_t rest = divide(e, 65536 + e);
        z[j] = z[j] < 0 ? rest : 32768 - rest;
    }
}
"""

TANH = """static void fixed_tanh(int32_t *z, int n, uint32_t m, int shift)
{
    int j;
    for (j = 0; j < n; j++) {
        const uint32_t size = z[j] < 0 ? 0 - (uint32_t)z[j] : (uint32_t)z[j];
        const uint32_t e = fixed_exp(size, m, shift); /* of twice the number */
        const int32_t t = divide(65536 - e, 65536 + e);
        z[j] = z[j] < 0 ? -t : t;
    }
}
"""

# Callers first; `c_integer` includes those that are called.
INTEGER_FUNCTIONS = (
    TO_INTEGERS, TO_INTEGERS_LEAKY, TO_LEVELS, TO_FIXED, SOFTMAX, SIGMOID, TANH, EXP, DIVIDE,
    RESCALE, SCALE, SUM,
)  # fmt: skip
