/* All tuning constants of the C kernels and of the compiled engine.
 *
 * Each states what it controls, how it was chosen and what happens if it is wrong.  Measurements
 * are of one core of an AMD EPYC with Zen 4 cores (32 KiB L1 data cache, 1 MiB L2) unless stated
 * otherwise, with `python -m bench`.  "Not measured separately" means that the value was chosen
 * by reasoning, or together with the code around it, and that no measurement of it is recorded.
 *
 * A wrong value costs time or memory only: it changes no result, except where "changes bits" is
 * stated.  A rule that uses a constant depends on shapes, batch size and ISA, never on a timing.
 *
 * The constants of the engine (prefix CMLP_) come first.  The constants of the kernels follow; only
 * kernels.c sees them.
 */
#ifndef CMLP_POLICY_H
#define CMLP_POLICY_H

/* --- Control flow ------------------------------------------------------------------------- */

/* Seconds of training or inference between two returns to Python, for signals, progress and
 * checkpoints.  Chosen so that Ctrl-C feels immediate; not measured separately.
 * Longer: slow reaction.  Shorter: more of the fixed cost of a return. */
#define CMLP_TIME_SLICE_SECONDS 0.05

/* Polling interval of the clock during training, in multiply-adds: about 35 us at the core's peak
 * of 58e9 multiply-adds per second in float32.  Not measured separately.
 * Larger: time slices of slow networks get longer.  Smaller: small steps read the clock often. */
#define CMLP_CLOCK_POLL_MULTIPLY_ADDS 2e6

/* Rows per batch of inference.  Not measured separately.
 * Larger: activations leave the L2 cache.  Smaller: packing a panel of weights is amortized over
 * fewer rows. */
#define CMLP_INFERENCE_BATCH_ROWS 256

/* Rows per part of the batch of L-BFGS, which is all samples: the sums continue from part to part, so
 * that the bits are those of one part.  A multiple of BF16_SAMPLES.  With 30,000 samples of 200
 * columns and 128 units, 128 to 512 rows take 0.82 of the time of one part, and a seventh of its
 * memory.
 * Larger: activations leave the L2 cache, and take more memory.  Smaller: panels of weights are packed
 * more often. */
#define CMLP_GRADIENT_BATCH_ROWS 512

/* Elements that the fast loops of compress() may write beyond the end of a row: the lanes of the
 * widest vector.  Rows closer than this to the end of a thread's share use the exact loop.
 * Smaller: writes into another thread's share.  Larger: the exact loop is used more often. */
#define CMLP_COMPRESS_OVERRUN_ELEMENTS 16

/* Rows of the products of Jacobians in forward mode: tangents of several samples together.
 * Larger: tangents leave the L1 cache.  Smaller: packing a panel of weights is amortized over fewer
 * rows. */
#define CMLP_TANGENT_ROWS 96

/* --- Threads ------------------------------------------------------------------------------ */

/* Maximum number of threads of a team, the caller included.  It bounds arrays of pointers. */
#define CMLP_MAX_THREADS 256

/* Seconds for which a worker spins before it sleeps, and for which a caller spins while others
 * finish their blocks.  A phase without work took 0.15 us with two spinning members, and 7 us if the
 * caller had to wake the worker, so that steps of a few us need workers that spin.
 * Longer: a process that waits takes CPU time from others.  Shorter: steps with work of the calling
 * thread alone between their phases wait for workers to wake up. */
#define CMLP_SPIN_SECONDS 20e-6

/* A caller that did not compute for CMLP_LOST_FRACTION of a window of at least CMLP_WINDOW_SECONDS,
 * while it had workers, computes alone for CMLP_PAUSE_SECONDS, or, if it happens again soon, up to
 * CMLP_LONGEST_PAUSE_SECONDS: there are more busy threads than CPUs.  With another process on one of
 * two cores, 784-128-10 with batches of 32 took 1.1 times as long on two threads as on one with pauses.
 * Longer pauses: a CPU that becomes free is used late.  Shorter: on a busy machine, time is lost more
 * often. */
#define CMLP_WINDOW_SECONDS 1e-3
#define CMLP_LOST_FRACTION 0.4
#define CMLP_PAUSE_SECONDS 10e-3
#define CMLP_LONGEST_PAUSE_SECONDS 160e-3

/* Minimum number of multiply-adds of a batch's forward product per thread of a training step.  At
 * 784-128-10 and batch size 1, 1e5 multiply-adds, two threads are faster than one.
 * Larger: small steps use too few threads.  Smaller: phases cost more than they save. */
#define CMLP_STEP_MULTIPLY_ADDS 4e4

/* Minimum number of multiply-adds of all forward products of a call per thread.  A worker that
 * sleeps starts only after some 10 us, for which the call must last long enough.
 * Larger: short calls use too few threads.  Smaller: waking workers costs more than it saves. */
#define CMLP_CALL_MULTIPLY_ADDS 2e6

/* Minimum number of multiply-adds of a phase that more than one thread computes: 0.3 us at the core's
 * peak, twice the time of a phase without work.
 * Larger: workers idle.  Smaller: exchanging the data costs more than the work. */
#define CMLP_PHASE_MULTIPLY_ADDS 1.6e4

/* A phase has one block per thread, or, from this number of multiply-adds per thread on,
 * CMLP_LARGE_PHASE_BLOCKS: the blocks of a worker that does not run are claimed by others.  Not
 * measured separately.
 * Smaller, or more blocks: more packing of panels, and smaller tiles. */
#define CMLP_LARGE_PHASE_MULTIPLY_ADDS 4e6
#define CMLP_LARGE_PHASE_BLOCKS 4

/* Minimum number of rows of a batch per block, if there are several blocks per thread: each block packs
 * the panels of all weights.  Not measured separately.
 * Smaller: more packing.  Larger: fewer blocks to claim. */
#define CMLP_ROW_BLOCK_ROWS 64

/* Cost of one entry of a sparse row per unit of the first layer, in multiply-adds of a dense
 * product.  Used to estimate the work of a batch.  Not measured separately.
 * Wrong: sparse batches use too many or too few threads. */
#define CMLP_SPARSE_ENTRY_COST 3.0

/* Minimum number of elements of a dense array per thread that compresses it.  On Zen 4, 2^20 elements
 * of uint8 took 0.23 ms on one thread and 0.11 ms on two.
 * Larger: medium arrays use too few threads.  Smaller: starting threads costs more than it saves. */
#define CMLP_THREAD_COMPRESS_ELEMENTS (1 << 19)

/* Elements of the images that a thread distorts before it claims the next block: 64 images of 28 x 28
 * pixels, about 0.3 ms of work.  Not measured separately.
 * Larger: threads wait for the last block.  Smaller: more claims. */
#define CMLP_DISTORTION_BLOCK_ELEMENTS (64 * 784)

/* Granularity of the partition of a layer's columns among threads, in bytes: two cache lines, as
 * the adjacent-line prefetcher fetches lines in pairs.  Not measured separately.
 * Smaller: threads share cache lines or line pairs.  Larger: uneven shares of narrow layers. */
#define CMLP_COLUMN_BLOCK_BYTES 128

/* The weights of the first layer are stored by column blocks during a call with several threads
 * (column_storage.pxi) if their rows have at most CMLP_COLUMN_STORAGE_BYTES and the call has at least
 * CMLP_COLUMN_STORAGE_STEPS steps.  A pass of two cores over W of 784-128 takes 2.2 us with blocks, and
 * 5.4 us with rows: with rows, 784-128-10 is slower on two threads than on one.  At 784-512 both
 * take the same time.
 * More bytes, or fewer steps: copying costs more than it saves. */
#define CMLP_COLUMN_STORAGE_BYTES 1024
#define CMLP_COLUMN_STORAGE_STEPS 16

/* Granularity of the partition of the rows of W among threads in an update, in rows, when our own
 * kernels compute it.  Not measured separately.
 * Smaller: tiles of W with few rows at the borders.  Larger: uneven shares. */
#define CMLP_UPDATE_BLOCK_ROWS 16

/* Rows of a batch of inference in 8-bit integers.  48 to 384 rows took the same time within 1% with
 * 784-512-256-10, and within 6% with 784-2048-2048-10, where 48 were the fastest.
 * Larger: the operands of two layers leave the L2 cache.  Smaller: a panel of weights is read for
 * fewer tiles. */
#define CMLP_QUANTIZED_BATCH_ROWS 48

/* Rows per thread between two readings of the clock, and two barriers.  Not measured separately.
 * Larger: slow reaction to Ctrl-C in wide networks.  Smaller: more barriers. */
#define CMLP_QUANTIZED_ROUND_ROWS (8 * CMLP_QUANTIZED_BATCH_ROWS)

/* The same as CMLP_CALL_MULTIPLY_ADDS for products of 8-bit integers, which take a quarter of the
 * time.  Not measured separately. */
#define CMLP_QUANTIZED_THREAD_MULTIPLY_ADDS (4 * CMLP_CALL_MULTIPLY_ADDS)

/* --- BLAS --------------------------------------------------------------------------------- */

/* The BLAS is used only if the vectors of the chosen ISA are at most this wide, in bytes.  Our
 * AVX2 and AVX-512 products were faster than those of NumPy's OpenBLAS for SkylakeX (92 to 96% of
 * the core's peak); our baseline products are slower than a BLAS that uses wider vectors.
 * Wrong: the slower of the two computes large products.  Changes bits. */
#define CMLP_BLAS_MAX_VECTOR_BYTES 16

/* Minimum size of a product given to the BLAS: multiply-adds, and rows of the batch.  Not measured
 * separately.
 * Smaller: the call, which packs its operands, costs more than it saves.  Changes bits. */
#define CMLP_BLAS_MULTIPLY_ADDS 2e6
#define CMLP_BLAS_MIN_ROWS 8

/* Rows of the batch per call of the BLAS; updates use twice this number of rows of W.  A BLAS may
 * sum in a different order for another shape: fixed blocks keep results independent of the number
 * of threads.  Not measured separately.
 * Smaller: more calls.  Larger: uneven shares of the batch.  Changes bits. */
#define CMLP_BLAS_BLOCK_ROWS 64

/* --- Updates ------------------------------------------------------------------------------ */

/* The optimizer processes the gradient of a layer in blocks of this many bytes, right after they
 * are computed, while they are in the L1 or L2 cache.  Not measured separately.
 * Larger: the gradient is read from the L3 cache or memory.  Smaller: more calls. */
#define CMLP_GRADIENT_BLOCK_BYTES (1 << 16)

/* Rows per block of the sum of squares of gradients or weights.  The blocks are summed in order,
 * so that norms are independent of the number of threads.  Not measured separately.
 * Larger: uneven shares.  Smaller: more partial sums.  Changes bits. */
#define CMLP_SQUARES_BLOCK_ROWS 64

/* The update by a sparse batch goes over the columns of the batch, through a word of marks per
 * column and 64 samples (marked_accumulate), if each word has this many entries on average and a
 * row of W has this many bytes; otherwise over the entries of each sample (sparse_accumulate).
 * The limits were measured over widths and batch sizes.  At 200 MNIST digits and 112 units the
 * update took 93 us by marks, and 180 us by the sorted entries that they replaced.
 * Smaller: finding the entries costs more than reading and writing W once saves. */
#define CMLP_MARKED_ENTRIES_PER_WORD 2
#define CMLP_MARKED_ROW_BYTES 256

/* --- bfloat16 ----------------------------------------------------------------------------- */

/* Minimum number of inputs and of outputs of a layer whose products are rounded to bfloat16, in a
 * network that computes in bfloat16.  On Zen 4, with batches of 128 and 256, networks with layers of
 * 32, 48, 64 and 96 units took 1/1.2, 1/1.25, 1/1.45 and 1/1.6 of float32's time, and those with 16
 * units the same time.  With batches of 4 to 32, which have fewer products for each rounded weight,
 * layers of fewer than 64 units are slower than in float32.
 * Smaller: rounding costs more than the faster products save.  Changes bits. */
#define CMLP_BF16_MIN_SIZE 64

/* --- Memory layout and prefetching -------------------------------------------------------- */

/* A workspace buffer whose rows are a multiple of this many bytes apart gets one more vector of
 * padding per row, as such rows map to few sets of the L1 cache.  Not measured separately.
 * Larger: conflict misses of column-wise access.  Smaller: unused padding. */
#define CMLP_ALIASED_STRIDE_BYTES (1 << 10)

/* The rows of the next batch are prefetched into the L2 cache if the batch has at most this many
 * bytes, at 8 bytes per element.  Not measured separately.  (Prefetching inside the forward product
 * instead of before and after a step's work made training on MNIST with batches of 200 7% slower.)
 * Larger: prefetched rows evict weights.  Smaller: gathering waits for memory, as random 3 KB
 * rows take 2.4 us per batch of ten. */
#define CMLP_PREFETCH_BATCH_BYTES (1 << 18)

/* --- Compression of dense input into sparse rows ------------------------------------------ */

/* Number of evenly spaced rows from which the density of a dense input is estimated.  Not
 * measured separately.
 * Larger: slower start of fit.  Smaller: wrong decisions for inputs with uneven rows. */
#define CMLP_DENSITY_SAMPLE_ROWS 256

/* Dense input is compressed if its density (fraction of non-zeros) is at most this and a row has
 * this many columns.  One entry of a sparse row takes the time of two to five elements of a dense
 * row, and compressing costs less than one epoch saves (28 ms for MNIST in float32).
 * Larger density, smaller width: training on sparse rows is slower than on dense ones. */
#define CMLP_SPARSE_MAX_DENSITY 0.25
#define CMLP_SPARSE_MIN_COLUMNS 64

/* The largest density in the wide case: the ISA's vectors, a row of the first layer's weights and
 * the batch have at least these sizes.  An entry then costs less than two dense elements.
 * Measured on Fashion-MNIST: 784-128-10 with batches of 32 takes 98 us per step instead of 136.
 * Larger density, smaller sizes: as above. */
#define CMLP_WIDE_MAX_DENSITY 0.55
#define CMLP_WIDE_VECTOR_BYTES 32
#define CMLP_WIDE_LAYER_BYTES 256
#define CMLP_WIDE_BATCH_ROWS 32

/* The largest density if AMX multiplies dense rows by the first layer.  Sapphire Rapids, 784 and 4096
 * columns, 64 and 512 units, batches of 128: sparse rows are faster at 1%, dense ones at 2%.
 * Larger density: as above. */
#define CMLP_TILES_MAX_DENSITY 0.015

#ifdef CMLP_REAL_BYTES /* kernels.c */

/* --- Dense products: register tiles and panels, by ISA ------------------------------------ */

/* TILE_ROWS, TILE_ROWS_4, TILE_ROWS_8: maximum rows of a register tile of at most 2, of 4 and of
 * 8 vectors.  rows x vectors accumulators, the vectors of a row of B and a broadcast element of A
 * must fit into the registers: 32 (AVX-512, NEON) or 16.
 *
 * PANEL_VECTORS, PANEL_TILE_ROWS: width of a packed panel of B, and rows of the tiles that use it.
 *
 * A_BLOCK_ROWS: rows of the result per packed block of A in an update; 0: A is not packed.  Tiles
 * that are wide enough hide the strided access to A.
 *
 * HALF_VECTORS: whether the last tile of a row has vectors of half the width if at most half a vector
 * is not padding.  Zen 4 computes 512-bit vectors in two halves: at 200 x 100 x 1 in float64 the
 * update takes 5.1 us instead of 6.6 us.  Cores with two 512-bit units gain nothing.
 *
 * STREAM_REGISTERS, STREAM_ROWS: vectors of deltas (and, in a shared pass, of sums) that a pass
 * over W keeps in registers, and the maximum number of samples per pass.
 *
 * They were chosen together, by looking at the assembly and at the fraction of the core's peak
 * (`python -m bench --roofline`): tiles reach 97%, products with packing 92 to 96%, with AVX-512
 * and AVX2.  NEON and the baseline ISA follow from their number of registers; not measured.
 * Larger: spills, which cost more than any blocking saves.  Smaller: exposed latency of the
 * multiply-adds, and more loads per multiply-add. */
#if defined(__AVX512F__)
#define HALF_VECTORS 1
#define TILE_ROWS 12
#define TILE_ROWS_4 6
#define TILE_ROWS_8 3
#define PANEL_VECTORS 4
#define PANEL_TILE_ROWS 6
#define A_BLOCK_ROWS 0
#define STREAM_REGISTERS 20
#define STREAM_ROWS 10
#elif defined(__AVX2__)
#define HALF_VECTORS 0
#define TILE_ROWS 6
#define TILE_ROWS_4 2
#define TILE_ROWS_8 1
#define PANEL_VECTORS 2
#define PANEL_TILE_ROWS 6
#define A_BLOCK_ROWS 96
#define STREAM_REGISTERS 10
#define STREAM_ROWS 5
#elif defined(__aarch64__)
#define HALF_VECTORS 0
#define TILE_ROWS 8
#define TILE_ROWS_4 5
#define TILE_ROWS_8 2
#define PANEL_VECTORS 4
#define PANEL_TILE_ROWS 5
#define A_BLOCK_ROWS 96
#define STREAM_REGISTERS 20
#define STREAM_ROWS 10
#else
#define HALF_VECTORS 0
#define TILE_ROWS 5
#define TILE_ROWS_4 2
#define TILE_ROWS_8 1
#define PANEL_VECTORS 2
#define PANEL_TILE_ROWS 5
#define A_BLOCK_ROWS 96
#define STREAM_REGISTERS 10
#define STREAM_ROWS 5
#endif

/* Depth of a panel (rows of B) in bytes of reals: 512 rows in float32, 256 in float64, so that a
 * panel of AVX-512 has 128 or 64 KiB and stays in the L2 cache.  Not measured separately.
 * Larger: panels leave the L2 cache.  Smaller: C is read and written more often. */
#define PANEL_DEPTH_BYTES 2048

/* Minimum batch size for which panels are packed: a packed panel must be used by two tiles at
 * least.  Not measured separately.
 * Smaller: packing costs more than it saves.  Larger: conflict and TLB misses. */
#define PACK_MIN_ROWS (2 * TILE_ROWS)

/* A forward product of at least PACK_MIN_ROWS and at most UNPACKED_ROWS samples packs no panels of
 * weights either, if these have at most UNPACKED_WEIGHT_BYTES, the sum at least UNPACKED_MIN_DEPTH
 * terms, and the rows of W do not all map to the same sets of the L1 cache.  Measured over 64 to 784
 * inputs and 64 to 1,024 outputs: 24 samples take 0.82 to 0.94 of the time, 64 samples 0.92 to 0.98,
 * and 100 samples 0.94 to 1.02, with AVX-512 and AVX2.
 * More samples or weights, smaller depth: rows of W with a large stride are read for too many tiles.
 * Fewer samples or weights: packing costs more than it saves.  Aliased strides: up to 1.9 times the
 * time. */
#define UNPACKED_ROWS 104
#define UNPACKED_WEIGHT_BYTES (1 << 20)
#define UNPACKED_MIN_DEPTH 16
#define UNPACKED_ALIASED_STRIDE_BYTES 4096

/* An update packs no panels of deltas if the layer has at most UNPACKED_INPUTS inputs, so that few
 * tiles would use a panel, and they have at most UNPACKED_INPUT_BYTES.  Measured over 13 to 112 inputs,
 * 64 to 3,000 samples, 100 and 256 outputs: with 20 inputs the update takes 0.79 to 0.89 of the time
 * with AVX-512 and 0.80 to 1.00 with AVX2, with 64 inputs 0.93 to 0.97 and 0.89 to 0.97.
 * Larger: rows of deltas with a large stride are read for too many tiles; up to 1.2 times the time.
 * Smaller: packing costs more than it saves. */
#define UNPACKED_INPUTS 64
#define UNPACKED_INPUT_BYTES (1 << 18)

/* Products that do not pack process a B (or W) larger than LARGE_MATRIX_BYTES, which no L2 cache
 * holds, in blocks of LARGE_MATRIX_BLOCK_ROWS rows, and prefetch the columns that they need next:
 * few pages are in use at a time.  Not measured separately.
 * Larger blocks: TLB misses.  Smaller blocks: C is read and written more often. */
#define LARGE_MATRIX_BYTES (1 << 21)
#define LARGE_MATRIX_BLOCK_ROWS 64

/* Columns of W per pass, in bytes, of a shared pass (accumulate_affine), and in vectors, of an
 * update (stream_update).  Wider passes were measured to be slower.  A shared pass over W of
 * 784-128-10 at batch size 1 takes 4.3 us with 512-bit and 3.9 us with 256-bit vectors.
 * Narrower: fewer multiply-adds in flight, and partial use of cache lines.
 * The vectors of a pass must be a power of two and at most 8. */
#define SHARED_PASS_BYTES 128
#define UPDATE_PASS_VECTORS 8

/* An update of a layer with at most this many outputs may take vectors along its inputs, in blocks
 * of NARROW_COLUMNS, which bound a buffer on the stack; see is_narrow.  NARROW_COPY_COST is the
 * cost of the two transposes of an element of W, in multiply-adds of vectors.  Not measured
 * separately.
 * Fewer outputs: layers of ten classes multiply padding.  More: unused, as such layers fill
 * vectors.  Smaller cost: small batches of wide layers spend more on the transposes than they
 * save. */
#define NARROW_OUTPUTS 16
#define NARROW_COLUMNS 256
#define NARROW_COPY_COST 3

/* Vectors of a row of deltas that are summed at a time for the bias.  At 200 x 104 float64 four
 * took 2.1 us and one 2.5 us.
 * Smaller: exposed latency of the addition.  Larger: more of a row's vectors are left over. */
#define BIAS_VECTORS 4

/* Samples of a head with a single output that are computed at a time.  A multiple of the lanes of any
 * vector.  Not measured separately.
 * Larger: more stack.  Smaller: more of the loop's fixed cost. */
#define HEAD_SAMPLES 64

/* --- Products of bfloat16 operands ---------------------------------------------------------- */

/* Samples over which an update sums in one chain.  A larger batch makes several sums.  The pairs of
 * this number of samples fill a panel of PANEL_DEPTH_BYTES.  Must be even.
 * Larger: panels leave the L2 cache.  Smaller: W is read and written more often.  Changes bits. */
#define BF16_SAMPLES 512

/* Units of the packed block of activations of an update, which is reused for all columns of W:
 * 256 KiB, a quarter of the L2 cache.
 * Larger: the block leaves the L2 cache.  Smaller: the deltas are packed more often. */
#define UNIT_BLOCK_REALS (1 << 16)

/* Bytes of the block of columns of a sparse batch that an update gathers.
 * Larger: the block leaves the L1 and L2 cache.  Smaller: the entries are searched more often. */
#define UNIT_COLUMNS_BYTES (1 << 17)

/* While an update by a sparse batch of units computes a row of W, it prefetches the row this many
 * positions later.  Not measured separately.
 * Larger: rows are evicted before they are used.  Smaller: they arrive too late. */
#define SPARSE_PREFETCH_ROWS 4

/* Depth of the panels, in units, if fewer than PACK_MIN_ROWS rows use them: 16 KiB with AVX-512.
 * Larger: panels leave the L1 cache.  Smaller: C is read and written more often. */
#define SMALL_UNIT_PANEL_DEPTH 64

/* --- Sparse products ---------------------------------------------------------------------- */

/* Bytes of W processed per pass of all samples over a block of its rows: 1.5 x L1.  Measured
 * faster than 1 x L1, because fewer, longer passes outweigh the extra L1 misses.  At 200 MNIST
 * digits and 112 units passes over up to eight vectors reduced the forward product from 147 us to
 * 88 us.
 * Larger: W is read from L2 for every sample.  Smaller: sums are stored and loaded more often. */
#define SPARSE_PASS_BYTES (48 << 10)

/* Minimum vectors per row of W, samples, and entries per sample and pass for which passes pay.
 * Measured over widths and batch sizes.
 * Smaller: storing and loading the sums costs more than L1 misses do. */
#define SPARSE_PASS_MIN_VECTORS 3
#define SPARSE_PASS_MIN_SAMPLES 8
#define SPARSE_PASS_MIN_ENTRIES 8

/* Maximum samples that go through the passes together; larger batches are split.  It bounds a
 * buffer on the stack.  Not measured separately.
 * Larger: the sums of the samples leave the L2 cache.  Smaller: W is read more often. */
#define SPARSE_GROUP_SAMPLES 256

/* Minimum samples for which a pass copies its columns of W into a contiguous buffer, and stride
 * of W in bytes from whose multiples on passes pay only with such a copy, as the rows map to few
 * sets of the L1 cache.  Measured: 128 MNIST digits through 784-512 take 297 us instead of 386.
 * Fewer samples: the copy costs more than it saves.  More: conflict misses. */
#define SPARSE_PACK_MIN_SAMPLES 64
#define SPARSE_ALIASED_STRIDE_BYTES 2048

/* Maximum vectors per row of W for which two samples are processed at a time: the sums of one
 * are too few to hide the latency of the multiply-add.  Not measured separately.
 * Smaller: exposed latency in narrow layers.  Larger: spills. */
#define SPARSE_PAIR_MAX_VECTORS 2

/* --- Products of 8-bit integers ------------------------------------------------------------ */

/* QUANTIZED_TILE_ROWS, QUANTIZED_PANEL_VECTORS: rows of a register tile, and vectors of units of a
 * panel of packed weights.  rows x vectors sums, the vectors of a group of weights, a broadcast
 * group of operands and, without VNNI, a product must fit into the registers.  Measured with
 * 784-512-256-10: VNNI reaches 440 GOP/s with 6 x 4, 94% of the core's peak; AVX-512 without it 173
 * with 6 x 4 and 190 with 6 x 2, whose panels are half as large; AVX2 about 160 with 2 x 4, 5 x 2
 * and 6 x 2; SSE2 75 with 4 x 2.  NEON follows from its number of registers; not measured.
 * Larger: spills.  Smaller: exposed latency, and more loads per product. */
#if defined(__AVX512VNNI__)
#define QUANTIZED_TILE_ROWS 6
#define QUANTIZED_PANEL_VECTORS 4
#elif defined(__AVX512F__)
#define QUANTIZED_TILE_ROWS 6
#define QUANTIZED_PANEL_VECTORS 2
#elif defined(__AVX2__)
#define QUANTIZED_TILE_ROWS 6
#define QUANTIZED_PANEL_VECTORS 2
#elif defined(__aarch64__)
#define QUANTIZED_TILE_ROWS 5
#define QUANTIZED_PANEL_VECTORS 4
#else
#define QUANTIZED_TILE_ROWS 4
#define QUANTIZED_PANEL_VECTORS 2
#endif

/* Elements of a row that are converted to float at a time before they are quantized.
 * Larger: more stack.  Smaller: more of the loop's fixed cost. */
#define QUANTIZED_BLOCK 256

/* --- Reading rows ------------------------------------------------------------------------- */

/* While a sparse row is copied, the row this many positions later is prefetched.  Not measured
 * separately.
 * Larger: rows are evicted before they are used.  Smaller: they arrive too late. */
#define GATHER_PREFETCH_ROWS 2

/* Elements counted in integers of the element's width before they are added to the total.
 * At most 255, the largest count of a byte, and a multiple of 64, the bytes of the widest vector.
 * Not measured separately.  Larger: wrong counts.  Smaller: more additions. */
#define COUNT_BLOCK_ELEMENTS 192

#endif
#endif
