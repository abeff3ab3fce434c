"""Progress displays: a bar on a terminal, lines elsewhere, or nothing."""

import sys
import time

# Narrowest bar that is readable, in columns. Beside it, quantities of an epoch are shown as far as
# the terminal is wide enough: with 80 columns, the loss and the score.
MIN_BAR_COLUMNS = 10

# tqdm's line without its own rate, as a record has one.
BAR_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


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
        Called after each time slice with the number of samples of the epoch processed so far.
    """

    update = None

    def __init__(self, epochs, samples):
        self.epochs, self.samples = epochs, samples

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def finish_epoch(self, epoch, record):
        """Show the record of a finished epoch."""


class Lines(Progress):
    """One line for each epoch."""

    def finish_epoch(self, epoch, record):
        """Print the record of a finished epoch."""
        print(f"epoch {epoch + 1}/{self.epochs}  {format_record(record)}", flush=True)


class Bar(Progress):
    """A tqdm bar over all epochs."""

    def __enter__(self):
        from tqdm import tqdm

        total = self.samples and self.epochs * self.samples
        self.bar = tqdm(total=total, unit=" samples", unit_scale=True, dynamic_ncols=True)
        self.done, self.record = 0, None
        return self

    def __exit__(self, *_):
        self.show_record()
        self.bar.close()

    def update(self, samples):
        """Move the bar within the epoch."""
        # To fit a record takes longer than an epoch of a small table: only before tqdm draws.
        if time.time() - self.bar.last_print_t >= self.bar.mininterval:
            self.show_record()
        self.bar.update(self.done + samples - self.bar.n)

    def finish_epoch(self, epoch, record):
        """Move the bar to the end of the epoch and show the record beside it."""
        self.done = (epoch + 1) * self.samples if self.samples else self.bar.n
        self.record = record
        self.update(0)

    def show_record(self):
        """Put the record of the last epoch beside the bar, unless it is there already."""
        if self.record is not None:
            if self.samples:
                self.bar.bar_format = BAR_FORMAT
            self.bar.set_postfix_str(self.fit_record(self.record), refresh=False)
            self.record = None

    def fit_record(self, record):
        """Return the quantities of a record that the terminal has columns for.

        The loss comes first, then the score of validation data, then the others.
        """
        quantities = format_quantities(record)
        columns = self.bar.format_dict["ncols"]
        if not columns:  # no terminal
            return "  ".join(quantities.values())
        columns -= MIN_BAR_COLUMNS if self.samples else 0
        shown = []
        for name in sorted(quantities, key=rank_quantity):
            names = [each for each in quantities if each in (*shown, name)]
            if self.measure("  ".join(quantities[each] for each in names)) <= columns:
                shown = names
        return "  ".join(quantities[each] for each in shown)

    def measure(self, postfix):
        """Return the number of columns of the line with a postfix, without the bar itself."""
        # With a number of columns, tqdm would cut the line off.
        values = {**self.bar.format_dict, "postfix": postfix, "ncols": None}
        values["bar_format"] = values["bar_format"] and BAR_FORMAT.replace("{bar}", "")
        return len(self.bar.format_meter(**values))


def choose_progress(progress, verbose, epochs, samples):
    """Return the display that the arguments of `fit` choose.

    Parameters
    ----------
    progress : bool or None
        True shows a bar if standard error is a terminal, lines otherwise.
    verbose : int or None
        0 shows nothing, 1 a bar, 2 lines.
    epochs : int
    samples : int or None
        Samples of one epoch, if known.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these, or both are given.
    """
    check_progress(progress)
    kinds = (Progress, Bar, Lines)
    if verbose is not None:
        if progress is not None:
            raise ValueError("progress and verbose must not be given together")
        if verbose not in range(3):
            raise ValueError(f"verbose must be 0, 1 or 2; got {verbose!r}")
        return kinds[int(verbose)](epochs, samples)
    if not progress:
        return Progress(epochs, samples)
    return (Bar if sys.stderr.isatty() else Lines)(epochs, samples)


def make_prediction_progress(progress, samples):
    """Return the display of a prediction: a bar if `progress` is True, else nothing."""
    check_progress(progress)
    return (Bar if progress else Progress)(1, samples)


def check_progress(progress):
    """Raise `TypeError` unless `progress` is True, False or None."""
    if progress not in (None, True, False):
        raise TypeError(f"progress must be True, False or None; got {progress!r}")


def format_record(record):
    """Return an epoch's record as one line."""
    return "  ".join(format_quantities(record).values())


def format_quantities(record):
    """Return the quantities of an epoch's record by name, each with its value, as strings."""
    hidden = ("lr", "seconds", "samples_per_second")
    shown = {
        name: f"{name} {value:.4f}"
        for name, value in record.items()
        if name not in hidden and isinstance(value, float)
    }
    return {**shown, "samples/s": f"samples/s {record['samples_per_second']:,.0f}"}


def rank_quantity(name):
    """Return the sort key of a quantity by which the most important ones come first."""
    if name == "loss":
        return 0
    if name == "samples/s":
        return 3
    return 1 if name.startswith("val_") and name != "val_loss" else 2
