"""`CSVLogger`: the history as a text file that grows with each epoch."""

import csv
import io
import os

from cmlp._utils.schema import Fields, Integer
from cmlp._utils.validation import check_bool
from cmlp.callbacks.base import Callback


class CSVLogger(Callback):
    """Write a line for each epoch to a CSV file, as Keras's CSVLogger.

    The columns are ``epoch``, counted from 0, and the quantities of the first epoch's record;
    values that a later record does not have are empty. Each line is written as a whole when the
    epoch ends, so that a process that is killed leaves complete lines. If a run is resumed from a
    `Checkpoint`, the lines of epochs after the checkpoint are removed first, as they are trained
    again.

    Parameters
    ----------
    path : str or os.PathLike
    separator : str, default ","
        One character.
    append : bool, default False
        Whether to add to the lines of an existing file, which must have the same columns, instead
        of replacing it.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; or, in the first epoch, if the file has other columns.
    FileNotFoundError
        When training starts, if the directory does not exist.
    """

    reads_network, has_own_files = False, True

    def __init__(self, path, separator=",", append=False):
        self.path = os.fspath(path)
        if not isinstance(separator, str):
            raise TypeError(f"separator must be one character; got {separator!r}")
        if len(separator) != 1 or separator in '"\r\n':
            raise ValueError(
                f"separator must be one character, but no quote or line break; got {separator!r}"
            )
        check_bool("append", append)
        self.separator, self.append = separator, append
        self.columns, self.end = None, 0

    def on_train_begin(self, network):
        """Forget the last run; raise now rather than after an epoch if the directory is missing."""
        directory = os.path.dirname(self.path) or "."
        if not os.path.isdir(directory):
            raise FileNotFoundError(f"path must be in an existing directory; got {self.path!r}")
        # `end` is the length of the file up to the last line of this run; None before the first.
        self.columns, self.end = None, None

    def state(self):
        """Return the data that a checkpoint stores."""
        return {} if self.end is None else {"end": self.end}

    def check_state(self, name, state, network, epoch):
        """Raise `ValueError` unless `state` is one that `state` returned."""
        Fields({}, {"end": Integer(1)}).check(name, state)

    def load_state(self, state):
        """Restore what `state` returned."""
        self.end = state.get("end")

    def on_epoch_end(self, network, epoch, record):
        """Write a line."""
        if not self.writes_files:
            return
        if self.columns is None:
            self._open([*record])
        values = [record.get(name, "") for name in self.columns]
        self._write([epoch, *(float(v) if isinstance(v, float) else v for v in values)])

    def _open(self, names):
        # Remove incomplete lines and those of epochs that are trained again; write a header if the
        # file is new.
        data, is_resumed = b"", self.end is not None
        if (self.append or is_resumed) and os.path.exists(self.path):
            with open(self.path, "rb") as file:
                data = file.read()
            if is_resumed and len(data) >= self.end:
                data = data[: self.end]
            data = data[: data.rfind(b"\n") + 1]
        if data:
            text = data.decode(errors="replace").splitlines()[0]
            header = next(csv.reader([text], delimiter=self.separator))
            if is_resumed:
                names = header[1:]
            if header != ["epoch", *names]:
                raise ValueError(
                    f"path must be a file with the columns {', '.join(['epoch', *names])}; "
                    f"{self.path!r} has {', '.join(header)}"
                )
        self.columns = names
        with open(self.path, "ab") as file:
            file.truncate(len(data))
        if not data:
            self._write(["epoch", *names])

    def _write(self, values):
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=self.separator, lineterminator="\n").writerow(values)
        with open(self.path, "ab") as file:  # written as a whole when it is closed
            file.write(line.getvalue().encode())
            self.end = file.tell()
