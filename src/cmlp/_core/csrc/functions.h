/* Elementary functions of vectors, in either real type.
 *
 * Unless stated otherwise a function accepts any finite argument and infinity, returns NaN for
 * NaN, and has an error of a few units in the last place (ulp) over its whole range.
 * tests/test_kernels.py bounds the errors of the activation functions that are built on them: 4
 * ulp, with the exceptions and reasons listed there.
 */
#ifndef CMLP_FUNCTIONS_H
#define CMLP_FUNCTIONS_H

#include <math.h>

#include "simd.h"

/* max(0, z), and its derivative, as a function of its value a. */
INLINE V v_relu(V z) { return v_select(z < 0, splat(0), z); }
INLINE V v_relu_slope(V a) { return v_select(a > 0, splat(1), splat(0)); }

/* Square root, correctly rounded. */
INLINE V v_sqrt(V x)
{
    for (int i = 0; i < LANES; i++)
        x[i] = (REAL)(CMLP_REAL_BYTES == 4 ? __builtin_sqrtf((float)x[i])
                                           : __builtin_sqrt((double)x[i]));
    return x;
}

/* 1/x for a positive, normal x.  AVX-512: the ISA's estimate of 14 bits, refined by Newton's
 * method to 1 ulp; other ISAs: a division. */
INLINE V v_reciprocal(V x)
{
#if VECTOR_BYTES == 64 && CMLP_REAL_BYTES == 4
    V y = (V)_mm512_rcp14_ps((__m512)x);
    return y + y * (1 - x * y);
#elif VECTOR_BYTES == 64
    V y = (V)_mm512_rcp14_pd((__m512d)x);
    y += y * (1 - x * y);
    return y + y * (1 - x * y);
#else
    return 1 / x;
#endif
}

/* Square root of a finite, non-negative x, faster than v_sqrt where the ISA has an estimate of the
 * reciprocal root: Goldschmidt's iteration (Markstein, "IA-64 and Elementary Functions", 2000,
 * ch. 9), which refines the root and half of its reciprocal together.  In float32 the square root
 * instruction is as fast. */
INLINE V v_root(V x)
{
#if VECTOR_BYTES == 64 && CMLP_REAL_BYTES == 8
    V y = (V)_mm512_maskz_rsqrt14_pd(
        _mm512_cmp_pd_mask((__m512d)x, _mm512_setzero_pd(), _CMP_GT_OQ), (__m512d)x);
    V root = x * y, half = (REAL)0.5 * y, error = (REAL)0.5 - root * half;
    root += root * error;
    half += half * error;
    return root + (x - root * root) * half;
#else
    return v_sqrt(x);
#endif
}

/* p 2^n for a whole number n of at most 2^11, rounded once.  AVX-512 has an instruction; otherwise
 * 2^n is applied as two factors, so that results may be subnormal. */
INLINE V scale_by_power(V p, V n)
{
#if VECTOR_BYTES == 64 && CMLP_REAL_BYTES == 4
    return (V)_mm512_scalef_ps((__m512)p, (__m512)n);
#elif VECTOR_BYTES == 64
    return (V)_mm512_scalef_pd((__m512d)p, (__m512d)n);
#else
    const VI whole = __builtin_convertvector(n, VI), half = whole >> 1;
    const V first = (V)((half + REAL_BIAS) << REAL_MANTISSA);
    return p * first * (V)((whole - half + REAL_BIAS) << REAL_MANTISSA);
#endif
}

/* Reduce x = n ln(2) + r with |r| <= ln(2)/2 (Cody and Waite, "Software Manual for the Elementary
 * Functions", 1980, ch. 6) for |x| up to a thousand; set n, and return exp(r) - 1 by its Taylor
 * polynomial. */
INLINE V reduced_expm1(V x, V *n)
{
#if CMLP_REAL_BYTES == 4
    const REAL ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f, shift = 0x1.8p23f;
#else
    const REAL ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    const REAL shift = 0x1.8p52;
#endif
    const REAL log2e = (REAL)1.44269504088896340736;
    *n = (x * log2e + shift) - shift; /* rounds to a whole number */
    V r = x - *n * ln2_high - *n * ln2_low;
#if CMLP_REAL_BYTES == 4
    V p = splat(1 / (REAL)5040);
#else
    V p = splat(1 / (REAL)6227020800);
    p = p * r + 1 / (REAL)479001600;
    p = p * r + 1 / (REAL)39916800;
    p = p * r + 1 / (REAL)3628800;
    p = p * r + 1 / (REAL)362880;
    p = p * r + 1 / (REAL)40320;
    p = p * r + 1 / (REAL)5040;
#endif
    p = p * r + 1 / (REAL)720;
    p = p * r + 1 / (REAL)120;
    p = p * r + 1 / (REAL)24;
    p = p * r + 1 / (REAL)6;
    p = p * r + (REAL)0.5;
    return p * r * r + r;
}

/* exp(x) = 2^n exp(r).  Large arguments return infinity, small ones 0. */
INLINE V v_exp(V x)
{
    const REAL low = CMLP_REAL_BYTES == 4 ? -104 : -746, high = CMLP_REAL_BYTES == 4 ? 89 : 710;
    V n;
    V p = reduced_expm1(v_select(x < low, splat(low), v_select(x > high, splat(high), x)), &n) + 1;
    return v_select(x == x, scale_by_power(p, n), x); /* NaN is returned unchanged */
}

/* exp(x) - 1 for x <= 0, as 2^n (exp(r) - 1) + (2^n - 1), which does not cancel near 0, where n is
 * 0.  Below -50 it rounds to -1. */
INLINE V v_expm1(V x)
{
    V n;
    V q = reduced_expm1(v_select(x < -50, splat(-50), x), &n);
    return scale_by_power(q, n) + (scale_by_power(splat(1), n) - 1);
}

/* log(x) for a positive, normal x = 2^k (1 + f): log(1 + f) by a polynomial in s = f / (2 + f), as
 * in fdlibm's e_log.c. */
INLINE V v_log(V x)
{
    const VI exponent_mask = (VI){0} + (((INT)1 << REAL_MANTISSA) - 1);
    VI bits = (VI)x;
    VI k = (bits >> REAL_MANTISSA) - REAL_BIAS;
    V m = (V)((bits & exponent_mask) | ((VI){0} + ((INT)REAL_BIAS << REAL_MANTISSA)));
    VI above = m > (REAL)1.41421356237309504880;
    m = v_select(above, m * (REAL)0.5, m);
    k -= above; /* the mask is -1 where m is above sqrt(2) */
    V f = m - 1, s = f / (f + 2), z = s * s;
    V r = splat((REAL)1.479819860511658591e-01);
    r = r * z + (REAL)1.531383769920937332e-01;
    r = r * z + (REAL)1.818357216161805012e-01;
    r = r * z + (REAL)2.222219843214978396e-01;
    r = r * z + (REAL)2.857142874366239149e-01;
    r = r * z + (REAL)3.999999999940941908e-01;
    r = r * z + (REAL)6.666666666666735130e-01;
    r *= z;
    V whole = __builtin_convertvector(k, V);
    V half_square = f * f * (REAL)0.5;
#if CMLP_REAL_BYTES == 4
    const REAL ln2_high = 0x1.62e300p-1f, ln2_low = 0x1.2fefa2p-17f;
#else
    const REAL ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
#endif
    return whole * ln2_high - ((half_square - (s * (half_square + r) + whole * ln2_low)) - f);
}

/* log(1 + e) for e in [0, 1].  The rounding error of 1 + e is corrected to first order. */
INLINE V v_log1p(V e)
{
    V u = e + 1;
    return v_log(u) + (e - (u - 1)) / u;
}

/* 1 / (1 + exp(-x)), by exp(-|x|), which does not overflow. */
INLINE V v_sigmoid(V x)
{
    V e = v_exp(-v_abs(x)), s = v_reciprocal(e + 1);
    return v_select(x < 0, e * s, s);
}

/* tanh(x): 1 - 2 / (exp(2|x|) + 1); below 0.625, where that cancels, the approximations of Cephes
 * (Moshier, tanh.c and tanhf.c). */
INLINE V v_tanh(V x)
{
    V size = v_abs(x), z = x * x;
    V bounded = v_select(size > 20, splat(20), size); /* tanh(20) rounds to 1 */
    V far = 1 - 2 * v_reciprocal(v_exp(bounded + bounded) + 1);
#if CMLP_REAL_BYTES == 4
    V p = splat(-5.70498872745E-3f);
    p = p * z + 2.06390887954E-2f;
    p = p * z - 5.37397155531E-2f;
    p = p * z + 1.33314422036E-1f;
    p = p * z - 3.33332819422E-1f;
    V near = x + x * z * p;
#else
    V p = splat(-9.64399179425052238628E-1);
    p = p * z - 9.92877231001918586564E1;
    p = p * z - 1.61468768441708447952E3;
    V q = z + 1.12811678491632931402E2;
    q = q * z + 2.23548839060100448583E3;
    q = q * z + 4.84406305325125486048E3;
    V near = x + x * z * (p / q);
#endif
    return v_select(size < (REAL)0.625, near, v_select(x < 0, -far, far));
}

/* log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which does not overflow. */
INLINE V v_softplus(V x)
{
    return v_select(x < 0, splat(0), x) + v_log1p(v_exp(-v_abs(x)));
}

/* Coefficients of (1 + 2t) exp(t^2) erfc(t) as a polynomial in (t - 3) / (t + 3), highest power
 * first.  The form is that of Shepherd and Laframboise (Mathematics of Computation 36, 1981,
 * eq. 4); the polynomial interpolates at Chebyshev nodes for t up to 11 (float32) or 28. */
static const REAL normal_tail_coefficients[] = {
#if CMLP_REAL_BYTES == 4
    -0.000269006802244f, -0.000775897422963f, 0.00200978232680f, 0.00257290446040f,
    -0.0238000590087f, 0.0682927481143f, -0.119270944047f, 0.129646857536f, -0.0475623729550f,
    -0.135621155552f, 1.25300805862f,
#else
    -4.2101049751191948741e-9, -8.5001195021153065514e-9, 3.2916343967663202053e-8,
    9.1862430261438466081e-8, -1.3111661375364588209e-7, -6.0500486239335036780e-7,
    3.4899197889744294596e-7, 3.4639975323529042191e-6, -7.2758757466671829532e-7,
    -0.000020096630875953952426, 4.9481478755765394707e-6, 0.00012509815174864321486,
    -0.00010515949033775974393, -0.00077983203796111148986, 0.0018886903120037819010,
    0.0025293917882704453784, -0.023770514914233671363, 0.068308027345804587303,
    -0.11927366341552853271, 0.12964515870270551584, -0.047562294353446372762,
    -0.13562110612458068476, 1.2530080582697296374,
#endif
};

/* min(|x|, bound), where the tail of the normal distribution beyond the bound rounds to 0. */
INLINE V clamp_to_tail(V x)
{
    const REAL bound = CMLP_REAL_BYTES == 4 ? 15 : 39;
    return v_select(v_abs(x) > bound, splat(bound), v_abs(x));
}

/* exp(-x^2 / 2).  Far from 0 the rounding error of the square would cost many ulp; it is computed
 * by Dekker's split product (Numerische Mathematik 18, 1971) and corrected to first order. */
INLINE V v_gaussian(V x)
{
    const VI upper = (VI){0} - ((INT)1 << (REAL_MANTISSA / 2 + 1));
    x = clamp_to_tail(x);
    V square = x * x, high = (V)((VI)x & upper), low = x - high;
    V error = (high * high - square) + 2 * high * low + low * low;
    return v_exp(square * (REAL)-0.5) * (1 - error * (REAL)0.5);
}

/* erfc(|x| / sqrt(2)) / (2 exp(-x^2 / 2)): the tail of the normal distribution divided by
 * v_gaussian(x). */
INLINE V v_normal_tail(V x)
{
    const REAL root = (REAL)1.41421356237309504880; /* x = root t */
    V size = clamp_to_tail(x), q = (size - 3 * root) / (size + 3 * root),
      p = splat(normal_tail_coefficients[0]);
    for (size_t i = 1; i < sizeof normal_tail_coefficients / sizeof(REAL); i++)
        p = p * q + normal_tail_coefficients[i];
    return (REAL)0.5 * p / (1 + size * root);
}

#endif
