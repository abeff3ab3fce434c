"""Print hashes of the results of many training runs, to compare two builds bit by bit.

Each case trains small networks on generated data through the public API. Its line of output is
the name of the case and the first 16 hexadecimal digits of the SHA-256 of all parameters, running
statistics, predictions and the history. Two builds agree bit by bit if their outputs are equal:

    PYTHONPATH=<old tree>/src python -m bench.bits > old.txt
    PYTHONPATH=<new tree>/src python -m bench.bits > new.txt
    diff old.txt new.txt

The hashes depend on the CPU's instruction set (`CMLP_ISA` selects a narrower one), on the C
library and on the versions of NumPy, SciPy and scikit-learn: compare them on one machine.

Every case runs with one and with two threads, whose hashes must be equal. Where they differ, the
line shows both, and the exit status is 1. Baseline code that calls a BLAS is exempt, as a BLAS may
sum in another order for each number of threads; CMLP_BLAS=none excludes it.
"""

import argparse
import contextlib
import hashlib
import io
import numbers
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

import cmlp
from bench import trainings as t
from cmlp import losses, schedules

NOT_HASHED = ("seconds", "samples_per_second")

# The name of each case and a function without arguments that returns the values to hash.
CASES = [
    ("input: dense float32", lambda: t.train_input(t.make_inputs())),
    ("input: dense float64", lambda: t.train_input(t.make_inputs(dtype="float64"))),
    ("input: dense uint8", lambda: t.train_input(t.make_inputs(dtype="uint8"))),
    ("input: views with strides", t.train_views),
    ("input: into a float64 network", t.train_float64),
    ("input: CSR", t.train_csr),
    ("sparse: auto, 20%, batch 10", lambda: t.train_compressed("float32", 0.2, 10)),
    ("sparse: auto, 50%, batch 64", lambda: t.train_compressed("uint8", 0.5, 64)),
    ("sparse: auto, 50%, batch 10", lambda: t.train_compressed("float32", 0.5, 10)),
    ("sparse: True, batch 1 and 3", lambda: [
        t.train_compressed("uint8", 0.4, 1, True), t.train_compressed("float64", 0.4, 3, True)]),
    ("sparse: True and False, batch 5", lambda: [
        t.train_compressed("float32", 0.2, 5, True), t.train_compressed("float32", 0.2, 5, False)]),
    ("sparse: wide first layer, batch 64", lambda: t.train_large_sparse("float32", 64)),
    ("sparse: wide first layer, batch 64, uint8, 64 units",
     lambda: t.train_large_sparse("uint8", 64, 64)),
    ("sparse: wide first layer, batch 128", lambda: t.train_large_sparse("float64", 128)),
    ("batch sizes, float32", lambda: t.train_batch_sizes("float32")),
    ("batch sizes, float64", lambda: t.train_batch_sizes("float64")),
    ("large: float32, SGD", lambda: t.train_large("float32", cmlp.SGD(0.05))),
    ("large: float64, Adam, gelu", lambda: t.train_large(
        "float64", cmlp.Adam(), activation="gelu")),
    ("large: float32, batch 5", lambda: t.train_large("float32", cmlp.SGD(0.02), batch_size=5)),
    ("large: normalization, dropout, clip_norm", lambda: t.train_large(
        "float32", cmlp.AdamW(clip_norm=1.0), normalization=["batch", "layer"], dropout=0.2,
        max_norm=2.0)),
    ("large: layer normalization, uneven batch", lambda: t.train_large(
        "float32", cmlp.SGD(0.05, momentum=0.9), batch_size=100, normalization="layer")),
    ("bfloat16: SGD", lambda: t.train_large("float32", cmlp.SGD(0.05), compute_dtype="bfloat16")),
    ("bfloat16: normalization, dropout, Adam", lambda: t.train_large(
        "float32", cmlp.Adam(clip_norm=1.0), normalization=["batch", "layer"], dropout=0.2,
        compute_dtype="bfloat16")),
    ("bfloat16: sparse, batch 64", lambda: t.train_large_sparse(
        "float32", 64, compute_dtype="bfloat16")),
    ("shape: 784-512-256-10, uint8, batch 128", lambda: t.train_shape((784, 512, 256, 10), 128)),
    ("shape: 784-30-10, uint8, batch 10", lambda: t.train_shape((784, 30, 10), 10)),
    ("shape: 784-128-10, uint8, batch 1", lambda: t.train_shape((784, 128, 10), 1)),
    ("optimizer: SGD", lambda: t.train_optimizers(
        cmlp.SGD(0.05), cmlp.SGD(0.05, weight_decay=1e-3))),
    ("optimizer: SGD with momentum", lambda: t.train_optimizers(
        cmlp.SGD(0.05, momentum=0.9, dampening=0.1),
        cmlp.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3))),
    ("optimizer: Adam", lambda: t.train_optimizers(
        cmlp.Adam(), cmlp.Adam(amsgrad=True), cmlp.Adam(weight_decay=1e-3, decay_bias=False))),
    ("optimizer: Adam, float64", lambda: t.train_optimizers(
        cmlp.Adam(), cmlp.Adam(amsgrad=True), dtype="float64")),
    ("optimizer: AdamW", lambda: t.train_optimizers(
        cmlp.AdamW(), cmlp.AdamW(amsgrad=True), cmlp.AdamW(decay_bias=False))),
    ("optimizer: NAdam", lambda: t.train_optimizers(cmlp.NAdam(), cmlp.NAdam(weight_decay=1e-3))),
    ("optimizer: RMSprop", lambda: t.train_optimizers(
        cmlp.RMSprop(), cmlp.RMSprop(1e-3, centered=True, momentum=0.9, weight_decay=1e-3))),
    ("optimizer: Adagrad, Adadelta, Lion", lambda: t.train_optimizers(
        cmlp.Adagrad(lr_decay=1e-3, initial_accumulator_value=0.1), cmlp.Adadelta(),
        cmlp.Lion(1e-3, weight_decay=1e-2))),
    ("optimizer: the rest, float64, batch 128", lambda: t.train_optimizers(
        cmlp.SGD(0.05, momentum=0.9), cmlp.AdamW(), cmlp.NAdam(), cmlp.RMSprop(centered=True),
        cmlp.Adagrad(), cmlp.Adadelta(), cmlp.Lion(), dtype="float64", batch_size=128)),
    ("optimizer: L1, penalty", lambda: t.train_optimizers(
        cmlp.SGD(0.05, l1=1e-3), cmlp.Adam(l1=1e-3, decay_bias=False), cmlp.SGD(penalty=0.1),
        cmlp.Adam(penalty=0.1), normalization="layer")),
    ("optimizer: clipping", lambda: t.train_optimizers(
        cmlp.SGD(0.05, clip_norm=0.5), cmlp.Adam(clip_value=0.01), cmlp.SGD(0.05, clip_value=0.01),
        cmlp.AdamW(clip_norm=0.5, clip_value=0.1))),
    ("optimizer: accumulation, averaging", lambda: t.train_optimizers(
        cmlp.SGD(0.05, accumulate=3), cmlp.Adam(accumulate=4, clip_norm=0.5),
        cmlp.SGD(0.05, average=0.9), cmlp.Adam(average=0.99, accumulate=2))),
    ("optimizer: L-BFGS", t.train_lbfgs),
    *((f"activations: {name}", lambda names=names: [
        t.train_deep(names, dtype) for dtype in ("float32", "float64")])
      for name, names in t.ACTIVATIONS.items()),
    ("losses: squares", lambda: t.train_losses(
        ("quadratic",), ("quadratic", "tanh"), ("mse",), ("mse", "relu"))),
    ("losses: robust", lambda: t.train_losses(
        ("mae",), ("huber",), (losses.huber(0.3),), ("log_cosh",), ("log_cosh", "softplus"))),
    ("losses: cross-entropy", lambda: t.train_losses(
        ("cross_entropy",), ("cross_entropy", "sigmoid"), (losses.cross_entropy(0.1),),
        ("binary_cross_entropy",), ("binary_cross_entropy", "softmax"))),
    ("losses: counts, scores", lambda: t.train_losses(
        ("poisson",), ("poisson_deviance",), ("hinge",), ("hinge", "tanh"), ("squared_hinge",))),
    ("losses: label smoothing of binary targets", lambda: t.train_losses(
        (losses.binary_cross_entropy(0.1),), (losses.binary_cross_entropy(0.1), "softmax"))),
    ("losses: distributions", lambda: t.train_losses(
        ("pinball",), (losses.pinball((0.1, 0.5, 0.9)),),
        (losses.pinball((0.1, 0.5, 0.9), non_crossing=True),), ("gaussian_nll",))),
    ("losses: callable", lambda: t.train_losses(
        (t.compute_cubic_loss,), (t.compute_cubic_loss, "tanh"))),
    ("losses: one output", t.train_single_output),
    ("dropout, batch 10 and 128", lambda: [
        t.train_regularized(size, dropout=[0.5, 0.2], input_dropout=0.1, dtype=dtype)
        for size in (10, 128) for dtype in ("float32", "float64")]),
    ("input dropout, sparse", lambda: t.train_regularized(
        10, csr_array(t.make_inputs(density=0.2)), input_dropout=0.3)),
    ("input noise", lambda: [
        t.train_regularized(10, X, input_noise=0.3, input_dropout=0.2)
        for X in (None, t.make_inputs(dtype="uint8"))]),
    ("normalization: batch", lambda: [
        t.train_regularized(size, normalization=cmlp.BatchNorm(momentum=0.2), dtype=dtype)
        for size in (3, 10, 128) for dtype in ("float32", "float64")]),
    ("normalization: layer", lambda: [
        t.train_regularized(size, normalization=cmlp.LayerNorm(eps=1e-4), dtype=dtype)
        for size in (1, 10, 128) for dtype in ("float32", "float64")]),
    ("normalization: mixed, dropout, max_norm", lambda: [
        t.train_regularized(size, normalization=norms, dropout=0.3, max_norm=1.5)
        for size in (10, 64) for norms in (["batch", "layer"], [None, "batch"], ["layer", None])]),
    ("max_norm", lambda: [
        t.train_regularized(10, max_norm=1.0, dtype=dtype) for dtype in ("float32", "float64")]),
    ("schedules", lambda: t.train_schedules(
        schedules.Cosine(end=0.1, warmup=1, restarts=1), schedules.OneCycle(),
        schedules.ReduceOnPlateau(factor=0.5, patience=0), schedules.Polynomial(power=2, warmup=1),
        schedules.Step(every=2), schedules.InverseScaling(), lambda step, epoch: 1 / (1 + step))),
    ("weights of samples and classes", t.train_weighted),
    ("metrics, validation, early stopping", t.train_validated),
    ("partial_fit", lambda: [
        t.train_partially(optimizer, **options)
        for optimizer in (None, cmlp.Adam(amsgrad=True), cmlp.NAdam(average=0.9))
        for options in ({}, {"normalization": "batch", "dropout": 0.2})]),
    ("iterable of batches", t.train_batches),
    ("checkpoint and resume", lambda: [
        t.train_interrupted(cmlp.SGD(0.1), dropout=0.2),
        t.train_interrupted(cmlp.Adam(average=0.9), normalization=["batch", "layer"]),
        t.train_interrupted(cmlp.RMSprop(1e-3, accumulate=4, momentum=0.9), steps=22)]),
    ("save and load", t.train_saved),
    ("fit_many", t.train_many),
    ("reference: MLP", t.train_reference_mlp),
    ("reference: Model", t.train_reference_model),
    ("estimators: adam", lambda: t.train_estimators(alpha=0.01)),
    ("estimators: sgd, adaptive", lambda: t.train_estimators(
        solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, n_iter_no_change=1,
        tol=0.05, max_iter=20)),
    ("estimators: sgd, invscaling, no momentum", lambda: t.train_estimators(
        solver="sgd", learning_rate="invscaling", momentum=0, batch_size=16)),
    ("estimators: lbfgs", lambda: t.train_estimators(solver="lbfgs", activation="tanh")),
    ("estimators: early stopping", lambda: t.train_estimators(
        early_stopping=True, n_iter_no_change=2, max_iter=12, batch_size=20)),
    ("estimators: partial_fit, warm start", t.train_estimators_partially),
    ("estimators: batch_norm, dropout", lambda: t.train_estimators(
        batch_norm=True, dropout=0.2, dtype="float32", optimizer=cmlp.AdamW(),
        schedule=schedules.OneCycle())),
    ("estimators: kinds of X and y", t.train_estimator_inputs),
]  # fmt: skip


def update_hash(digest, value):
    """Feed a value to a hash, with its type and shape, so that different values differ."""
    if isinstance(value, cmlp.Network):
        value = [value.size, value.weight, value.bias, value.scale, value.running_mean,
                 value.running_variance]  # fmt: skip
    if isinstance(value, cmlp.History):
        value = [
            {name: record[name] for name in record if name not in NOT_HASHED}
            for record in value.epochs
        ]
    if isinstance(value, dict):
        for name in sorted(value):
            digest.update(name.encode())
            update_hash(digest, value[name])
    elif isinstance(value, (np.ndarray, numbers.Number)):
        array = np.asarray(value)
        digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    elif value is None:
        digest.update(b"None")
    else:
        digest.update(f"[{len(value)}]".encode())
        for each in value:
            update_hash(digest, each)


def hash_case(run, threads):
    """Return 16 hexadecimal digits of the hash of a case's results and printed lines."""
    os.environ["CMLP_NUM_THREADS"] = str(threads)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = run()
    digest = hashlib.sha256(printed.getvalue().encode())
    update_hash(digest, results)
    return digest.hexdigest()[:16]


def main():
    """Print the lines; return 1 if a hash depends on the number of threads."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.bits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help="run the cases whose names contain one of these")
    words = parser.parse_args().words
    print(f"cmlp {cmlp.__version__} in {Path(cmlp.__file__).parent}", file=sys.stderr)
    failed = 0
    for name, run in CASES:
        if words and not any(word in name for word in words):
            continue
        hashes = [hash_case(run, threads) for threads in (1, 2)]
        differ = hashes[0] != hashes[1]
        print(f"{name:<52}{hashes[0]}" + differ * f"  two threads: {hashes[1]}", flush=True)
        failed |= differ
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
