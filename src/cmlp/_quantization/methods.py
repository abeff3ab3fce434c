"""`QuantizationMethods`: the method of `Network` that quantizes it."""


class QuantizationMethods:
    """A mixin of `Network`: it uses the attribute `state`."""

    __slots__ = ()

    def quantize(self, X, *, method="percentile", percentile=99.99):
        """Return a network of 8-bit integers that only predicts.

        Weights and activations become 8-bit integers whose products are summed exactly: the weights
        with one scale for each unit, the inputs of each layer with one scale and zero point
        (Jacob et al., "Quantization and training of neural networks for efficient
        integer-arithmetic-only inference", CVPR 2018, section 2). Batch normalization is folded
        into the weights; layer normalization, activations that are not piecewise linear and the
        outputs are computed in float32. The network itself, float32 or float64, does not change.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `fit`: samples like those to predict, for example a few hundred of the training
            data. The ranges of all layers' inputs follow from them; numbers beyond are clipped. For
            uint8 samples the integers of the first layer's inputs are the samples.
        method : {"percentile", "minmax", "mse"}, default "percentile"
            How a range follows from the numbers that X leads to: between two percentiles, all
            numbers, or the range whose integers have the least mean squared error.
        percentile : float, default 99.99
            For ``"percentile"``: above 50, and at most 100. The lower end, if there are negative
            numbers, is the percentile 100 minus it.

        Returns
        -------
        QuantizedNetwork

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, X is empty or not finite, a parameter is not finite in
            float32, or a layer has more than 65,536 inputs.

        Examples
        --------
        >>> from cmlp import Adam, Network, datasets
        >>> X, y = datasets.make_digits(2000, seed=0)
        >>> net = Network([784, 64, 10], activation="relu", loss="cross_entropy", seed=0)
        >>> history = net.fit(X, y, epochs=3, optimizer=Adam())
        >>> small = net.quantize(X[:500])
        >>> bool(abs(small.score(X, y) - net.score(X, y)) < 0.01)
        True
        """
        from cmlp.quantized import QuantizedNetwork

        return QuantizedNetwork(self._quantize_state(X, "X", method, percentile))

    def _quantize_state(self, X, name, method="percentile", percentile=99.99):
        # Return the `QuantizedState`; error messages call the samples `name`.
        from cmlp._quantization.calibration import quantize_state

        return quantize_state(self.state, X, method, percentile, name)
