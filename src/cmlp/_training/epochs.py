"""Several epochs of a training run by one `EpochRun`, if nothing has to look in between.

The arithmetic of an epoch of iris takes 26 us, and the events of `TrainingRun.run_epoch` and the
preparation of an `EpochRun` took 44 us. The results are the same.
"""

import time

from cmlp._training.run_state import Position
from cmlp._training.step_settings import compute_settings
from cmlp.errors import TrainingDiverged


def is_unwatched(run):
    """Return whether `run_epochs` can train the remaining epochs of a `TrainingRun`.

    Nothing may read the network or the run between two epochs, and the run must be at the start of
    an epoch of arrays.
    """
    if run.validate is not None or run.metrics or run.restore_good:
        return False
    if run.progress.update is not None or any(c.reads_network for c in run.callbacks):
        return False
    if not run.source.has_one_chunk or run.state.architecture.loss.call:
        return False
    return run.position == Position(run.position.epoch)


def run_epochs(run):
    """Train for the remaining epochs of a `TrainingRun`, and record each of them.

    Raises
    ------
    TrainingDiverged
        As `TrainingRun.run`.
    """
    state, source, schedule = run.state, run.source, run.schedule
    epoch, seed = run.position.epoch, state.architecture.seed
    run.adopt_task()
    chunk = next(source.chunks(seed, state.epoch))
    settings = compute_settings(run, 0, source.steps)
    observers = [callback.on_epoch_end for callback in run.callbacks]
    records = run.history.epochs
    try:
        with run.make_epoch_run(chunk, settings) as epoch_run:
            while True:
                seconds = run_slices(run, epoch_run, epoch)
                record = run.make_record(
                    epoch_run.loss, epoch_run.weight, epoch_run.penalty, source.n_samples, seconds,
                    settings.get_rate(-1),
                )  # fmt: skip
                records.append(record)
                for observe in observers:
                    if observe(run.network, epoch, record) is True:
                        run.is_stopped = True
                if schedule is not None:
                    schedule.observe(record)
                epoch += 1
                state.epoch = run.first_epoch + epoch
                run.progress.finish_epoch(epoch - 1, record)
                if run.is_stopped or epoch == run.epochs:
                    return
                order = source.draw_order(seed, state.epoch, chunk.order)
                settings = compute_settings(run, 0, source.steps, epoch)
                epoch_run.restart(order, settings, state.epoch)
    finally:
        run.position = Position(state.epoch - run.first_epoch)


def run_slices(run, epoch_run, epoch):
    """Run time slices until the epoch is done; return its seconds."""
    start, is_unfinished = time.perf_counter(), True
    while is_unfinished:
        is_unfinished = epoch_run.run()
        if epoch_run.has_diverged:
            raise TrainingDiverged(epoch, (epoch_run.done - 1) // run.source.batch_size)
        if run.is_cancelled:
            raise KeyboardInterrupt
    seconds = time.perf_counter() - start
    if not run.state.program.is_finite():
        raise TrainingDiverged(epoch, run.source.steps - 1)
    return seconds
