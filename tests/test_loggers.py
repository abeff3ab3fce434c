"""Callbacks that write the history: CSVLogger, TensorBoard, MLflowLogger."""

import copy
import csv
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from cmlp import SGD, Network, fit_many
from cmlp.callbacks import Callback, Checkpoint, CSVLogger, MLflowLogger, TensorBoard


@pytest.fixture
def data(rng):
    return rng.normal(size=(50, 6)).astype(np.float32), rng.integers(0, 3, 50)


def network():
    return Network([6, 9, 3], activation="tanh", loss="cross_entropy", seed=1)


def read(path, separator=","):
    with open(path, newline="") as file:
        return [*csv.reader(file, delimiter=separator)]


class Stop(Callback):
    """Interrupt the run after a step."""

    def __init__(self, epoch, step):
        self.when = epoch, step

    def on_batch_end(self, network, epoch, step, loss):
        if (epoch, step) == self.when:
            raise KeyboardInterrupt


# CSVLogger.


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_file_has_the_history(data, tmp_path, separator):
    path = tmp_path / "log.csv"
    path.write_text("of another run\n")
    logger = CSVLogger(path, separator)
    for epochs in (3, 2):
        history = network().fit(*data, epochs=epochs, validation_data=data, callbacks=logger)
        header, *lines = read(path, separator)
        assert header == ["epoch", *history]
        assert [int(line[0]) for line in lines] == [*range(epochs)]
        for i, name in enumerate(header[1:], 1):
            assert [float(line[i]) for line in lines] == history[name]
    assert path.read_bytes().endswith(b"\n")


def test_append(data, tmp_path):
    path = tmp_path / "log.csv"
    network().fit(*data, epochs=2, callbacks=CSVLogger(path, append=True))
    with open(path, "a") as file:
        file.write("2,0.1")  # of a process that was killed
    network().fit(*data, epochs=2, callbacks=CSVLogger(path, append=True))
    assert [line[0] for line in read(path)] == ["epoch", "0", "1", "0", "1"]
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match="path must be a file with the columns epoch, loss, f1, lr"
    ):
        network().fit(*data, epochs=1, metrics="f1", callbacks=CSVLogger(path, append=True))
    assert path.read_bytes() == before


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("append", [False, True])
def test_a_resumed_run_has_each_epoch_once(data, tmp_path, order, append):
    path, log = tmp_path / "run.npz", tmp_path / "log.csv"
    log.write_text("epoch,loss,lr,seconds,samples_per_second\n0,1,1,1,1\n" if append else "other\n")

    def make(every=2):
        found = [CSVLogger(log, append=append), Checkpoint(path, every=every), Stop(3, 2)]
        return [found[1], found[0], found[2]] if order else found

    options = {"epochs": 6, "batch_size": 10, "optimizer": SGD(0.1)}
    with pytest.raises(KeyboardInterrupt):
        network().fit(*data, **options, callbacks=make())
    assert [line[0] for line in read(log)][-3:] == ["0", "1", "2"]
    callbacks = make()
    callbacks[-1] = Stop(9, 9)
    history = Network.resume(path).fit(*data, **options, callbacks=callbacks)
    lines = read(log)
    assert [line[0] for line in lines] == ["epoch", *["0"] * append, *map(str, range(6))]
    assert [float(line[1]) for line in lines[-6:]] == history["loss"]


def test_lines_after_the_checkpoint_are_removed(data, tmp_path):
    path, log = tmp_path / "run.npz", tmp_path / "log.csv"
    options = {"optimizer": SGD(0.1), "epochs": 5}

    class Copy(Callback):  # a checkpoint of epoch 2, and the file of a process killed later
        def on_pause(self, network, run):
            if run.position.epoch == 2 and not path.exists():
                run.save(path)

    network().fit(*data, **options, callbacks=[CSVLogger(log), Copy()])
    assert len(read(log)) == 6
    Network.resume(path).fit(*data, **options, callbacks=[CSVLogger(log), Copy()])
    assert [line[0] for line in read(log)] == ["epoch", *map(str, range(5))]
    log.unlink()
    Network.resume(path).fit(*data, **options, callbacks=[CSVLogger(log), Copy()])
    assert [line[0] for line in read(log)] == ["epoch", "2", "3", "4"]


def test_values_of_other_callbacks(data, tmp_path):
    path = tmp_path / "log.csv"

    def add(network, epoch, record):
        record["norm"] = np.float64(0.1)
        record["note"] = 'a "b", c'
        if epoch:
            record["late"] = 1

    network().fit(*data, epochs=2, callbacks=[add, CSVLogger(path)])
    lines = read(path)
    assert lines[0][-2:] == ["norm", "note"]
    assert lines[1][-2] == "0.1"
    assert lines[1][-1] == lines[2][-1] == 'a "b", c'


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CSVLogger("a", ";;"), ValueError, "separator must be one character"),
        (lambda: CSVLogger("a", '"'), ValueError, "separator must be one character, but no quote"),
        (lambda: CSVLogger("a", 1), TypeError, "separator must be one character; got 1"),
        (lambda: CSVLogger("a", append="a"), TypeError, "append must be True or False; got 'a'"),
        (lambda: TensorBoard(histogram_freq=-1), ValueError, "histogram_freq must be at least 0"),
        (lambda: TensorBoard(write_text=2), TypeError, "write_text must be True or False; got 2"),
        (lambda: MLflowLogger(3), TypeError, "run_id must be a string or None; got 3"),
        (lambda: MLflowLogger(log_params=0), TypeError, "log_params must be True or False; got 0"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_missing_directory_is_noticed_before_training(data, tmp_path):
    net = network()
    with pytest.raises(FileNotFoundError, match="path must be in an existing directory; got"):
        net.fit(*data, callbacks=CSVLogger(tmp_path / "nowhere" / "log.csv"))
    assert (net.weight[0] == network().weight[0]).all()


def test_several_networks_have_a_logger_each(data, tmp_path):
    paths = [tmp_path / f"{i}.csv" for i in range(2)]
    fit_many([network(), network()], *data, epochs=2, callbacks=[[CSVLogger(p)] for p in paths])
    assert [len(read(path)) for path in paths] == [3, 3]
    for make in (CSVLogger, TensorBoard):
        with pytest.raises(ValueError, match="callbacks must be a list with one list for each net"):
            fit_many([network(), network()], *data, callbacks=[make(paths[0])])


# TensorBoard.


def read_events(directory):
    """Return the values of event files: (tag, step, value) of scalars, tags of the others."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    scalars, others = [], []
    for path in sorted(directory.iterdir()):
        content = path.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars.append((value.tag, event.step, value.simple_value))
                else:
                    others.append((value.tag, event.step))
    return scalars, others


def test_event_files(data, tmp_path):
    pytest.importorskip("tensorboardX")
    logger = TensorBoard(tmp_path / "logs", histogram_freq=2)
    history = network().fit(*data, epochs=3, validation_data=data, metrics="f1", callbacks=logger)
    scalars, others = read_events(tmp_path / "logs" / "train")
    names = ["loss", "f1", "lr", "seconds", "samples_per_second"]
    assert [(tag, step) for tag, step, _ in scalars] == [(n, e) for e in range(3) for n in names]
    for tag, step, value in scalars:
        assert value == pytest.approx(history[tag][step])
    assert ("network/text_summary", 0) in others
    arrays = ["weight_0", "weight_1", "bias_0", "bias_1"]
    found = [each for each in others if each[0] in arrays]
    assert found == [(name, epoch) for epoch in (0, 2) for name in arrays]
    scalars, _ = read_events(tmp_path / "logs" / "validation")
    assert [each[:2] for each in scalars] == [
        (name, epoch) for epoch in range(3) for name in ("loss", "accuracy", "f1")
    ]
    assert [value for tag, _, value in scalars if tag == "accuracy"] == pytest.approx(
        history["val_accuracy"]
    )
    assert pickle.loads(pickle.dumps(copy.deepcopy(logger))).histogram_freq == 2


def test_a_resumed_run_continues_in_new_event_files(data, tmp_path):
    pytest.importorskip("tensorboardX")
    path, logs = tmp_path / "run.npz", tmp_path / "logs"

    def make(stop):
        return [TensorBoard(logs, write_text=False), Checkpoint(path), Stop(*stop)]

    with pytest.raises(KeyboardInterrupt):
        network().fit(*data, epochs=4, callbacks=make((2, 0)))
    Network.resume(path).fit(*data, epochs=4, callbacks=make((9, 9)))
    scalars, others = read_events(logs / "train")
    assert sorted(step for tag, step, _ in scalars if tag == "loss") == [0, 1, 2, 3]
    assert others == []


def test_tensorboard_needs_a_package(data, monkeypatch):
    for name in ("tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ImportError, match=r"TensorBoard requires tensorboardX; .*'cmlp\[tensorboar"
    ):
        network().fit(*data, epochs=1, callbacks=TensorBoard())


# MLflowLogger.


class FakeMlflow(types.ModuleType):
    """The functions of MLflow that the callback uses."""

    def __init__(self, active):
        super().__init__("mlflow")
        self.active, self.metrics, self.params, self.ended = active, [], {}, []

    def active_run(self):
        run = types.SimpleNamespace(info=types.SimpleNamespace(run_id=self.active))
        return None if self.active is None else run

    def start_run(self):
        self.active = "own"
        return self.active_run()

    def end_run(self, status):
        self.ended.append(status)

    def log_metrics(self, metrics, step, run_id):
        self.metrics.append((run_id, step, metrics))

    def MlflowClient(self):
        return types.SimpleNamespace(
            log_param=lambda run_id, name, value: self.params.update({(run_id, name): value})
        )


@pytest.mark.parametrize(
    ("active", "run_id", "used"), [(None, None, "own"), ("a", None, "a"), ("a", "b", "b")]
)
def test_metrics_of_an_mlflow_run(data, monkeypatch, active, run_id, used):
    fake = FakeMlflow(active)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    history = network().fit(*data, epochs=2, callbacks=MLflowLogger(run_id))
    assert fake.metrics == [(used, epoch, history.epochs[epoch]) for epoch in range(2)]
    assert fake.params[used, "sizes"] == "[6, 9, 3]"
    assert fake.ended == (["FINISHED"] if used == "own" else [])


def test_a_run_that_fails(data, monkeypatch):
    fake = FakeMlflow(None)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    with pytest.raises(KeyboardInterrupt):
        network().fit(*data, callbacks=[MLflowLogger(log_params=False), Stop(1, 0)])
    assert fake.ended == ["KILLED"]
    assert fake.params == {}
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"MLflowLogger requires MLflow; .*'cmlp\[mlflow\]'"):
        network().fit(*data, epochs=1, callbacks=MLflowLogger())


@pytest.mark.filterwarnings("ignore")  # of MLflow itself
def test_mlflow(data, monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    history = network().fit(*data, epochs=3, callbacks=MLflowLogger())
    run = mlflow.last_active_run()
    found = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(each.step, each.value) for each in found] == [*enumerate(history["loss"])]
    assert run.data.params["loss"] == "cross_entropy"
