"""scikit-learn's callbacks (`sklearn.callback`): the tasks that `fit` of an estimator reports."""

from cmlp.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Without callbacks."""

    def with_callbacks(method):
        """Return the method."""
        return method


__all__ = ["CallbackSupportMixin", "EpochTasks", "FitTasks", "with_callbacks"]


class FitTasks:
    """The tasks of one call of `fit`: one for each epoch and, if there are several, each network.

    Parameters
    ----------
    estimator : BaseEstimator
    context : sklearn.callback.CallbackContext
        Of the call.
    data : tuple (X, y, sample_weight)
        As given to `fit`.
    networks, epochs : int
        Number of networks, and of the epochs of each.
    reconstruct : callable
        Called with a copy of a network; returns the attributes with which a copy of the estimator
        predicts by it, a dict.
    """

    def __init__(self, estimator, context, data, networks, epochs, reconstruct):
        X, y, sample_weight = data
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context, self.networks, self.epochs = context, networks, epochs
        self.reconstruct = reconstruct
        context.call_on_fit_task_begin(**self.arguments)

    def begin(self, context, network=None):
        """Report the beginning of a task; return its context."""
        return context.call_on_fit_task_begin(**self.arguments, **self.describe(network))

    def end(self, context, network=None):
        """Report the end of a task; return whether a callback stops the tasks of its kind."""
        return context.call_on_fit_task_end(**self.arguments, **self.describe(network))

    def describe(self, network):
        """Return the argument of the hooks that describes the estimator with a network, a dict."""
        if network is None:
            return {}
        return {"reconstruction_attributes": lambda: self.reconstruct(copy_network(network))}

    def finish(self):
        """Report the end of the call, when the estimator is fitted."""
        self.context.call_on_fit_task_end(**self.arguments, reconstruction_attributes={})

    def make_callbacks(self, count=1):
        """Return the callbacks of the next networks, a list of `EpochTasks`."""
        if self.networks == 1:
            return [EpochTasks(self, self.context)]
        contexts = [
            self.context.subcontext(task_name="network", max_subtasks=self.epochs)
            for _ in range(count)
        ]
        return [EpochTasks(self, context, is_subtask=True) for context in contexts]


def copy_network(network):
    """Return an independent copy without the history, whose copies would take longer each epoch."""
    state = network.state
    state = state.share(epoch=state.epoch, optimizer=None, checkpoint=None)
    state.history = None
    return type(network).from_state(state.copy())


class EpochTasks(Callback):
    """Report the epochs of a network as tasks.

    Parameters
    ----------
    tasks : FitTasks
    context : sklearn.callback.CallbackContext
        The parent of the epochs.
    is_subtask : bool, default False
        Whether the network is a task of its own.
    """

    def __init__(self, tasks, context, is_subtask=False):
        self.tasks, self.context, self.is_subtask = tasks, context, is_subtask

    def on_train_begin(self, network):
        """Report the beginning of the network."""
        if self.is_subtask:
            self.tasks.begin(self.context, network)

    def on_epoch_begin(self, network, epoch):
        """Report the beginning of an epoch."""
        self.epoch = self.tasks.begin(self.context.subcontext(task_name="epoch"), network)

    def on_epoch_end(self, network, epoch, record):
        """Report the end of an epoch; return whether to stop."""
        return self.tasks.end(self.epoch, network)

    def on_train_end(self, network, history):
        """Report the end of the network."""
        if self.is_subtask:
            self.tasks.end(self.context, network)
