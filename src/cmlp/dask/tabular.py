"""The estimators for tables: those of `cmlp.tabular`, and three arguments more."""

from typing import ClassVar

import numpy as np

from cmlp import tabular as local
from cmlp._utils.fields import store_arguments
from cmlp._utils.validation import look_up
from cmlp.dask.base import ClusterClassifier, ClusterRegressor
from cmlp.dask.table_mixin import ClusterTables
from cmlp.dask.tables import learn_real_targets
from cmlp.tabular.targets import ClassTargets, check_class_weight


class RealMLPClassifier(ClusterClassifier, ClusterTables, local.RealMLPClassifier):  # type: ignore[misc]  # no groups
    """`cmlp.tabular.RealMLPClassifier` for tables in a Dask cluster.

    A round trains a copy of the network on each partition, where the partition is, and averages
    the copies; `max_epochs`, `early_stopping` and schedules count rounds. All statistics of the
    columns are exact, but for medians and quartiles of tables with more than 65,536 rows: these
    come from a sample of that size. With the same data, partitioning and `random_state`, the
    result has the same bits for any number of workers.

    Parameters
    ----------
    preset, variant, ... : as in `cmlp.tabular.RealMLPClassifier`
    validation_fraction : float, default 0.2
        Fraction of each partition, without stratification.
    cv : int, optional
        Number of folds, which are parts of each partition. Their networks are trained in turn.
    calibrate : {"temperature"}, optional
        Uses at most 65,536 rows that are held out.
    n_jobs : int, optional
        Number of threads of a task; by default 1, as workers run several tasks at a time.
    verbose : int, default 0
        1 prints a line for each round.
    client : distributed.Client, optional
        The cluster to train on; by default the active client. Not pickled.
    local_steps : int, optional
        Number of steps that each partition takes in a round; by default an epoch of its rows.
    replicas : int, optional
        Number of copies of the network that are trained at the same time and averaged after each
        round. Each trains on consecutive partitions in turn. By default one for each partition.
        The result depends on it, so the number of workers is not a default.

    Attributes
    ----------
    classes_, encoder_, networks_, histories_, best_epochs_, temperature_, ...
        As in `cmlp.tabular.RealMLPClassifier`, but for `oof_prediction_`; epochs are rounds.
    client_ : distributed.Client
    """

    _local_class: ClassVar[type] = local.RealMLPClassifier

    def __init__(self, preset="default", variant="TD", *, categorical_features="from_dtype",
                 hidden_layer_sizes=None, activation=None, parametric_activation=None,
                 numeric_embedding=None, frequencies=None, embedding_outputs=None,
                 frequency_scale=None, max_one_hot=None, category_dim=None, input_scale=None,
                 init=None, smooth_clip=None, dropout=None, dropout_schedule=None,
                 label_smoothing=0.1, max_epochs=None, batch_size=None, learning_rate=None,
                 schedule=None, scale_lr_factor=None, bias_lr_factor=None, numeric_lr_factor=None,
                 category_lr_factor=None, alpha_lr_factor=None, betas=None, epsilon=None,
                 weight_decay=None, decay_schedule=None, weight_decay_mode="once",
                 class_weight=None, val_metric=None, validation_fraction=0.2, cv=None, n_refit=0,
                 early_stopping=None, time_limit=None, calibrate=None, dtype="float32",
                 compute_dtype=None, random_state=None, n_jobs=None, verbose=0, transform_layer=-2,
                 client=None, local_steps=None, replicas=None):  # fmt: skip
        store_arguments(self, locals())

    def _learn_targets(self, run, futures, summaries):
        for number, summary in summaries.items():
            if summary.n_outputs is not None:
                raise ValueError(
                    f"y must have the shape (n_rows,); got {summary.n_outputs} columns in "
                    f"partition {number}"
                )
        labels = [summary.classes for summary in summaries.values()]
        try:
            return ClassTargets(np.unique(np.concatenate(labels)))
        except TypeError:
            raise TypeError(
                "y must hold labels of one type in all partitions; got "
                f"{', '.join(sorted({str(part.dtype) for part in labels}))}"
            ) from None

    def _check_arguments(self, settings, validation_data):
        super()._check_arguments(settings, validation_data)
        if self.calibrate is not None:
            look_up("calibrate", self.calibrate, {"temperature": None})
        check_class_weight(self.class_weight)

    def _weigh_classes(self, targets, summaries):
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, dict):
            return np.array([self.class_weight.get(label, 1.0) for label in targets.classes], float)
        counts = np.zeros(len(targets.classes))
        for summary in summaries:
            counts[np.searchsorted(targets.classes, summary.classes)] += summary.class_counts
        return counts.sum() / len(counts) / counts


class RealMLPRegressor(ClusterRegressor, ClusterTables, local.RealMLPRegressor):  # type: ignore[misc]  # no groups
    """`cmlp.tabular.RealMLPRegressor` for tables in a Dask cluster; see `RealMLPClassifier`.

    Parameters
    ----------
    preset, variant, ... : as in `cmlp.tabular.RealMLPRegressor`
        With the same restrictions as for `RealMLPClassifier`.
    client, local_steps, replicas
        As in `RealMLPClassifier`.

    Attributes
    ----------
    encoder_, networks_, histories_, best_epochs_, ...
        As in `cmlp.tabular.RealMLPRegressor`, but for `oof_prediction_`; epochs are rounds.
    client_ : distributed.Client
    """

    _local_class: ClassVar[type] = local.RealMLPRegressor

    def __init__(self, preset="default", variant="TD", *, categorical_features="from_dtype",
                 loss="mse", quantiles=0.5, clamp_output=None, hidden_layer_sizes=None,
                 activation=None, parametric_activation=None, numeric_embedding=None,
                 frequencies=None, embedding_outputs=None, frequency_scale=None, max_one_hot=None,
                 category_dim=None, input_scale=None, init=None, smooth_clip=None, dropout=None,
                 dropout_schedule=None, max_epochs=None, batch_size=None, learning_rate=None,
                 schedule=None, scale_lr_factor=None, bias_lr_factor=None, numeric_lr_factor=None,
                 category_lr_factor=None, alpha_lr_factor=None, betas=None, epsilon=None,
                 weight_decay=None, decay_schedule=None, weight_decay_mode="once", val_metric=None,
                 validation_fraction=0.2, cv=None, n_refit=0, early_stopping=None,
                 time_limit=None, dtype="float32", compute_dtype=None, random_state=None,
                 n_jobs=None, verbose=0, transform_layer=-2, client=None, local_steps=None,
                 replicas=None):  # fmt: skip
        store_arguments(self, locals())

    def _learn_targets(self, run, futures, summaries):
        is_vector = next(iter(summaries.values())).n_outputs is None
        return learn_real_targets(run, futures, is_vector)

    def _weigh_classes(self, targets, summaries):
        return None
