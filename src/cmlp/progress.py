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

        self.bar = tqdm(total=self.epochs * self.samples, unit=" samples", unit_scale=True)
        self.done = 0
        return self

    def __exit__(self, *_):
        self.bar.close()

    def tick(self, samples):
        """Move the bar within the epoch."""
        self.bar.update(self.done + samples - self.bar.n)

    def epoch_done(self, epoch, record):
        """Move the bar to the epoch's end and show the record beside it."""
        self.done = (epoch + 1) * self.samples
        self.bar.set_postfix_str(in_words(record), refresh=False)
        self.tick(0)


def choose(progress, epochs, samples):
    """Return what shows the progress.

    Parameters
    ----------
    progress : bool or None
        True shows a bar where standard error is a terminal and lines elsewhere.
    epochs, samples : int

    Raises
    ------
    TypeError
        If `progress` is something else.
    """
    if progress not in (None, True, False):
        raise TypeError(f"progress must be True, False or None, got {progress!r}")
    if not progress:
        return Progress(epochs, samples)
    return (Bar if sys.stderr.isatty() else Lines)(epochs, samples)


def in_words(record):
    """Return an epoch's record as a line."""
    shown = {
        name: f"{record[name]:.4f}" for name in record if name.endswith(("loss", "accuracy", "r2"))
    }
    shown["samples/s"] = f"{record['samples_per_second']:,.0f}"
    return "  ".join(f"{name} {value}" for name, value in shown.items())
