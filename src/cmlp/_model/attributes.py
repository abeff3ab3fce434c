"""The attributes of networks, which show their states."""

from cmlp._model.parameters import LayerViews
from cmlp._model.tasks import check_task
from cmlp._utils.validation import to_list

# Attributes that cannot be assigned to -> what to do instead.
NEW_NETWORK = "create a Network with it as argument, and assign weight and bias to that"
ITEMS = "assign to its items, the arrays of the layers"
FIXED_ATTRIBUTES = {
    **dict.fromkeys(
        ("activation", "output", "loss", "init", "dtype", "compute_dtype", "seed"), NEW_NETWORK
    ),
    **dict.fromkeys(("size", "num_layers"), "create a Network of other sizes"),
    **dict.fromkeys(("scale", "alpha", "running_mean", "running_variance"), ITEMS),
    **dict.fromkeys(("is_classifier", "score_name"), "assign to task"),
    **dict.fromkeys(("layers", "input_layers"), "create a Network with Network.from_layers"),
    "frozen": "use freeze and unfreeze",
    "state": "Network.from_state(state) returns a network with it",
}


class TaskAttributes:
    """A mixin of the networks: their sizes, and the task of their predictions."""

    __slots__ = ()

    @property
    def size(self):
        """Number of inputs, then number of units of each layer; a new list of int."""
        return list(self.state.architecture.sizes)

    @property
    def task(self):
        """The task: ``"binary"``, ``"multiclass"``, ``"multilabel"`` or ``"regression"``."""
        return self.state.task

    @task.setter
    def task(self, task):
        check_task(self.state.architecture.tasks, task)
        self.state.task = task

    @property
    def is_classifier(self):
        """Whether predictions are classes or labels."""
        return self.state.is_classifier

    @property
    def score_name(self):
        """The metric that `score` returns: ``"accuracy"`` or ``"r2"``."""
        return self.state.score_name

    def _repr_html_(self):
        # The table that notebooks show.
        from cmlp._model.html import render_network

        return render_network(type(self).__name__, self.state)


class NetworkAttributes(TaskAttributes):
    """A mixin of `Network`: its state and what follows from it.

    An assignment takes effect or raises AttributeError. The class has no ``__dict__``; a subclass
    that does not define ``__slots__`` has one, for attributes of its own.
    """

    __slots__ = (
        "__weakref__", "_has_probabilities", "_program", "activation", "compute_dtype", "dtype",
        "init", "loss", "num_layers", "output", "seed", "state",
    )  # fmt: skip

    def __setattr__(self, name, value):
        if name in FIXED_ATTRIBUTES:
            raise AttributeError(f"{name} cannot be assigned to; {FIXED_ATTRIBUTES[name]}")
        if not hasattr(self, "__dict__") and not hasattr(type(self), name):
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r}; a subclass of it may have "
                "attributes of its own"
            )
        object.__setattr__(self, name, value)

    def __getstate__(self):
        # The state, from which the attributes of this class follow, and those of a subclass.
        return {**getattr(self, "__dict__", {}), "state": self.state}

    def __setstate__(self, attributes):
        self._set_state(attributes["state"])
        # Pickles of earlier revisions have the other attributes of this class too.
        ours = {*FIXED_ATTRIBUTES, *NetworkAttributes.__slots__}
        own = {name: value for name, value in attributes.items() if name not in ours}
        if own:
            self.__dict__.update(own)

    def _set_state(self, state):
        architecture = state.architecture
        *hidden, output = (layer.activation for layer in architecture.dense)
        values = {
            "state": state,
            "num_layers": len(architecture.dense),
            "activation": tuple(activation.name for activation in hidden),
            "output": output.name,
            "loss": architecture.loss.name,
            "init": architecture.init,
            "dtype": architecture.dtype,
            "compute_dtype": architecture.compute_dtype,
            "seed": architecture.seed,
            # Copied from other objects: look-ups would slow down the prediction of one row.
            "_has_probabilities": architecture.has_probabilities,
            "_program": state.program,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _get_views(self, name):
        # Return one view for each dense layer; None for layers without such a tensor.
        parameters, statistics = self.state.parameters.views, self.state.statistics.views
        views = {tensor.number: view for views in (parameters, statistics)
                 for tensor, view in views.items() if tensor.name == name}  # fmt: skip
        return LayerViews(name, [views.get(l) for l in range(self.num_layers)])

    @property
    def weight(self):
        """The weights of each layer, (outputs, inputs): views of the parameters."""
        return self._get_views("weight")

    @weight.setter
    def weight(self, arrays):
        self.weight[:] = to_list("weight", arrays, "arrays, one for each layer")

    @property
    def bias(self):
        """The biases of each layer, (outputs, 1): views of the parameters."""
        return self._get_views("bias")

    @bias.setter
    def bias(self, arrays):
        self.bias[:] = to_list("bias", arrays, "arrays, one for each layer")

    @property
    def scale(self):
        """The scales of each normalized layer, (outputs, 1), None for other layers: views."""
        return self._get_views("scale")

    @property
    def alpha(self):
        """The factors of each parametric activation, (outputs, 1), None for other layers: views."""
        return self._get_views("alpha")

    @property
    def running_mean(self):
        """The running means of the layers with batch normalization, (outputs, 1): views."""
        return self._get_views("running_mean")

    @property
    def running_variance(self):
        """The running variances of the layers with batch normalization, (outputs, 1): views."""
        return self._get_views("running_variance")
