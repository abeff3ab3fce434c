/* Sine and cosine of angles in turns. */
#ifndef CMLP_TRIGONOMETRY_H
#define CMLP_TRIGONOMETRY_H

#include "simd.h"

#define TWO_PI (REAL)6.28318530717958647693

/* Larger angles are taken as 0: the digits of a float32 no longer resolve them. */
#define MOST_TURNS (REAL)(1 << 20)

/* The nearest integer of a number below 2^22 in size: adding the constant rounds to it. */
INLINE V v_nearest(V x)
{
    const REAL shift = CMLP_REAL_BYTES == 4 ? (REAL)0x1.8p23 : (REAL)0x1.8p52;
    return (x + shift) - shift;
}

/* Sine and cosine of u turns, 2 pi u.  The angle is reduced exactly to an eighth of a turn around a
 * multiple of a quarter; the polynomials are those of Cephes (Moshier, sin.c and sinf.c). */
INLINE void v_sincos(V u, V *sine, V *cosine)
{
    u = v_select(v_abs(u) < MOST_TURNS, u, splat(0));
    const V quarters = v_nearest(u * 4), x = (u - quarters * (REAL)0.25) * TWO_PI, z = x * x;
#if CMLP_REAL_BYTES == 4
    V s = splat(-1.9515295891E-4f);
    s = s * z + 8.3321608736E-3f;
    s = s * z - 1.6666654611E-1f;
    V c = splat(2.443315711809948E-5f);
    c = c * z - 1.388731625493765E-3f;
    c = c * z + 4.166664568298827E-2f;
#else
    V s = splat(1.58962301576546568060E-10);
    s = s * z - 2.50507477628578072866E-8;
    s = s * z + 2.75573136213857245213E-6;
    s = s * z - 1.98412698295895385996E-4;
    s = s * z + 8.33333333332211858878E-3;
    s = s * z - 1.66666666666666307295E-1;
    V c = splat(-1.13585365213876817300E-11);
    c = c * z + 2.08757008419747316778E-9;
    c = c * z - 2.75573141792967388112E-7;
    c = c * z + 2.48015872888517045348E-5;
    c = c * z - 1.38888888888730564116E-3;
    c = c * z + 4.16666666666665929218E-2;
#endif
    s = x + x * z * s;
    c = 1 - z * (REAL)0.5 + z * z * c;
    /* The quarter modulo 4, from -2 to 2, chooses and signs the results. */
    const V turn = quarters - 4 * v_nearest(quarters * (REAL)0.25);
    const VI is_odd = v_abs(turn) == 1, is_opposite = v_abs(turn) == 2;
    const V a = v_select(is_odd, c, s), b = v_select(is_odd, s, c);
    *sine = v_select(is_opposite | (turn == -1), -a, a);
    *cosine = v_select(is_opposite | (turn == 1), -b, b);
}

#endif
