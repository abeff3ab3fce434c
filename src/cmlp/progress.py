"""How training shows where it is: a bar on a terminal, lines elsewhere, or nothing."""

import sys


class Progress:
    """Shows nothing; what others fill in.

    Parameters
    ----------
    epochs : int
    samples : int
        Of one epoch.
    """

    # Called by the engine with the samples done in this epoch, or None.
    tick = None

    def __init__(self, epochs, samples):
        self.epochs, self.samples = epochs, samples

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def epoch_done(self, epoch, record):
        """Take note of an epoch's record."""


class Lines(Progress):
    """One line an epoch."""

    def epoch_done(self, epoch, record):
        """Print the epoch's record."""
        print(f"epoch {epoch + 1}/{self.epochs}  {in_words(record)}", flush=True)


class Bar(Progress):
    """A bar over all epochs, by tqdm."""

    def __enter__(self):
        from tqdm import tqdm

        total = self.samples and self.epochs * self.samples
        self.bar = tqdm(total=total, unit=" samples", unit_scale=True)
        self.done = 0
        return self

    def __exit__(self, *_):
        self.bar.close()

    def tick(self, samples):
        """Move the bar within the epoch."""
        self.bar.update(self.done + samples - self.bar.n)

    def epoch_done(self, epoch, record):
        """Move the bar to the epoch's end and show the record beside it."""
        self.done = (epoch + 1) * self.samples if self.samples else self.bar.n
        self.bar.set_postfix_str(in_words(record), refresh=False)
        self.tick(0)


def choose(progress, verbose, epochs, samples):
    """Return what shows the progress.

    Parameters
    ----------
    progress : bool or None
        True shows a bar where standard error is a terminal and lines elsewhere.
    verbose : int or None
        0 shows nothing, 1 a bar, 2 lines.
    epochs : int
    samples : int or None
        Of an epoch, where that is known.

    Raises
    ------
    TypeError, ValueError
        If one is something else, or both are given.
    """
    if progress not in (None, True, False):
        raise TypeError(f"progress must be True, False or None, got {progress!r}")
    kinds = (Progress, Bar, Lines)
    if verbose is not None:
        if progress is not None:
            raise ValueError("progress and verbose exclude each other")
        if verbose not in range(3):
            raise ValueError(f"verbose must be 0, 1 or 2, got {verbose!r}")
        return kinds[int(verbose)](epochs, samples)
    if not progress:
        return Progress(epochs, samples)
    return (Bar if sys.stderr.isatty() else Lines)(epochs, samples)


def of_prediction(progress, samples):
    """Return what shows the progress of a prediction: a bar, or nothing."""
    if progress not in (None, True, False):
        raise TypeError(f"progress must be True, False or None, got {progress!r}")
    return (Bar if progress else Progress)(1, samples)


def in_words(record):
    """Return an epoch's record as a line."""
    skipped = ("lr", "seconds", "samples_per_second")
    shown = {
        name: f"{value:.4f}"
        for name, value in record.items()
        if name not in skipped and isinstance(value, float)
    }
    shown["samples/s"] = f"{record['samples_per_second']:,.0f}"
    return "  ".join(f"{name} {value}" for name, value in shown.items())
