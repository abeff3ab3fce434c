"""Write the corpus: small valid files of every format; ``python -m fuzz.corpus``."""

import gzip
import io
import shutil
import struct

import numpy as np

from cmlp import SGD, Adam, Network
from cmlp.callbacks import Checkpoint
from fuzz.targets import HERE


def main():
    """Write all files; existing ones are replaced."""
    corpus, rng = HERE / "corpus", np.random.default_rng(0)
    for name in ("npz", "safetensors", "onnx", "idx", "csv", "table", "checkpoint"):
        (corpus / name).mkdir(parents=True, exist_ok=True)
    X, y = rng.random((20, 3)), rng.integers(0, 2, 20)
    plain = Network([3, 4, 2], activation="relu", loss="cross_entropy", seed=0)
    normalized = Network(
        [3, 4, 2], activation=[["elu", 0.5]], loss="cross_entropy", normalization="batch",
        dropout=0.5, input_dropout=0.1, input_noise=0.1, max_norm=2, seed=0,
    )  # fmt: skip
    fitted = Network([3, 4, 2], activation="tanh", loss="cross_entropy", seed=0)
    fitted.partial_fit(X, y, optimizer=Adam(average=0.9))
    over_layer = Network([3, 4, 2], loss="cross_entropy", normalization="layer", seed=0)
    quantized = over_layer.quantize(X)
    for extension in ("npz", "safetensors"):
        plain.save(corpus / extension / f"plain.{extension}")
        normalized.save(corpus / extension / f"normalized.{extension}")
        fitted.save(corpus / extension / f"optimizer.{extension}", optimizer=True)
        quantized.save(corpus / extension / f"quantized.{extension}")
    golden = HERE.parent / "tests" / "golden"
    shutil.copyfile(golden / "plain.npz", corpus / "npz" / "version_1.npz")
    trained = Network([3, 4, 2], activation="relu", loss="cross_entropy", seed=0)
    trained.fit(
        X, y, epochs=2, batch_size=8, optimizer=SGD(0.1, momentum=0.9),
        callbacks=Checkpoint(corpus / "checkpoint" / "momentum.npz"),
    )  # fmt: skip
    for activation in ("relu", "gelu", "silu", "mish", "hard_tanh"):
        network = Network([3, 4, 2], activation=activation, loss="cross_entropy", seed=0)
        network.to_onnx(corpus / "onnx" / f"{activation}.onnx")
    normalized.to_onnx(corpus / "onnx" / "labels.onnx", labels=["a", "b"])
    images = struct.pack(">HBB3I", 0, 8, 3, 2, 2, 2) + bytes(range(8))
    (corpus / "idx" / "images").write_bytes(images)
    (corpus / "idx" / "images.gz").write_bytes(gzip.compress(images, mtime=0))
    (corpus / "csv" / "header.csv").write_text("a,b,label\n1,2,0\n3.5,-4e2,1\n")
    (corpus / "csv" / "bare.csv").write_text("1;2\r\n3;4\r\n")
    (corpus / "csv" / "quoted.csv").write_text('"x","y"\n"1","cat"\n"2","dog"\n')
    buffer = io.BytesIO()
    np.savez_compressed(buffer, X=X.astype(np.float32), y=y)
    (corpus / "table" / "compressed.npz").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
