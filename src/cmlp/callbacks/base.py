"""`Callback`: the methods that training calls."""


class Callback:
    """Base class of callbacks; every method does nothing.

    `on_epoch_end` and `on_batch_end` stop training by returning True.

    Attributes
    ----------
    reads_network : bool, default True
        False: `on_epoch_end` uses the record only, and the callback does not override the methods
        that are called within an epoch, or between two epochs. If this is so for all callbacks of
        a run, short epochs have less overhead.
    writes_files : bool, default True
        False on the ranks of a communicator that must not write files, all but the first; set
        before `on_train_begin`.
    has_own_files : bool, default False
        Whether it writes files that several networks cannot share, so that `fit_many` needs an
        instance for each network.
    """

    reads_network = writes_files = True
    has_own_files = False

    def on_train_begin(self, network):
        """Handle the start of training, before the first epoch.

        Parameters
        ----------
        network : Network
            The network that is trained; also an argument of the other methods.
        """

    def on_epoch_begin(self, network, epoch):
        """Handle the start of an epoch.

        Parameters
        ----------
        network : Network
        epoch : int
            The epoch, counted from 0.
        """

    def on_batch_end(self, network, epoch, step, loss):
        """Handle the end of a step.

        If a callback overrides this method, the engine returns to Python after each batch, which
        costs some microseconds per step.

        Parameters
        ----------
        network : Network
        epoch, step : int
            The epoch, and the step of the epoch, counted from 0.
        loss : float
            Mean loss of the batch before the step.
        """

    def on_epoch_end(self, network, epoch, record):
        """Handle the end of an epoch.

        Parameters
        ----------
        network : Network
        epoch : int
            The epoch, counted from 0.
        record : dict of str to float
            The quantities of the epoch in the history; may be extended.
        """

    def on_train_end(self, network, history):
        """Handle the end of training, unless an exception ended it.

        Parameters
        ----------
        network : Network
        history : History
            What `Network.fit` returns.
        """

    def on_pause(self, network, run):
        """Handle a pause between two steps, about 20 times a second and after each epoch.

        Parameters
        ----------
        network : Network
        run : object
            The training run; ``run.save(path)`` writes a checkpoint of it.
        """

    def on_error(self, network, run, error):
        """Handle an exception that ends training.

        Parameters
        ----------
        network : Network
        run : object
            As in `on_pause`.
        error : BaseException
            The exception, such as KeyboardInterrupt.
        """

    @property
    def wants_batches(self):
        """Whether `on_batch_end` must be called."""
        return type(self).on_batch_end is not Callback.on_batch_end

    def state(self):
        """Return the data that a checkpoint stores: a dict of numbers, None and arrays."""
        return {}

    def load_state(self, state):
        """Restore what `state` returned; called after `on_train_begin`.

        Parameters
        ----------
        state : dict of str to int, float, None or ndarray
            The data of the checkpoint.
        """

    def check_state(self, name, state, network, epoch):
        """Raise `ValueError` unless `load_state` can restore a state that was read from a file.

        It is called before anything of the checkpoint is restored.

        Parameters
        ----------
        name : str
            The name of the state in messages.
        state : dict of str to int, float, None or ndarray
            The data of the checkpoint.
        network : Network
        epoch : int
            Number of epochs of the run before the checkpoint.
        """


class Function(Callback):
    """A callable of (network, epoch, record), called after each epoch.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, network, epoch, record):
        """Call the function and return what it returns."""
        return self.function(network, epoch, record)
