"""Progress displays: a bar on a terminal, lines elsewhere, or nothing."""

import sys


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
        self.bar = tqdm(total=total, unit=" samples", unit_scale=True)
        self.done = 0
        return self

    def __exit__(self, *_):
        self.bar.close()

    def update(self, samples):
        """Move the bar within the epoch."""
        self.bar.update(self.done + samples - self.bar.n)

    def finish_epoch(self, epoch, record):
        """Move the bar to the end of the epoch and show the record beside it."""
        self.done = (epoch + 1) * self.samples if self.samples else self.bar.n
        self.bar.set_postfix_str(format_record(record), refresh=False)
        self.update(0)


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
    hidden = ("lr", "seconds", "samples_per_second")
    shown = {
        name: f"{value:.4f}"
        for name, value in record.items()
        if name not in hidden and isinstance(value, float)
    }
    shown["samples/s"] = f"{record['samples_per_second']:,.0f}"
    return "  ".join(f"{name} {value}" for name, value in shown.items())
