"""The web page that `to_html` writes: its options, its text, and its forward pass in Node.js."""

import base64
import hashlib
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import draw_parameters
from test_encoders import STACKS, make, make_data
from web_pages import NODE, WEB, read_page, run_node, run_pages

from cmlp import Network, QuantizedNetwork, activations, datasets, layers, losses
from cmlp._model.layers import LAYERS, Encoder
from cmlp.activations import ACTIVATIONS, PARAMETRIC
from cmlp.formats import html
from cmlp.layers import Dense

needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")


def make_network(name, rng, **options):
    """Return a network with this activation and values on all of its pieces."""
    with_parameter = activations.WITH_PARAMETER.get(name)
    kind = with_parameter(0.3) if with_parameter else (ACTIVATIONS | PARAMETRIC)[name]
    if name == "softmax":
        options = {"activation": "tanh", "output": kind, "loss": "cross_entropy", **options}
    else:
        output = kind if kind.base is None else "identity"
        options = {"activation": kind, "output": output, "loss": "mse", **options}
    net = Network([7, 12, 9, 4], seed=0, **options)
    return draw_parameters(net, rng)


def list_outputs(results):
    return np.array([result["outputs"] for result in results])


@needs_node
def test_javascript_computes_the_outputs(tmp_path, rng):
    cases = {name: make_network(name, rng) for name in ACTIVATIONS | PARAMETRIC}
    cases |= {
        f"{kind} normalization, {dtype}": make_network(
            "gelu", rng, normalization=kind, dtype=dtype, dropout=0.5
        )
        for kind in ("batch", "layer", ["batch", None])
        for dtype in ("float32", "float64")
    } | {f"sizes {sizes}": Network(sizes, seed=0) for sizes in ([7, 4], [7, 1], [7, 1, 1, 2])}
    X = rng.normal(size=(20, 7)).astype(np.float32) * 2
    pages = []
    for i, net in enumerate(cases.values()):
        net.to_html(tmp_path / f"{i}.html")
        pages.append((tmp_path / f"{i}.html", X))
    for (name, net), results in zip(cases.items(), run_pages(pages), strict=True):
        np.testing.assert_allclose(
            list_outputs(results), net(X), rtol=1e-5, atol=3e-6, err_msg=name
        )


@needs_node
def test_javascript_computes_the_hidden_activations(tmp_path, rng):
    net = make_network("elu", rng, normalization="layer")
    net.to_html(tmp_path / "net.html")
    X = rng.normal(size=(5, 7)).astype(np.float32)
    [results] = run_pages([(tmp_path / "net.html", X)])
    for l in range(net.num_layers):
        last = Dense(net.size[l + 1], "identity")
        part = Network.from_layers([*net.layers[: l + 1], last], inputs=7, seed=0)
        part.weight[-1][:], part.bias[-1][:] = np.eye(net.size[l + 1]), 0
        found = np.array([result["layers"][l] for result in results])
        np.testing.assert_allclose(found, part(X), rtol=1e-5, atol=3e-6)


@needs_node
def test_extreme_inputs(tmp_path, rng):
    cases = [make_network(name, rng) for name in ACTIVATIONS]
    X = np.array([[0] * 7, [1e4] * 7, [-1e4] * 7, [1e-30] * 7], np.float32)
    pages = []
    for i, net in enumerate(cases):
        net.to_html(tmp_path / f"{i}.html")
        pages.append((tmp_path / f"{i}.html", X))
    for net, results in zip(cases, run_pages(pages), strict=True):
        outputs = net(X)
        size = np.abs(outputs).max(1, keepdims=True) + 1  # large terms of a sum cancel
        error = np.abs(list_outputs(results) - outputs) / size
        assert error.max() < 1e-5, net.activation


@needs_node
def test_javascript_computes_predictions(tmp_path, rng):
    X = rng.normal(size=(12, 5)).astype(np.float32)
    names = {
        "poisson": "poisson",
        "quantiles": losses.pinball([0.1, 0.5, 0.9]),
        "quantiles in order": losses.pinball([0.1, 0.5, 0.9], non_crossing=True),
        "normal": losses.gaussian_nll(1e-3),
    }
    nets = {name: Network([5, 8, 6], activation="tanh", loss=loss, seed=1)
            for name, loss in names.items()}  # fmt: skip
    for name, net in nets.items():
        net.to_html(tmp_path / f"{name}.html")
    found = run_pages([(tmp_path / f"{name}.html", X) for name in nets])
    for (name, net), results in zip(nets.items(), found, strict=True):
        values = np.array([result["values"] for result in results])
        want = net.predict(X)
        np.testing.assert_allclose(values, want.reshape(len(X), -1), rtol=1e-5, atol=3e-6)
        if name == "normal":
            _, std = net.predict(X, return_std=True)
            found_std = np.array([result["deviations"] for result in results])
            np.testing.assert_allclose(found_std, std, rtol=1e-5, atol=3e-6)


@needs_node
def test_input_layers(tmp_path, rng):
    nets = {name: make(stack) for name, stack in STACKS.items()}
    X, _ = make_data(rng, 30, np.float32)
    pages = []
    for name, net in nets.items():
        net.to_html(tmp_path / f"{name}.html")
        pages.append((tmp_path / f"{name}.html", X))
    for (name, net), results in zip(nets.items(), run_pages(pages), strict=True):
        np.testing.assert_allclose(
            list_outputs(results), net(X), rtol=3e-5, atol=1e-5, err_msg=name
        )


@needs_node
@pytest.mark.parametrize("normalization", [None, "layer"])
def test_quantized_networks(tmp_path, rng, normalization):
    X = rng.normal(size=(60, 7)).astype(np.float32)
    for name in ("relu", "leaky_relu", "hard_tanh", "tanh"):
        small = make_network(name, rng, normalization=normalization).quantize(X)
        path = tmp_path / f"{name}.html"
        small.to_html(path)
        [results] = run_pages([(path, X)])
        difference = np.abs(list_outputs(results) - small(X))
        # Where exp is computed, a number next to a half may become another integer.
        assert (difference.max(axis=1) < 1e-5).mean() >= (1 if name != "tanh" and not normalization
                                                          else 0.9)  # fmt: skip


@needs_node
def test_8_bit_weights(tmp_path, digits):
    (X, y), (X_test, y_test) = digits
    net = Network([784, 32, 10], activation="relu", loss="cross_entropy", seed=0)
    net.fit(X[:10_000], y[:10_000], epochs=2)
    X_test, y_test = X_test[:300].reshape(300, 784), y_test[:300]
    paths = [tmp_path / f"{weights}.html" for weights in ("float32", "int8")]
    for path in paths:
        net.to_html(path, weights=path.stem)
    plain, small = (list_outputs(each) for each in run_pages([(p, X_test / 255) for p in paths]))
    np.testing.assert_allclose(plain, net.predict_proba(X_test), atol=1e-5)
    assert (small.argmax(1) == plain.argmax(1)).mean() > 0.98
    arrays = sum(parameter.size for parameter in net.weight)
    assert paths[1].stat().st_size < paths[0].stat().st_size - 2.9 * arrays


# Runs a model for each of some inputs; writes the names and the messages of the errors.
REFUSE = """
const { page, arrays } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const model = new Model(page, (i) => arrays[i]);
const found = [[1, 2], [], "1,2,3", undefined, { numbers: [] }, [1, NaN, 3], [1, 2, 1e39],
               [1, 2, -Infinity], [1, "2", 3], new Float32Array(4), [1, 2, 3]].map((inputs) => {
  try {
    return [null, model.run(inputs).values.length];
  } catch (error) {
    return [error.name, error.message];
  }
});
console.log(JSON.stringify(found));
"""


@needs_node
def test_javascript_refuses_other_inputs(tmp_path):
    Network([3, 2], loss="cross_entropy", seed=0).to_html(tmp_path / "net.html")
    page, arrays = read_page(tmp_path / "net.html")
    assert run_node(REFUSE, {"page": page, "arrays": arrays}, "network.js") == [
        ["RangeError", "inputs must have 3 numbers; got 2"],
        ["RangeError", "inputs must have 3 numbers; got 0"],
        ["TypeError", "inputs must be an array of 3 numbers; got string"],
        ["TypeError", "inputs must be an array of 3 numbers; got undefined"],
        ["TypeError", "inputs must be an array of 3 numbers; got object"],
        ["RangeError", "inputs[1] must be finite in float32; got NaN"],
        ["RangeError", "inputs[2] must be finite in float32; got 1e+39"],
        ["RangeError", "inputs[2] must be finite in float32; got -Infinity"],
        ["TypeError", "inputs[1] must be a number; got string"],
        ["RangeError", "inputs must have 3 numbers; got 4"],
        [None, 2],
    ]
    page |= {"encoding": {"medians": [0, 0]}}  # of a model for tables, which must get an object
    found = run_node(REFUSE, {"page": page, "arrays": arrays}, "network.js")
    missing = ["TypeError", "inputs.numbers must be an array of 2 numbers; got undefined"]
    wrong = ["RangeError", "inputs.numbers must have 2 numbers; got 0"]
    assert found == [missing] * 4 + [wrong] + [missing] * 6


@needs_node
def test_drawings_become_images_like_those_of_mnist():
    program = """
    const { ink, side, options } = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const found = toPixels(Float32Array.from(ink), side, side, options);
    console.log(JSON.stringify(found && Array.from(found)));
    """

    def convert(image, **options):
        options = {"width": 28, "height": 28, "center": True, **options}
        data = {"ink": image.ravel().tolist(), "side": len(image), "options": options}
        found = run_node(program, data, "image.js")
        return found and np.reshape(found, (options["height"], options["width"]))

    image = np.zeros((140, 140))
    assert convert(image) is None
    image[10:60, 100:110] = 1  # a bar of 50 x 10 pixels: 20 x 4 of 28
    found = convert(image)
    assert found.sum() == pytest.approx(80, rel=1e-5)
    grid = np.arange(28) + 0.5
    center = (found.sum(1) @ grid / found.sum(), found.sum(0) @ grid / found.sum())
    assert center == pytest.approx((14.5, 14.5), abs=1e-4)
    rows, columns = np.nonzero(found > 0.01)
    assert np.ptp(rows) + 1 in (20, 21)
    assert np.ptp(columns) + 1 in (4, 5)
    found = convert(image, center=False)
    want = image.reshape(28, 5, 28, 5).mean((1, 3))
    np.testing.assert_allclose(found, want, atol=1e-6)
    found = convert(image, width=14, height=56)
    assert found.sum(1).nonzero()[0].size in (40, 41)


@needs_node
def test_digits_of_mnist_remain_what_they_are(digits):
    program = """
    const images = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const options = { width: 28, height: 28, center: true };
    const found = images.map((ink) => toPixels(Float32Array.from(ink), 28, 28, options));
    console.log(JSON.stringify(found.map((image) => Array.from(image))));
    """
    images = digits[1][0][:20].reshape(20, 784) / 255
    found = np.array(run_node(program, images.tolist(), "image.js"))
    if datasets.mnist.find(datasets.mnist.MNIST, None):  # generated digits have other sizes
        assert np.abs(found - images).mean() < 0.05


def test_the_table_of_activations_is_complete():
    text = (WEB / "network.js").read_text()
    table = re.search(r"const ACTIVATIONS = \{\n(.*?)\n\};", text, re.DOTALL)[1]
    assert set(re.findall(r"^  (\w+):", table, re.MULTILINE)) == set(ACTIVATIONS)


def test_the_table_of_layers_is_complete():
    text = (WEB / "network.js").read_text()
    table = re.search(r"const LAYERS = \{\n(.*?)\n\};", text, re.DOTALL)[1]
    encoders = {kind for kind, layer in LAYERS.items() if issubclass(layer, Encoder)}
    assert set(re.findall(r"^  (\w+)[:(]", table, re.MULTILINE)) == {
        "dense",
        "quantized",
        *encoders,
    }


class PageParser(HTMLParser):
    """Collects the tags, and the text of elements without tags in it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.stack = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.stack.append(tag)

    def handle_data(self, data):
        self.texts.setdefault(self.stack[-1] if self.stack else "", []).append(data)


HOSTILE = '</script><b onload="alert(1)">&amp;<!-- \u2028 {{model}} "\'\\'


def test_texts_of_the_user_are_escaped(tmp_path):
    path = tmp_path / "net.html"
    labels, names = [HOSTILE, "<script>", "c"], [HOSTILE, "b", "\0", "x" * 1000]
    Network([4, 3], loss="cross_entropy", seed=0).to_html(
        path, kind="table", labels=labels, names=names, title=HOSTILE
    )
    page = PageParser(path.read_text("utf-8"))
    tags = [tag for tag, _ in page.tags]
    assert "b" not in tags
    assert tags.count("script") == 1 + 1 + 2  # weights, biases, model, program
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert "".join(page.texts["title"]).startswith("</script><b onload=")
    description, _ = read_page(path)
    assert description["labels"] == labels
    assert [control["name"] for control in description["inputs"]] == names


def test_the_page_forbids_connections_and_foreign_scripts(tmp_path):
    path = tmp_path / "net.html"
    Network([64, 3], loss="cross_entropy", seed=0).to_html(path)
    text = path.read_text("utf-8")
    [policy] = [attributes["content"] for tag, attributes in PageParser(text).tags
                if attributes.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives[directive] == f"'sha256-{digest}'"
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_the_kind_follows_from_options_and_inputs(tmp_path):
    def find_kind(inputs, **options):
        Network([inputs, 2], seed=0).to_html(tmp_path / "net.html", **options)
        return read_page(tmp_path / "net.html")[0]["kind"]

    assert find_kind(784) == "image"
    assert find_kind(65) == "table"
    assert find_kind(49) == "table"
    assert find_kind(784, names=range(784)) == "table"
    assert find_kind(48, shape=(6, 8)) == "image"
    assert find_kind(49, center=False) == "image"
    assert find_kind(784, kind="table") == "table"
    net = Network([64, 2], seed=0)
    net.state.training = {"columns": [f"c{i}" for i in range(64)]}
    net.to_html(tmp_path / "net.html")
    assert read_page(tmp_path / "net.html")[0]["kind"] == "table"


def test_ranges_of_stored_columns(tmp_path):
    net = Network([4, 2], seed=0)
    net.state.training = {
        "columns": ["a", "b", "c", "d"], "columns_minimum": [0, 5.0, 1e300, -1.7e308],
        "columns_maximum": [10, 5.0, 1e300, 1.7e308], "columns_mean": [2.04, 5.0, 1e300, 0.0],
    }  # fmt: skip
    net.to_html(tmp_path / "net.html")
    found = read_page(tmp_path / "net.html")[0]["inputs"]
    assert [(c["low"], c["high"], c["value"]) for c in found] == [
        (0, 10, 2.05), (4, 6, 5), (-3, 3, 0), (-1, 1, 0),
    ]  # fmt: skip
    net.state.training = {"columns": ["a"], "columns_minimum": "x"}  # of a file by someone else
    net.to_html(tmp_path / "net.html")
    assert read_page(tmp_path / "net.html")[0]["inputs"][0]["name"] == "x0"


def test_controls_of_tables(tmp_path):
    path = tmp_path / "net.html"
    net = Network([4, 3], loss="mse", seed=0, input_layers=[layers.OneHot([2], [3])])
    net.to_html(
        path, names=["age", "height", "color", "x"], ranges={"age": (18, 90), "x": (0, 1e-3)},
        values={"age": 40, "color": "green"}, categories={"color": ["red", "green", "blue"]},
    )  # fmt: skip
    age, height, color, x = read_page(path)[0]["inputs"]
    assert age == {"name": "age", "low": 18, "high": 90, "step": 0.5, "value": 40}
    assert height == {"name": "height", "low": -3, "high": 3, "step": 0.05, "value": 0}
    assert color == {"name": "color", "options": ["red", "green", "blue"], "value": 2}
    assert (x["high"], x["value"]) == (1e-3, 0)
    net.to_html(path, ranges=(5, 6))
    found = read_page(path)[0]["inputs"]
    assert [each.get("value") for each in found] == [5.5, 5.5, 1, 5.5]
    assert found[2]["options"] == ["1", "2", "3"]
    net.to_html(path, values={"x0": 50, "x1": -2, "x3": 1e308})
    assert [(each.get("low"), each.get("high")) for each in read_page(path)[0]["inputs"]] == [
        (-3, 100), (-3, 3), (None, None), (-3, 3),
    ]  # fmt: skip
    net.to_html(path, ranges=[(0, 1)] * 4, values=[0.5, 0.25, 3, 1.5])
    assert [each["value"] for each in read_page(path)[0]["inputs"]] == [0.5, 0.25, 3, 1.5]
    with pytest.raises(ValueError, match="ranges must not name inputs that hold codes; got 'x2'"):
        net.to_html(path, ranges={"x2": (0, 1)})
    with pytest.raises(ValueError, match=r"categories\['x2'\] must be different; got 'a' twice"):
        net.to_html(path, categories={"x2": ["a", "b", "a"]})


def test_the_message_on_an_unknown_name_is_short(tmp_path):
    net = Network([784, 3], loss="cross_entropy", seed=0)
    names = [f"pixel {i}" for i in range(784)]
    with pytest.raises(ValueError, match="got 'pixl 700'") as error:
        net.to_html(tmp_path / "net.html", names=names, ranges={"pixl 700": (0, 1)})
    assert "(did you mean 'pixel 700'?)" in str(error.value)
    assert str(error.value).endswith("the inputs are " + ", ".join(names[:8]) + " and 776 others")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "picture"}, "kind must be one of image, table; got 'picture'"),
        ({"shape": (4, 4)}, r"shape must multiply to 12, the number of inputs; got \(4, 4\), 16"),
        ({"shape": (3, 4, 1)}, "shape must be two integers"),
        ({"kind": "image"}, r"shape must be given, \(height, width\), for 12 inputs"),
        ({"shape": (0, 12)}, "shape must be at least 1; got 0"),
        ({"labels": ["a", "b"]}, "labels must have 3 items, one for each class; got 2"),
        ({"labels": ["a", "b", "a"]}, "labels must be different; got 'a' twice"),
        ({"names": ["a"]}, "names must have 12 items, one for each input; got 1"),
        ({"names": ["a"] * 12}, "names must be different; got 'a' twice"),
        ({"names": ["\ud800", *range(11)]}, "names must be valid Unicode"),
        ({"ranges": {"y": (0, 1)}}, "ranges must have names of inputs as keys; got 'y'"),
        ({"ranges": [(0, 1)]}, "ranges must have 12 items, one for each input; got 1"),
        ({"ranges": (0, 5e-324)}, r"with a finite high - low of at least 1e-300; got \(0, 5e-324"),
        ({"ranges": (-1e308, 1e308)}, r"ranges\['x0'\] must be .* with a finite high - low of"),
        ({"ranges": (1, 0)}, r"ranges\['x0'\] must be \(low, high\) with low < high"),
        ({"ranges": (0, 1, 2)}, r"ranges\['x0'\] must be two numbers, low and high"),
        ({"ranges": (0, np.inf)}, r"ranges\['x0'\] must be finite; got inf"),
        ({"values": {"x1": np.nan}}, r"values\['x1'\] must be finite; got nan"),
        ({"categories": {"x1": ["a"]}}, "categories must be given for inputs that hold codes only"),
        ({"shape": (3, 4), "names": ["a"] * 12}, "names must be None for kind='image'"),
        ({"kind": "table", "pixels": (0, 1)}, "pixels must be None for kind='table'"),
        ({"shape": (3, 4), "pixels": (1, 1)}, "pixels must be two different numbers"),
        ({"shape": (3, 4), "pixels": (1,)}, "pixels must be two numbers"),
        ({"shape": (3, 4), "pixels": (0, np.inf)}, "pixels must be finite; got inf"),
        ({"shape": (3, 4), "pixels": (0, 1e39)}, r"pixels must be from -1e\+38 to 1e\+38"),
        ({"weights": "int4"}, "weights must be one of float32, int8; got 'int4'"),
        ({"title": "\ud800"}, "title must be valid Unicode"),
    ],
)  # fmt: skip
def test_bad_values_are_refused(tmp_path, options, message):
    net = Network([12, 3], loss="cross_entropy", seed=0)
    with pytest.raises(ValueError, match=message):
        net.to_html(tmp_path / "net.html", **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "abc"}, "labels must be a sequence of names; got 'abc'"),
        ({"labels": [1.5, 2, 3]}, "labels must be text or whole numbers; got 1.5"),
        ({"shape": 12}, "shape must be a sequence of two integers"),
        ({"shape": (3.0, 4)}, "shape must be a whole number; got 3.0"),
        ({"title": 3}, "title must be a str; got 3"),
        ({"shape": (3, 4), "center": "yes"}, "center must be True or False; got 'yes'"),
        ({"kind": 3}, "kind must be a name; got 3"),
    ],
)
def test_bad_types_are_refused(tmp_path, options, message):
    net = Network([12, 3], loss="cross_entropy", seed=0)
    with pytest.raises(TypeError, match=message):
        net.to_html(tmp_path / "net.html", **options)
    assert os.listdir(tmp_path) == []


def test_bad_files_and_parameters_are_refused(tmp_path, monkeypatch):
    net = Network([4, 3], seed=0)
    with pytest.raises(ValueError, match=r"path must end in \.html; got"):
        net.to_html(tmp_path / "net.txt")
    with pytest.raises(FileNotFoundError, match="path must be in an existing directory"):
        net.to_html(tmp_path / "nowhere" / "net.html")
    monkeypatch.setattr(html, "MAX_BASE64", 40)
    with pytest.raises(ValueError, match=r"at most 30 bytes each.*weights='int8'"):
        net.to_html(tmp_path / "net.html")
    net.to_html(tmp_path / "net.html", weights="int8")
    (tmp_path / "net.html").unlink()
    monkeypatch.undo()
    net.bias[0][1] = np.nan
    with pytest.raises(ValueError, match=r"bias\[0\] must be finite"):
        net.to_html(tmp_path / "net.html")
    assert os.listdir(tmp_path) == []


def test_labels_by_task(tmp_path, rng):
    path = tmp_path / "net.html"

    def list_labels(net, **options):
        net.to_html(path, **options)
        return read_page(path)[0]["labels"]

    binary = Network([3, 1], loss="binary_cross_entropy", seed=0)
    assert list_labels(binary) == ["0", "1"]
    assert list_labels(binary, labels=["no", "yes"]) == ["no", "yes"]
    with pytest.raises(ValueError, match="labels must have 2 items, one for each class; got 1"):
        list_labels(binary, labels=["yes"])
    normal = Network([3, 4], loss="gaussian_nll", seed=0)
    assert list_labels(normal) == ["output 0", "output 1"]
    quantiles = Network([3, 3], loss=losses.pinball([0.1, 0.5, 0.9]), seed=0)
    assert list_labels(quantiles, labels=["price"]) == ["price"]
    labels = Network([3, 2], loss="binary_cross_entropy", seed=0)
    X = rng.normal(size=(20, 3))
    labels.fit(X, X[:, :2] > 0, epochs=1)
    with pytest.raises(ValueError, match="labels must have 2 items, one for each label; got 3"):
        list_labels(labels, labels=["a", "b", "c"])
    assert read_page(path)[0]["labels"] == ["price"]
    small = labels.quantize(X)
    assert isinstance(small, QuantizedNetwork)
    assert list_labels(small, labels=["a", "b"]) == ["a", "b"]
