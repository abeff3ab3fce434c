"""`RealMLPClassifier` and `RealMLPRegressor`: tuned multilayer perceptrons for tables."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import d2_pinball_score
from sklearn.utils.validation import column_or_1d

from cmlp import losses
from cmlp._utils.fields import store_arguments
from cmlp._utils.validation import check_unmasked, look_up
from cmlp.tabular.base import RealMLP
from cmlp.tabular.calibration import apply_temperature, fit_temperature
from cmlp.tabular.settings import CLASSIFICATION, REGRESSION
from cmlp.tabular.targets import ClassTargets, RealTargets, convert_real, weigh_classes


class RealMLPClassifier(ClassifierMixin, RealMLP):
    """Classifier for tables: RealMLP, a multilayer perceptron with tuned defaults [1]_.

    Takes tables as they are: numbers and categories, with missing values in both. See
    `TableEncoder` for their encoding. The network is validated after each epoch on rows that are
    held out, and has the parameters of the best epoch.

    Parameters
    ----------
    preset : {"fast", "default", "best"}, default "default"
        ``"default"`` is the published method; ``"fast"`` trains smaller layers for fewer epochs, in
        less than a tenth of the time; ``"best"`` averages the networks of eight folds.
    variant : {"TD", "TD-S"}, default "TD"
        The tuned defaults, or the simpler ones: no embeddings, dropout and weight decay.
    categorical_features : {"from_dtype"}, array-like of bool, int or str, or None
        As in `TableEncoder`.
    hidden_layer_sizes : sequence of int, optional
        Units of the hidden layers; ``hidden_sizes`` in pytabkit. (256, 256, 256).
    activation : str, Activation or sequence of them, optional
        As in `cmlp.Network`; ``act``. ``"selu"``, for regression ``"mish"``.
    parametric_activation : bool, optional
        Whether units learn how nonlinear they are; ``use_parametric_act``. TD: True.
    numeric_embedding : {"pbld", "pblrd", "plr", "pl", "none"}, optional
        The `cmlp.layers.Periodic` embedding of numbers; ``num_emb_type``. TD: ``"pbld"``.
    frequencies, embedding_outputs, frequency_scale : int, int, float, optional
        Of that embedding; ``plr_hidden_1``, ``plr_hidden_2``, ``plr_sigma``. 16, 4 and 0.1.
    max_one_hot : int, optional
        Categorical columns with more categories have embeddings; ``max_one_hot_cat_size``, which
        counts missing values too. TD: 8; TD-S has no embeddings.
    category_dim : int, optional
        Length of those embeddings; ``embedding_size``. 8.
    input_scale : bool, optional
        Whether each column has a learned factor; ``add_front_scale``. True.
    init : {"data", "normal"}, optional
        Initial parameters; ``weight_init_mode`` and ``bias_init_mode``. ``"data"``, the default of
        TD, is `Network.initialize`; ``"normal"`` draws weights and biases from normal distributions
        and begins with the last layer at 0.
    smooth_clip : float, optional
        As in `TableEncoder`. 3.
    dropout, dropout_schedule : float; str or schedule, optional
        ``p_drop`` and ``p_drop_sched``. TD: 0.15, ``"flat_cos"``.
    label_smoothing : float, default 0.1
        ``ls_eps``.
    max_epochs, batch_size : int, optional
        ``n_epochs`` and ``batch_size``. 256 and 256.
    learning_rate, schedule : float; str or schedule, optional
        ``lr`` and ``lr_sched``. 0.04, for regression 0.2 with TD, 0.07 with TD-S, and 0.04 with the
        loss ``"gaussian_nll"``; ``"coslog4"``.
    scale_lr_factor, bias_lr_factor, numeric_lr_factor, category_lr_factor, alpha_lr_factor : \
            float, optional
        Factors of the learning rate: ``scale_lr_factor`` 6, ``bias_lr_factor`` 0.1,
        ``plr_lr_factor`` 0.1, ``emb_lr_factor`` 1, ``act_lr_factor`` 0.1.
    betas, epsilon : tuple of float; float, optional
        Of Adam; ``mom`` and ``sq_mom``, ``opt_eps``. (0.9, 0.95) and 1e-8.
    weight_decay, decay_schedule : float; str or schedule, optional
        Decoupled decay of all parameters but biases; ``wd`` and ``wd_sched``. TD: 0.02,
        ``"flat_cos"``.
    weight_decay_mode : {"once", "twice"}, default "once"
        How often the factor of a parameter's learning rate multiplies its decay. ``"once"`` is
        decoupled weight decay as published (Loshchilov and Hutter, ICLR 2019, algorithm 2);
        ``"twice"`` is what pytabkit computes.
    class_weight : dict or "balanced", optional
        Weights of the classes, which multiply `sample_weight`.
    val_metric : {"error", "log_loss", "auc", "loss"}, default "error"
        What chooses the best epoch; with equal values the last.
    validation_fraction : float, default 0.2
        Fraction of the rows that a single network is validated with.
    cv : int, splitter or iterable, optional
        Train one network for each fold, validated with that fold, and average their predictions;
        ``n_cv``. An int is a number of shuffled folds, stratified by class, or by `groups` if `fit`
        is given them. A splitter's training rows are those that it gives.
    n_refit : int, default 0
        Number of networks that are trained after those on all rows, up to their mean best epoch,
        and replace them.
    early_stopping : int, optional
        End training when this number of epochs was worse than the best. Never by default: the
        schedule is made for all epochs.
    time_limit : float, optional
        Seconds of training, shared by all networks; each ends with the epoch that passes its
        share. Their schedules stay incomplete.
    calibrate : {"temperature"}, optional
        Scale the logarithms of probabilities so that they fit the rows held out best.
    dtype : {"float32", "float64"}, default "float32"
    compute_dtype : {"bfloat16"}, optional
        As in `cmlp.Network`.
    random_state : int, RandomState or None, default None
    n_jobs : int, optional
        Number of threads, which train a fold each; -1 for all CPUs. None uses as many as
        `cmlp.Network`.
    verbose : int, default 0
        1 shows the progress of a single network.
    transform_layer : int, default -2
        The layer whose outputs `transform` returns: -1 is the output layer, -2 the last hidden
        layer, 0 the first dense layer.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
    encoder_ : TableEncoder
        Fitted to all rows.
    networks_ : list of cmlp.Network
    histories_ : list of cmlp.History
        Of each network.
    best_epochs_ : list of int
        The epoch, counted from 0, whose parameters each network has.
    oof_prediction_ : ndarray, shape (n_samples, n_classes)
        Probabilities by the network that did not train on the row, NaN for rows in no fold; only
        with `cv`, before calibration.
    temperature_ : float
        1 without calibration.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if all column names are strings.
    target_name_ : str or None
        The name of y, if it is a Series with a name.

    References
    ----------
    .. [1] D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by default: strong pre-tuned MLPs
       and boosted trees on tabular data", NeurIPS 2024, arXiv:2407.04491, table A.1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from cmlp.tabular import RealMLPClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> classifier = RealMLPClassifier(preset="fast", random_state=0).fit(X, y)
    >>> classifier.predict(X.iloc[[0, 60, 120]])
    array([0, 1, 2])
    """

    _task = CLASSIFICATION

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
                 compute_dtype=None, random_state=None, n_jobs=None, verbose=0,
                 transform_layer=-2):  # fmt: skip
        store_arguments(self, locals())

    def _make_targets(self, y, sample_weight):
        if self.calibrate is not None:
            look_up("calibrate", self.calibrate, {"temperature": None})
        return ClassTargets.learn(y), weigh_classes(self.class_weight, y, sample_weight)

    def _make_loss(self):
        return losses.cross_entropy(self.label_smoothing)

    def _check_targets(self, y, name):
        check_unmasked(name, y)
        return column_or_1d(y, warn=True)

    def _calibrate(self, held_out):
        self.temperature_ = 1.0 if self.calibrate is None else fit_temperature(*held_out)

    @property
    def classes_(self):
        """The labels of the classes, shape (n_classes,)."""
        return self._get_targets().classes

    def _predict_held_out(self, network, X):
        return network.predict_proba(X, threads=self._resolve_threads())

    def predict_proba(self, X):
        """Return the probabilities of the classes, the mean over the networks.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)
            With the columns of `fit`.

        Returns
        -------
        ndarray, shape (n_rows, n_classes)
            In the order of `classes_`; of the dtype of the networks.

        Raises
        ------
        TypeError, ValueError
            As `TableEncoder.transform`.
        """
        X, threads = self.encode(X), self._resolve_threads()
        found = [network.predict_proba(X, threads=threads) for network in self.networks_]
        scaled = [apply_temperature(each, self.temperature_) for each in found]
        mean = np.mean(scaled, axis=0)
        return np.ones_like(mean[:, :1]) if len(self.classes_) == 1 else mean

    def predict_log_proba(self, X):
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)

        Returns
        -------
        ndarray, shape (n_rows, n_classes)

        Raises
        ------
        TypeError, ValueError
            As `predict_proba`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X):
        """Return the most probable class of each row.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)

        Returns
        -------
        ndarray, shape (n_rows,)

        Raises
        ------
        TypeError, ValueError
            As `predict_proba`.
        """
        codes = self.predict_proba(X).argmax(axis=1)
        return self.classes_[codes]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = False
        return tags


# Name of the argument `loss` of the regressor -> loss without further parameters.
REAL_LOSSES = {"mse": "mse", "mae": "mae", "huber": "huber", "log_cosh": "log_cosh"}


class RealMLPRegressor(RegressorMixin, RealMLP):
    """Regressor for tables: RealMLP, a multilayer perceptron with tuned defaults.

    As `RealMLPClassifier`, for one or several real targets, which are standardized.

    Parameters
    ----------
    preset, variant, ... : as in `RealMLPClassifier`
        The other arguments are described there.
    loss : {"mse", "mae", "huber", "log_cosh", "pinball", "gaussian_nll"} or Loss, default "mse"
        ``"pinball"`` predicts quantiles, ``"gaussian_nll"`` means and standard deviations. Also
        `cmlp.losses.huber(delta)`, where delta is in units of standardized targets.
    quantiles : float or sequence of float, default 0.5
        In ascending order; only for the loss ``"pinball"``. They never cross.
    clamp_output : bool, optional
        Whether predictions are limited to the range of the targets of `fit`; the mean only, for
        ``"gaussian_nll"``. True for TD, False for TD-S.
    val_metric : {"rmse", "mae", "loss"}, optional
        What chooses the best epoch, in units of standardized targets: ``"rmse"``, and the loss for
        the losses ``"pinball"`` and ``"gaussian_nll"``, which allow only that.

    Attributes
    ----------
    encoder_, networks_, histories_, best_epochs_, n_features_in_, feature_names_in_, target_name_
        As for `RealMLPClassifier`.
    oof_prediction_ : ndarray, shape (n_samples,) or (n_samples, n_outputs)
        What `predict` returns, by the network that did not train on the row, NaN for rows in no
        fold; only with `cv`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from cmlp.tabular import RealMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> regressor = RealMLPRegressor(preset="fast", loss="pinball", quantiles=(0.1, 0.5, 0.9))
    >>> regressor.fit(X, y).predict(X).shape
    (442, 3)
    """

    _task = REGRESSION

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
                 n_jobs=None, verbose=0, transform_layer=-2):  # fmt: skip
        store_arguments(self, locals())

    def _make_targets(self, y, sample_weight):
        return RealTargets.learn(y, sample_weight), sample_weight

    def _make_loss(self):
        allowed = {**REAL_LOSSES, "pinball": None, "gaussian_nll": None}
        is_own = isinstance(self.loss, losses.Loss) and self.loss.name in REAL_LOSSES
        look_up("loss", self.loss.name if is_own else self.loss, allowed)
        if self.loss != "pinball" and np.any(np.asarray(self.quantiles) != 0.5):
            raise ValueError(f"quantiles must be 0.5 unless loss='pinball'; got {self.quantiles!r}")
        if self.loss == "pinball":
            is_list = np.ndim(self.quantiles) == 1 and len(self.quantiles) > 1
            return losses.pinball(self.quantiles, non_crossing=bool(is_list))
        return losses.resolve_loss(self.loss)

    def _check_targets(self, y, name):
        return convert_real(y, name)

    @property
    def n_outputs_(self):
        """Number of targets."""
        return len(self._get_targets().mean)

    def _predict_held_out(self, network, X):
        return self._decode(network.predict(X, threads=self._resolve_threads()))

    def _decode(self, predictions):
        return self._targets.decode(predictions, self._clamps)

    def score(self, X, y, sample_weight=None):
        """Return R^2 or, for ``loss="pinball"``, the mean over the quantiles of pinball D^2.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)
        y : array-like, shape (n_rows,) or (n_rows, n_targets)
        sample_weight : array-like, shape (n_rows,), optional

        Returns
        -------
        float
            See `sklearn.metrics.r2_score` and `d2_pinball_score`.
        """
        if self.loss != "pinball":
            return super().score(X, y, sample_weight)
        found, levels = self.predict(X), np.atleast_1d(self.quantiles)
        columns = [found] if len(levels) == 1 else found.T
        return float(np.mean([
            d2_pinball_score(y, column, sample_weight=sample_weight, alpha=level)
            for column, level in zip(columns, levels, strict=True)
        ]))  # fmt: skip

    def predict(self, X, return_std=False):
        """Return the predictions, the mean over the networks.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)
            With the columns of `fit`.
        return_std : bool, default False
            Whether to return standard deviations too; only with ``loss="gaussian_nll"``. With
            several networks, of the mixture of their distributions.

        Returns
        -------
        ndarray of float64, shape (n_rows,), (n_rows, n_targets) or (n_rows, n_quantiles)
        std : ndarray of float64, shape (n_rows,) or (n_rows, n_targets)
            Only with `return_std`.

        Raises
        ------
        TypeError, ValueError
            As `TableEncoder.transform`; if `return_std` is true for another loss.
        """
        X, threads = self.encode(X), self._resolve_threads()
        drop = self._targets.drop_column
        if not return_std:
            found = [network.predict(X, threads=threads) for network in self.networks_]
            return drop(np.mean([self._decode(each) for each in found], axis=0))
        pairs = [n.predict(X, return_std=True, threads=threads) for n in self.networks_]
        means = np.array([self._targets.decode(mean, clamps=False) for mean, _ in pairs])
        deviations = np.array([
            std.reshape(len(std), -1) * self._targets.deviation for _, std in pairs
        ])  # fmt: skip
        variance = (deviations**2 + means**2).mean(0) - means.mean(0) ** 2
        mean = np.mean([self._decode(mean) for mean, _ in pairs], axis=0)
        return drop(mean), drop(np.sqrt(np.maximum(variance, (deviations**2).min(0))))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
