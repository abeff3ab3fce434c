"""`TensorBoard`: event files of a training run."""

import contextlib
import os
import time
from importlib import import_module

from cmlp._utils.validation import check_bool, check_count, import_optional
from cmlp.callbacks.base import Callback
from cmlp.callbacks.records import describe_network, select_numbers

# Seconds between two moments at which the files are complete: a flush takes 0.4 ms.
FLUSH_SECONDS = 1.0


class TensorBoard(Callback):
    """Write event files for TensorBoard after each epoch.

    As with Keras's callback, `log_dir` gets two directories: ``train`` has the scalars of the
    history by their names (``loss``, metrics, ``lr``, ``seconds`` and so on), ``validation`` those
    of validation data without the prefix ``val_``, so that both are drawn in one chart. The step of
    a scalar is the epoch, counted from 0. A resumed run continues in new files.

    Requires tensorboardX, the extra ``tensorboard``, or PyTorch with TensorBoard.

    Parameters
    ----------
    log_dir : str or os.PathLike, default "logs"
        Created if it does not exist.
    histogram_freq : int, default 0
        Number of epochs between two histograms of weights and biases; 0: none.
    write_text : bool, default True
        Whether to write the hyper-parameters of the network as text.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    ImportError
        When training starts, if neither package is installed.
    """

    has_own_files = True

    def __init__(self, log_dir="logs", histogram_freq=0, write_text=True):
        self.log_dir = os.fspath(log_dir)
        check_bool("write_text", write_text)
        self.histogram_freq = check_count("histogram_freq", histogram_freq)
        self.write_text = write_text
        self.reads_network = self.histogram_freq > 0
        self._make, self._writers = None, {}

    def __getstate__(self):
        return {**self.__dict__, "_make": None, "_writers": {}}

    def on_train_begin(self, network):
        """Raise now rather than after an epoch if no package is installed."""
        self._close()
        self._make, self._flushed = import_writer(), time.monotonic()

    def on_epoch_end(self, network, epoch, record):
        """Write the scalars and, if they are due, the histograms."""
        if not self.writes_files:
            return
        if not self._writers and self.write_text:
            rows = [f"| {name} | {value} |" for name, value in describe_network(network).items()]
            text = "\n".join(["| hyper-parameter | value |", "|---|---|", *rows])
            self._get_writer("train", epoch).add_text("network", text, epoch)
        for name, value in select_numbers(record).items():
            part = "validation" if name.startswith("val_") else "train"
            self._get_writer(part, epoch).add_scalar(name.removeprefix("val_"), value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, array in network.state.to_arrays().items():
                self._get_writer("train", epoch).add_histogram(name, array, epoch)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flushed = time.monotonic()
            for writer in self._writers.values():
                writer.flush()

    def on_train_end(self, network, history):
        """Close the files."""
        self._close()

    def on_error(self, network, run, error):
        """Close the files."""
        self._close()

    def _get_writer(self, part, epoch):
        # A run that begins with a later epoch is resumed: TensorBoard hides what earlier files have
        # of this epoch and later ones.
        if part not in self._writers:
            self._writers[part] = self._make(
                os.path.join(self.log_dir, part), purge_step=epoch or None,
                # The names of files that are created within a second would be equal.
                filename_suffix=f".{os.getpid()}.{time.time_ns()}",
            )  # fmt: skip
        return self._writers[part]

    def _close(self):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def import_writer():
    """Return the class `SummaryWriter` of tensorboardX or, without that package, of PyTorch."""
    for module in ("tensorboardX", "torch.utils.tensorboard"):
        with contextlib.suppress(ImportError):
            return import_module(module).SummaryWriter
    return import_optional("tensorboardX", "TensorBoard", "tensorboardX", "tensorboard")
