"""`MLflowLogger`: the history as metrics of an MLflow run."""

from cmlp._utils.validation import check_bool, import_optional
from cmlp.callbacks.base import Callback
from cmlp.callbacks.records import describe_network, select_numbers


class MLflowLogger(Callback):
    """Log the quantities of each epoch to MLflow, with the epoch, counted from 0, as step.

    Requires MLflow, the extra ``mlflow``.

    Parameters
    ----------
    run_id : str, optional
        The MLflow run to log to. By default the active run of the thread that trains; without one,
        a run is started, and ends with training.
    log_params : bool, default True
        Whether to log the hyper-parameters of the network as parameters of the run.

    Raises
    ------
    TypeError
        If an argument does not fit.
    ImportError
        When training starts, if MLflow is not installed.
    """

    reads_network = False

    def __init__(self, run_id=None, log_params=True):
        if run_id is not None and not isinstance(run_id, str):
            raise TypeError(f"run_id must be a string or None; got {run_id!r}")
        check_bool("log_params", log_params)
        self.run_id, self.log_params = run_id, log_params
        self._client, self._run_id, self._is_own = None, None, False

    def __getstate__(self):
        return {**self.__dict__, "_client": None}

    def on_train_begin(self, network):
        """Find or start the MLflow run, and log the network's hyper-parameters."""
        mlflow = import_optional("mlflow", "MLflowLogger", "MLflow", "mlflow")
        if not self.writes_files:
            return
        self._client, self._is_own = mlflow, False
        self._run_id = self.run_id
        if self._run_id is None:
            self._is_own = mlflow.active_run() is None
            run = mlflow.start_run() if self._is_own else mlflow.active_run()
            self._run_id = run.info.run_id
        if self.log_params:
            client = mlflow.MlflowClient()
            for name, value in describe_network(network).items():
                client.log_param(self._run_id, name, value)

    def on_epoch_end(self, network, epoch, record):
        """Log the numbers of the record."""
        if self._client is not None:
            self._client.log_metrics(select_numbers(record), step=epoch, run_id=self._run_id)

    def on_train_end(self, network, history):
        """End the run if this callback has started it."""
        self._end("FINISHED")

    def on_error(self, network, run, error):
        """End the run as failed, or killed by Ctrl-C, if this callback has started it."""
        self._end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")

    def _end(self, status):
        if self._is_own:
            self._client.end_run(status)
        self._client, self._is_own = None, False
