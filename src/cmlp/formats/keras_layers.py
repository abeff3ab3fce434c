"""Keras layers for the activations that Keras itself does not have.

They are registered in the package ``"cmlp"``: `keras.saving.load_model` reads them after this
module has been imported.
"""

import keras


@keras.saving.register_keras_serializable("cmlp")
class GeluTanh(keras.layers.Layer):
    """The tanh approximation of gelu."""

    def call(self, z):
        """Return the activations of the pre-activations z."""
        return keras.activations.gelu(z, approximate=True)

    def compute_output_shape(self, input_shape):
        """Return the shape of the inputs."""
        return input_shape


@keras.saving.register_keras_serializable("cmlp")
class CELU(keras.layers.Layer):
    """The activation celu.

    Parameters
    ----------
    alpha : float
    **options
        Of a layer.
    """

    def __init__(self, alpha=1.0, **options):
        super().__init__(**options)
        self.alpha = alpha

    def call(self, z):
        """Return the activations of the pre-activations z."""
        return keras.activations.celu(z, self.alpha)

    def compute_output_shape(self, input_shape):
        """Return the shape of the inputs."""
        return input_shape

    def get_config(self):
        """Return the arguments as a dict."""
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable("cmlp")
class Parametric(keras.layers.Layer):
    """The activation z + alpha (f(z) - z); see `cmlp.activations.parametric`.

    Parameters
    ----------
    f : keras.layers.Layer
    **options
        Of a layer.
    """

    def __init__(self, f, **options):
        super().__init__(**options)
        self.f = f

    def build(self, input_shape):
        """Create the factors, one for each unit."""
        self.alpha = self.add_weight(shape=input_shape[1:], name="alpha", initializer="zeros")

    def call(self, z):
        """Return the activations of the pre-activations z, shape (n, units)."""
        return z + self.alpha * (self.f(z) - z)

    def compute_output_shape(self, input_shape):
        """Return the shape of the inputs."""
        return input_shape

    def get_config(self):
        """Return the arguments as a dict."""
        return {**super().get_config(), "f": keras.saving.serialize_keras_object(self.f)}

    @classmethod
    def from_config(cls, config):
        """Return the layer of a dict of arguments."""
        config = dict(config)
        return cls(keras.saving.deserialize_keras_object(config.pop("f")), **config)
