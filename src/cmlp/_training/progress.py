"""Progress displays: bars on a terminal and in a notebook, lines elsewhere, or nothing."""

import sys
import time
import warnings

# Narrowest bar that is readable, in columns. Beside it, quantities of an epoch are shown as far as
# the terminal is wide enough: with 80 columns, the loss, the score and the time left.
MIN_BAR_COLUMNS = 10

# Seconds between two updates of a display.
BAR_SECONDS = 0.1
LINE_SECONDS = 1.0

# Runs of more epochs than MOST_BARS have one bar over all epochs if the first one takes less than
# LONG_EPOCH_SECONDS; runs of more than MOST_LINES have a line per LINE_SECONDS after FIRST_LINES.
MOST_BARS = 20
LONG_EPOCH_SECONDS = 0.5
MOST_LINES = 100
FIRST_LINES = 5

# Quantities of a record that no display shows.
HIDDEN = ("lr", "seconds", "samples_per_second")


class Progress:
    """A display that shows nothing; base class of the others.

    Parameters
    ----------
    epochs : int
    samples : int or None
        Samples of one epoch, if known.

    Attributes
    ----------
    update : callable or None
        Called after each time slice with the number of samples of the epoch processed so far and,
        in training, the mean loss of the epoch so far.
    epoch : int
        The current epoch; a resumed run sets its first one before the display begins.
    """

    update = None

    def __init__(self, epochs, samples):
        self.epochs, self.samples, self.epoch = epochs, samples, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def finish_epoch(self, epoch, record):
        """Show the record of a finished epoch."""


class Lines(Progress):
    """One line for each epoch, or for some of them if there are many short epochs."""

    skips = False
    lines, printed, is_pending = 0, 0.0, False

    def finish_epoch(self, epoch, record):
        """Print the record of a finished epoch, unless a line was printed just now."""
        self.epoch, self.record = epoch, record
        is_shown = not self.skips or self.lines < FIRST_LINES or epoch + 1 == self.epochs
        if is_shown or time.perf_counter() - self.printed >= LINE_SECONDS:
            self.print_line()
        else:
            self.is_pending = True

    def print_line(self):
        """Print the last record."""
        self.lines, self.printed, self.is_pending = self.lines + 1, time.perf_counter(), False
        print(f"epoch {self.epoch + 1}/{self.epochs}  {format_record(self.record)}", flush=True)

    def __exit__(self, *_):
        if self.is_pending:
            self.print_line()


class FewLines(Lines):
    """`Lines` that skip epochs if there are many short ones."""

    def __init__(self, epochs, samples):
        super().__init__(epochs, samples)
        self.skips = epochs > MOST_LINES


class Bars(Progress):
    """A bar for each epoch or, if there are many short epochs, one bar over all of them."""

    def __enter__(self):
        self.first, self.done, self.loss, self.record = self.epoch, 0, None, {}
        self.is_single, self.is_stale, self.bar = False, False, None
        self.start = self.begun = self.drawn = time.perf_counter()
        return self

    def __exit__(self, kind, *_):
        if self.is_single and kind is None:
            self.draw(True)
        elif self.is_stale:
            self.draw(False)
        if self.bar is not None:
            self.bar.close()

    def update(self, samples, loss=None):
        """Move the bar within the epoch."""
        self.done, self.loss, self.is_stale = samples, loss, True
        if time.perf_counter() - self.drawn >= BAR_SECONDS:
            self.draw(False)

    def finish_epoch(self, epoch, record):
        """Show the record of a finished epoch."""
        now = time.perf_counter()
        self.epoch, self.record, self.is_stale = epoch + 1, record, True
        if self.is_single:
            if now - self.drawn >= BAR_SECONDS:
                self.draw(False)
            return
        is_short = now - self.begun < LONG_EPOCH_SECONDS
        if is_short and epoch == self.first and self.epochs - self.first > MOST_BARS:
            # Nothing is called within later epochs, which the engine trains one after the other.
            self.is_single, self.update = True, None  # type: ignore[method-assign]
            if self.bar is not None:
                self.bar.reset(self.epochs - self.first)
            self.draw(False)
            return
        self.draw(True)
        if self.bar is not None:
            self.bar.close()
        self.bar, self.done, self.loss, self.is_stale = None, 0, None, False
        self.begun = time.perf_counter()

    def draw(self, is_finished):
        """Draw the bar: of a finished epoch, or of a finished run if there is a single bar."""
        self.drawn, self.is_stale = time.perf_counter(), False
        if self.is_single:
            total, done, epoch = self.epochs - self.first, self.epoch - self.first, self.epoch
            begun, quantities = self.start, format_quantities(self.record)
        else:
            total, done, begun = self.samples, self.done, self.begun
            epoch = self.epoch if is_finished else self.epoch + 1
            done = total or done if is_finished else done
            quantities = format_quantities(self.record) if is_finished else self.format_loss()
        head = f"epoch {epoch:{len(str(self.epochs))}}/{self.epochs} "
        head += f"{done:,} samples " if total is None else "{percentage:3.0f}%|{bar}| "
        seconds = format_seconds(self.drawn - begun) if is_finished else self.format_left()
        if self.bar is None:
            self.bar = choose_tqdm()(total=total, dynamic_ncols=True, bar_format=head, leave=True)
        columns = self.bar.format_dict["ncols"]
        if columns:  # otherwise no terminal
            columns -= len(head.replace("{percentage:3.0f}%|{bar}", "100%|")) + MIN_BAR_COLUMNS + 2
        text = fit_quantities(quantities, seconds, columns).replace("{", "{{").replace("}", "}}")
        self.bar.bar_format = f"{head}[{text}]" if text else head
        self.bar.total, self.bar.n = total, done
        self.bar.refresh()

    def format_loss(self):
        """Return the quantities of an epoch that is not finished: its mean loss so far."""
        return {} if self.loss is None else {"loss": f"loss {format_number(self.loss)}"}

    def format_left(self):
        """Return the time that the remaining epochs will take, as text; empty at first."""
        part = 0 if self.is_single or not self.samples else self.done / self.samples
        done = self.epoch - self.first + part
        if not done:
            return ""
        seconds = (self.drawn - self.start) / done * (self.epochs - self.epoch - part)
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return (
            f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"
        )


class PredictionBar(Progress):
    """A bar over the samples of a prediction."""

    def __enter__(self):
        self.bar = choose_tqdm()(
            total=self.samples, unit=" samples", unit_scale=True, dynamic_ncols=True
        )
        return self

    def __exit__(self, *_):
        self.bar.close()

    def update(self, samples, loss=None):
        """Move the bar."""
        self.bar.update(samples - self.bar.n)


def is_notebook():
    """Return whether this process is the kernel of a notebook."""
    return "ipykernel.zmqshell" in sys.modules


def choose_tqdm():
    """Return the class of tqdm for notebooks in one with widgets, else that for terminals."""
    if is_notebook():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tqdm.autonotebook import tqdm

            return tqdm
    from tqdm import tqdm

    return tqdm


def choose_progress(progress, verbose, epochs, samples):
    """Return the display that the arguments of `fit` choose.

    Parameters
    ----------
    progress : bool or None
        True shows bars if standard error is a terminal and in notebooks, lines otherwise.
    verbose : int or None
        0 shows nothing, 1 bars, 2 a line for each epoch.
    epochs : int
    samples : int or None
        Samples of one epoch, if known.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these, or both are given.
    """
    check_progress(progress)
    kinds = (Progress, Bars, Lines)
    if verbose is not None:
        if progress is not None:
            raise ValueError("progress and verbose must not be given together")
        if verbose not in range(3):
            raise ValueError(f"verbose must be 0, 1 or 2; got {verbose!r}")
        return kinds[int(verbose)](epochs, samples)
    if not progress:
        return Progress(epochs, samples)
    return (Bars if sys.stderr.isatty() or is_notebook() else FewLines)(epochs, samples)


def make_prediction_progress(progress, samples):
    """Return the display of a prediction: a bar if `progress` is True, else nothing."""
    check_progress(progress)
    return (PredictionBar if progress else Progress)(1, samples)


def check_progress(progress):
    """Raise `TypeError` unless `progress` is True, False or None."""
    if progress not in (None, True, False):
        raise TypeError(f"progress must be True, False or None; got {progress!r}")


def format_number(value):
    """Return a number with four decimals or, if these do not show it, with four digits."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def format_seconds(seconds):
    """Return a time as text."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def format_record(record):
    """Return an epoch's record as one line."""
    return "  ".join(format_quantities(record).values())


def format_quantities(record):
    """Return the quantities of an epoch's record by name, each with its value, as strings."""
    shown = {
        name: f"{name} {format_number(value)}"
        for name, value in record.items()
        if name not in HIDDEN and isinstance(value, float)
    }
    rate = record.get("samples_per_second")
    return shown if rate is None else {**shown, "samples/s": f"samples/s {rate:,.0f}"}


def fit_quantities(quantities, seconds, columns):
    """Return a time and the quantities that fit into a number of columns, as text.

    Parameters
    ----------
    quantities : dict from str to str
    seconds : str
        Shown in any case; may be empty.
    columns : int or None
        None: no limit.
    """
    shown: list[str] = []
    for name in sorted(quantities, key=rank_quantity):
        names = [each for each in quantities if each in (*shown, name)]
        line = "  ".join(quantities[each] for each in names)
        if columns is None or len(seconds) + 2 + len(line) <= columns:
            shown = names
    line = "  ".join(quantities[each] for each in shown)
    return ", ".join(filter(None, [seconds, line]))


def rank_quantity(name):
    """Return the sort key of a quantity by which the most important ones come first."""
    if name in ("loss", "samples/s"):
        return 0 if name == "loss" else 4
    if name.startswith("val_"):
        return 2 if name == "val_loss" else 1
    return 3
