"""`LayerFeatures`: the outputs of a layer as columns of a transformer of scikit-learn."""

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from cmlp._training.derivative_methods import check_layer


class LayerFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """A base of estimators with the argument `transform_layer`.

    A subclass has the method `_list_networks`, which returns the networks whose outputs are side by
    side.
    """

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : None
            Ignored, as in scikit-learn.

        Returns
        -------
        ndarray of str

        Raises
        ------
        ValueError
            If the network does not have the layer `transform_layer`.
        """
        check_is_fitted(self)
        self._count_features()
        return super().get_feature_names_out(input_features)

    def _count_features(self):
        networks = self._list_networks()
        for network in networks:
            check_layer("transform_layer", self.transform_layer, network.num_layers)
        return sum(network.size[1:][self.transform_layer] for network in networks)

    @property
    def _n_features_out(self):
        # The number of names that scikit-learn makes. `dir` tests whether the attribute exists.
        try:
            return self._count_features()
        except ValueError as error:
            raise AttributeError(str(error)) from error
