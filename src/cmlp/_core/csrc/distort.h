/* Random distortions of images: affine maps and elastic displacements.
 *
 * Pixel p of a distorted image has the value of the image at
 *
 *     A^-1 (p - center - shift) + center + alpha * field(p),    A = R(rotation) H(shear) diag(scales)
 *
 * by bilinear interpolation.  Each component of `field` is noise, uniform in (-1, 1) and independent
 * for each pixel, filtered by a Gaussian of standard deviation sigma whose weights have the sum 1,
 * with zeros outside of the image (Simard, Steinkraus and Platt, "Best practices for convolutional
 * neural networks applied to visual document analysis", ICDAR 2003, section 2).  The filter is two
 * products with matrices, which the micro-kernel of `affine` computes.
 *
 * The random numbers of a sample are a pure function of (seed, epoch, index of the sample): block 0 of
 * its words has the affine map, the next ones the noise.
 */
#ifndef CMLP_DISTORT_H
#define CMLP_DISTORT_H

#include <math.h>

#include "gather.h"
#include "products.h"
#include "random_blocks.h"

/* Numbers of the noise that a block of random words yields, 16 bits each. */
#define FIELD_BLOCK (8 * COUNTERS)
/* Pixels of a row that are computed at a time, in vectors: CMLP_PAD bytes, as the displacements are
 * padded. */
#define PIXEL_GROUP (CMLP_PAD / (int)sizeof(float))

/* The elements of p, an array of float, at the indices of a vector. */
#if VECTOR_BYTES == 64
#define GATHER(p, index) ((V)_mm512_i32gather_ps((__m512i)(index), p, 4))
#elif VECTOR_BYTES == 32
#define GATHER(p, index) ((V)_mm256_i32gather_ps(p, (__m256i)(index), 4))
#else
#define GATHER(p, index) ((V){(p)[(index)[0]], (p)[(index)[1]], (p)[(index)[2]], (p)[(index)[3]]})
#endif

/* The affine map of a sample: source = matrix (row, column) + offset. */
typedef struct {
    float xx, xy, yx, yy, x, y; /* x = xx * column + xy * row + x */
} affine_map;

/* Where the parts of the scratch memory begin, in floats. */
typedef struct {
    int64_t padded, noise, columns, field, bias, end;
} distortion_layout;

static distortion_layout plan_distortion(const cmlp_distortion *d)
{
    const int64_t ld = cmlp_pad_floats(d->width), pixels = d->height * d->width;
    const int64_t blocks = (2 * pixels + FIELD_BLOCK - 1) / FIELD_BLOCK;
    distortion_layout layout;
    layout.padded = cmlp_pad_floats(pixels * d->channels) + PIXEL_GROUP;
    layout.noise =
        layout.padded + cmlp_pad_floats((d->height + 2) * (d->width + 2) * d->channels);
    layout.columns = layout.noise + blocks * FIELD_BLOCK;
    layout.field = layout.columns + 2 * d->height * ld;
    layout.bias = layout.field + 2 * d->height * ld;
    layout.end = layout.bias + ld;
    return layout;
}

static int64_t distortion_floats(const cmlp_distortion *d) { return plan_distortion(d).end; }

static double get_limit(const cmlp_distortion *d, int quantity, uint32_t sample)
{
    return d->limits[quantity][sample * d->steps[quantity]];
}

/* A number uniform in (0, 1) with 24 random bits. */
static double to_unit(uint32_t word) { return ((word >> 8) + 0.5) * 0x1p-24; }

/* A number uniform in (-limit, limit). */
static double to_limit(uint32_t word, double limit) { return (2 * to_unit(word) - 1) * limit; }

/* Draw the affine map of a sample, inverted: from a pixel of the distorted image to the position in
 * the image, which has a border of one pixel. */
static affine_map draw_map(const cmlp_distortion *d, const cmlp_rng_key *key, uint32_t sample)
{
    uint32_t w[4][COUNTERS];
    compute_random_words(key, CMLP_DISTORTION, sample, 0, w);
    const double angle = to_limit(w[0][0], get_limit(d, CMLP_ROTATION, sample));
    const double slant = tan(to_limit(w[1][0], get_limit(d, CMLP_SHEAR, sample)));
    const double scaling = get_limit(d, CMLP_SCALING, sample);
    double scale_x = 1 + to_limit(w[2][0], scaling);
    const double scale_y = 1 + to_limit(w[3][0], scaling);
    const double shift = get_limit(d, CMLP_SHIFT, sample);
    const double center_x = 0.5 * (double)(d->width - 1), center_y = 0.5 * (double)(d->height - 1);
    const double from_x = center_x + to_limit(w[0][1], shift);
    const double from_y = center_y + to_limit(w[1][1], shift);
    if (to_unit(w[2][1]) < get_limit(d, CMLP_FLIP, sample))
        scale_x = -scale_x;
    const double s = sin(angle), c = cos(angle);
    const double xx = (s * slant + c) / scale_x, xy = (s - c * slant) / scale_x;
    const double yx = -s / scale_y, yy = c / scale_y;
    return (affine_map){
        (float)xx, (float)xy, (float)yx, (float)yy,
        (float)(center_x + 1 - xx * from_x - xy * from_y),
        (float)(center_y + 1 - yx * from_x - yy * from_y),
    };
}

/* Compute the displacement field of a sample, (2 * height, width): columns, then rows; padded. */
static void draw_field(const cmlp_distortion *d, const cmlp_rng_key *key, uint32_t sample,
                       const distortion_layout *layout, float *scratch)
{
    const int64_t h = d->height, w = d->width, ld = cmlp_pad_floats(w);
    float *noise = scratch + layout->noise, *columns = scratch + layout->columns;
    float *field = scratch + layout->field, *bias = scratch + layout->bias;
    for (int64_t first = 0; first < 2 * h * w; first += FIELD_BLOCK) {
        uint32_t words[4][COUNTERS];
        compute_random_words(key, CMLP_DISTORTION, sample, (uint32_t)(1 + first / FIELD_BLOCK),
                             words);
        float *restrict to = noise + first;
        for (int i = 0; i < 4 * COUNTERS; i++) {
            const uint32_t word = words[i / COUNTERS][i % COUNTERS];
            to[i] = ((float)(int32_t)(word & 0xffff) + 0.5f) * 0x1p-15f - 1;
            to[i + 4 * COUNTERS] = ((float)(int32_t)(word >> 16) + 0.5f) * 0x1p-15f - 1;
        }
    }
    memset(bias, 0, (size_t)ld * sizeof(float));
    affine(2 * h, w, w, noise, w, d->smooth_columns, ld, bias, NULL, columns, ld);
    for (int part = 0; part < 2; part++)
        affine(h, w, h, d->smooth_rows, cmlp_pad_floats(h), columns + part * h * ld, ld, bias, NULL,
               field + part * h * ld, ld);
}

/* Copy an image into one with a border of one pixel, whose value is `fill`. */
static void add_border(const cmlp_distortion *d, float fill, const float *restrict image,
                       float *restrict padded)
{
    const int64_t length = d->width * d->channels, border = d->channels;
    const int64_t ld = length + 2 * border;
    for (int64_t i = 0; i < ld; i++)
        padded[i] = padded[(d->height + 1) * ld + i] = fill;
    for (int64_t r = 0; r < d->height; r++) {
        float *to = padded + (r + 1) * ld;
        for (int64_t i = 0; i < border; i++)
            to[i] = to[border + length + i] = fill;
        memcpy(to + border, image + r * length, (size_t)length * sizeof(float));
    }
}

/* Split a position along an axis of n pixels and a border into an index and a fraction. */
INLINE int32_t split_position(float position, int32_t n, float *fraction)
{
    const float last = (float)(n + 1);
    position = position > 0 ? position : 0;
    position = position < last ? position : last;
    int32_t index = (int32_t)position;
    index = index < n ? index : n;
    *fraction = position - (float)index;
    return index;
}

/* Compute the positions of PIXEL_GROUP pixels of a row, which begin at `column`: the index of the
 * element of `padded` and the fractions.  dx, dy: their displacements, or NULL. */
INLINE void locate_pixels(const cmlp_distortion *d, const affine_map *map, float alpha, int64_t row,
                   int64_t column, const float *dx, const float *dy, int32_t *at, float *fx,
                   float *fy)
{
    const float x = map->x + map->xx * (float)column + map->xy * (float)row;
    const float y = map->y + map->yx * (float)column + map->yy * (float)row;
    const int32_t h = (int32_t)d->height, w = (int32_t)d->width, channels = (int32_t)d->channels;
    float px[PIXEL_GROUP], py[PIXEL_GROUP];
    for (int i = 0; i < PIXEL_GROUP; i++) {
        px[i] = x + map->xx * (float)i;
        py[i] = y + map->yx * (float)i;
    }
    if (dx != NULL)
        for (int i = 0; i < PIXEL_GROUP; i++) {
            px[i] += alpha * dx[i];
            py[i] += alpha * dy[i];
        }
    for (int i = 0; i < PIXEL_GROUP; i++)
        at[i] = (split_position(py[i], h, &fy[i]) * (w + 2) + split_position(px[i], w, &fx[i])) *
                channels;
}

/* Interpolate a row of the distorted image.  dx, dy: its displacements, padded, or NULL.  PIXEL_GROUP
 * elements beyond the row may become arbitrary. */
static void interpolate_row(const cmlp_distortion *d, const affine_map *map, float alpha,
                            int64_t row, const float *dx, const float *dy, const float *padded,
                            float *restrict out)
{
    const int64_t channels = d->channels, ld = (d->width + 2) * channels;
    for (int64_t column = 0; column < d->width; column += PIXEL_GROUP) {
        const int64_t n = MIN(d->width - column, PIXEL_GROUP);
        int32_t at[PIXEL_GROUP] __attribute__((aligned(CMLP_PAD)));
        float fx[PIXEL_GROUP] __attribute__((aligned(CMLP_PAD)));
        float fy[PIXEL_GROUP] __attribute__((aligned(CMLP_PAD)));
        float values[PIXEL_GROUP] __attribute__((aligned(CMLP_PAD)));
        locate_pixels(d, map, alpha, row, column, dx ? dx + column : NULL, dy + column, at, fx, fy);
        for (int64_t k = 0; k < channels; k++) {
            const float *upper = padded + k, *lower = padded + k + ld;
            for (int i = 0; i < PIXEL_GROUP; i += LANES) {
                const VI j = *(const VI *)(at + i);
                const V left = GATHER(upper, j), right = GATHER(upper + channels, j);
                const V below = GATHER(lower, j), next = GATHER(lower + channels, j);
                const V top = left + load(fx + i) * (right - left);
                const V bottom = below + load(fx + i) * (next - below);
                store(values + i, top + load(fy + i) * (bottom - top));
            }
            if (channels == 1)
                memcpy(out + column, values, sizeof values);
            else
                for (int64_t i = 0; i < n; i++)
                    out[(column + i) * channels + k] = values[i];
        }
    }
}

/* Write an image as elements of the type of the caller's samples. */
static void write_image(int32_t kind, int64_t n, const float *restrict image, void *out)
{
    if (kind == CMLP_U8)
        for (int64_t i = 0; i < n; i++) /* `gather` has divided bytes by 255 */
            ((uint8_t *)out)[i] = (uint8_t)(int32_t)(image[i] * 255 + 0.5f);
    else if (kind == CMLP_F32)
        memcpy(out, image, (size_t)n * sizeof(float));
    else
        for (int64_t i = 0; i < n; i++)
            ((double *)out)[i] = image[i];
}

static void distort(const cmlp_distortion *d, const cmlp_rng_key *key, const cmlp_rows *rows,
                    const uint32_t *index, int64_t m, void *out, float *scratch)
{
    const int64_t h = d->height, w = d->width, ld = cmlp_pad_floats(w);
    const int64_t elements = h * w * d->channels;
    const int64_t bytes = rows->kind == CMLP_U8 ? 1 : rows->kind == CMLP_F32 ? 4 : 8;
    const float fill = (float)(rows->kind == CMLP_U8 ? d->fill / 255 : d->fill);
    const distortion_layout layout = plan_distortion(d);
    float *image = scratch, *padded = scratch + layout.padded, *field = scratch + layout.field;
    for (int64_t i = 0; i < m; i++) {
        const uint32_t sample = index ? index[i] : (uint32_t)i;
        const affine_map map = draw_map(d, key, sample);
        const float alpha = (float)get_limit(d, CMLP_ELASTIC, sample);
        const int is_elastic = alpha != 0;
        gather(rows, &sample, 1, image, elements);
        add_border(d, fill, image, padded);
        if (is_elastic)
            draw_field(d, key, sample, &layout, scratch);
        for (int64_t r = 0; r < h; r++)
            interpolate_row(d, &map, alpha, r, is_elastic ? field + r * ld : NULL,
                            field + (h + r) * ld, padded, image + r * w * d->channels);
        write_image(rows->kind, elements, image, (char *)out + i * elements * bytes);
    }
}

#endif
