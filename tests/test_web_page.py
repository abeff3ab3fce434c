"""The web page that `to_html` writes, in headless Chromium: drawing, keys, contrast, privacy."""

import base64
import functools
import http.server
import io
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

from cmlp import Network, layers
from cmlp.datasets.digits import SKELETONS, make_spline_basis, transform

webdriver = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.actions.action_builder import ActionBuilder  # noqa: E402
from selenium.webdriver.common.actions.pointer_input import PointerInput  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip
CHROMEDRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="Chromium or chromedriver is not installed"
)

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Return a driver of headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(CHROMEDRIVER)
    chromium = webdriver.Chrome(options=options, service=service)
    yield chromium
    chromium.quit()


@pytest.fixture
def browser(driver):
    """Return the driver with a new, wide window."""
    set_screen(driver, 1280, 1000)
    driver.get("about:blank")
    driver.get_log("browser")
    return driver


def set_screen(browser, width, height, scheme="light", motion="no-preference"):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500,
    })  # fmt: skip
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": motion},
    ]})  # fmt: skip


@pytest.fixture(scope="module")
def digit_network(digits):
    """Return a network for handwritten digits."""
    X, y = digits[0]
    net = Network(
        [784, 128, 10], activation="relu", loss="cross_entropy", input_dropout=0.2, seed=0
    )
    net.fit(X, y, epochs=6, batch_size=64)
    return net


@pytest.fixture(scope="module")
def digit_page(digit_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "digits.html"
    digit_network.to_html(path, shape=(28, 28))
    return path


@pytest.fixture(scope="module")
def table_network():
    net = Network([4, 6, 3], activation="tanh", loss="cross_entropy", seed=0,
                  input_layers=[layers.OneHot([2], [3])])  # fmt: skip
    for bias in net.bias:
        bias[:] = np.linspace(-1, 1, bias.size)[:, None]
    return net


LONG = "a name that is as long as a whole sentence, and_one_word_" + "of_many_letters" * 4
HOSTILE = "</script><b id=hostile>&amp;<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def table_page(table_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "table.html"
    table_network.to_html(
        path, kind="table", names=["age", LONG, "color", HOSTILE], labels=["yes", LONG, HOSTILE],
        ranges={"age": (0, 100)}, values={"age": 20}, title=HOSTILE,
        categories={"color": ["red", HOSTILE, "blue"]},
    )  # fmt: skip
    return path


def open_page(browser, path):
    browser.get(path.as_uri())


def make_strokes(digit, rng):
    """Return the strokes of a digit in the unit square, a list of ndarray (12, 2)."""
    strokes = SKELETONS[digit][rng.integers(len(SKELETONS[digit]))]
    points = [make_spline_basis(len(stroke), 12) @ (np.array(stroke) + rng.normal(0, 0.04,
              (len(stroke), 2))) for stroke in strokes]  # fmt: skip
    moved = transform(np.concatenate(points)[None] - 0.5, rng)[0] / 28
    return np.split(moved.clip(0.02, 0.98), len(strokes))


# Draws strokes by pointer events and returns the outputs and the network's inputs.
DRAW = """
const canvas = document.getElementById("drawing");
canvas.setPointerCapture = () => {}; // the events have no pointer to capture
document.getElementById("clear").click();
const box = canvas.getBoundingClientRect();
const send = (type, [x, y]) => canvas.dispatchEvent(new PointerEvent(type, {
  pointerId: 1, isPrimary: true, pointerType: "pen", button: type === "pointermove" ? -1 : 0,
  buttons: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true,
}));
for (const stroke of arguments[0]) {
  send("pointerdown", stroke[0]);
  for (const point of stroke.slice(1)) send("pointermove", point);
  send("pointerup", stroke.at(-1));
}
cmlp.update(); // instead of waiting for the next frame
return [Array.from(cmlp.result.outputs), Array.from(cmlp.inputs)];
"""


def test_digits_that_are_drawn_are_recognized(browser, digit_page, digit_network):
    open_page(browser, digit_page)
    rng, inputs, outputs = np.random.default_rng(0), [], []
    for k in range(100):
        scale, shift = (0.3, 0.05) if k % 2 else (1, 0)  # small ones in the corner
        strokes = [(shift + scale * stroke).tolist() for stroke in make_strokes(k % 10, rng)]
        found = browser.execute_script(DRAW, strokes)
        outputs.append(found[0])
        inputs.append(found[1])
    assert (np.argmax(outputs, 1) == np.arange(100) % 10).sum() >= 95
    want = digit_network.predict_proba(np.array(inputs, np.float32))
    np.testing.assert_allclose(outputs, want, atol=1e-5)


def read_result(browser):
    return browser.execute_script("return Array.from(cmlp.result.outputs)")


@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_drawing_with_real_input(browser, digit_page, kind):
    open_page(browser, digit_page)
    box = browser.find_element("id", "drawing").rect
    actions = ActionBuilder(browser, mouse=PointerInput(kind, kind), duration=0)
    rng = np.random.default_rng(1)
    for stroke in make_strokes(3, rng):
        points = [(round(box["x"] + x * box["width"]), round(box["y"] + y * box["height"]))
                  for x, y in stroke]  # fmt: skip
        actions.pointer_action.move_to_location(*points[0]).pointer_down()
        for point in points[1:]:
            actions.pointer_action.move_to_location(*point)
        actions.pointer_action.pointer_up()
    actions.perform()
    wait_for(lambda: np.argmax(read_result(browser) or [0]) == 3)
    if kind == "touch":  # a finger has no buttons
        return
    # The right button, and a mouse or a pen that is up, draw nothing.
    read_inputs = "cmlp.update(); return Array.from(cmlp.inputs)"
    before = browser.execute_script(read_inputs)
    actions = ActionBuilder(browser, mouse=PointerInput(kind, kind), duration=0)
    actions.pointer_action.move_to_location(round(box["x"]) + 20, round(box["y"]) + 20)
    actions.pointer_action.pointer_down(button=2).pointer_up(button=2)
    actions.perform()
    assert browser.execute_script(read_inputs) == before


def wait_for(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the page has not reacted"
        time.sleep(0.02)


# Gives images, PNG in base64, to the page by its file control; returns the outputs.
LOAD = """
const [images, done] = arguments;
const input = document.getElementById("file");
(async () => {
  const found = [];
  for (const image of images) {
    const bytes = Uint8Array.from(atob(image), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "digit.png", { type: "image/png" }));
    cmlp.result = null;
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    while (!cmlp.result) await new Promise((resolve) => setTimeout(resolve));
    found.push(Array.from(cmlp.result.outputs));
  }
  done(found);
})();
"""


def to_png(image):
    """Return an image of uint8 as PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def load_image(browser, path, image):
    """Give an image to the page by its file control; return the outputs."""
    image.save(path)
    browser.execute_script("cmlp.result = null")
    browser.find_element("id", "file").send_keys(str(path))
    wait_for(lambda: browser.execute_script("return cmlp.result !== null"))
    return read_result(browser)


def test_images_of_digits_are_recognized(browser, digit_page, digits, tmp_path):
    images, labels = digits[1]
    images = images[:100].reshape(-1, 28, 28)
    open_page(browser, digit_page)
    outputs = browser.execute_async_script(LOAD, list(map(to_png, images)))
    assert (np.argmax(outputs, 1) == labels[:100]).sum() >= 95
    # Without centering, the network reads the very pixels.
    browser.find_element("css selector", ".check").click()
    load_image(browser, tmp_path / "digit.png", Image.fromarray(images[0]))
    inputs = browser.execute_script("return Array.from(cmlp.inputs)")
    np.testing.assert_allclose(inputs, images[0].ravel() / 255, atol=1e-6)


def test_other_images(browser, digit_page, digits, tmp_path):
    open_page(browser, digit_page)
    image, label = digits[1][0][0].reshape(28, 28), digits[1][1][0]
    paper = np.round(200 - 150 * (image / 255.0)).astype(np.uint8)  # dark ink on gray paper
    large = Image.fromarray(paper).resize((900, 900), Image.Resampling.BICUBIC)
    page = Image.new("RGB", (1400, 1000), (200, 200, 200))
    page.paste(large, (100, 40))
    assert np.argmax(load_image(browser, tmp_path / "photo.jpg", page)) == label
    clear = Image.new("RGBA", (28, 28))
    clear.putalpha(Image.fromarray(image))  # black on a transparent background
    assert np.argmax(load_image(browser, tmp_path / "clear.png", clear)) == label
    text = tmp_path / "text.png"
    text.write_bytes(b"no picture")
    browser.find_element("id", "file").send_keys(str(text))
    message = browser.find_element("id", "message")
    wait_for(lambda: "text.png is not a picture" in message.text)
    answer = browser.find_element("id", "answer")
    assert answer.text == "Nothing is drawn yet"  # not the result of the image before
    assert browser.execute_script("return [cmlp.result, cmlp.inputs]") == [None, None]
    browser.find_element("id", "clear").click()
    assert message.text == ""
    for color in (0, 128, 255):
        Image.new("L", (40, 40), color).save(tmp_path / "plain.png")
        browser.find_element("id", "file").send_keys(str(tmp_path / "plain.png"))
        wait_for(lambda: answer.text == "No ink was found in the image")
        browser.find_element("id", "clear").click()
        assert answer.text == "Nothing is drawn yet"


@pytest.mark.parametrize("center", [True, False])
def test_a_dot(browser, digit_page, center):
    open_page(browser, digit_page)
    if not center:
        browser.find_element("css selector", ".check").click()
    drawing = browser.find_element("id", "drawing")
    read_ink = "return cmlp.inputs && Array.from(cmlp.inputs).reduce((a, b) => a + b)"
    for draw in (lambda: webdriver.ActionChains(browser).click(drawing).perform(),
                 lambda: drawing.send_keys("  ")):  # fmt: skip
        draw()
        wait_for(lambda: browser.execute_script(read_ink))
        browser.find_element("id", "clear").click()
        assert browser.execute_script("return [cmlp.result, cmlp.inputs]") == [None, None]


def test_drawing_by_keys(browser, digit_page):
    open_page(browser, digit_page)
    focus = "return document.activeElement.id"
    order = []
    for _ in range(4):
        press(browser, Keys.TAB)
        order.append(browser.execute_script(focus))
    assert order == ["drawing", "clear", "file", "center"]
    for _ in range(3):
        chain = webdriver.ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.TAB)
        chain.key_up(Keys.SHIFT).perform()
    cursor = browser.find_element("id", "cursor")
    assert cursor.is_displayed()
    press(browser, Keys.ARROW_UP * 8)
    assert browser.find_element("id", "hint").is_displayed()  # the pen is up
    press(browser, " " + Keys.ARROW_DOWN * 16 + " " + Keys.ARROW_RIGHT * 3)
    wait_for(lambda: browser.execute_script("return Boolean(cmlp.result)"))
    assert np.argmax(read_result(browser)) == 1
    status = browser.find_element("id", "status")
    wait_for(lambda: status.get_attribute("textContent").startswith("1, "))
    assert browser.find_element("id", "pen").get_attribute("textContent") == "The pen is up."
    press(browser, Keys.DELETE)
    wait_for(lambda: status.get_attribute("textContent") == "Nothing is drawn yet.")
    press(browser, Keys.TAB)
    assert not cursor.is_displayed()


def press(browser, keys):
    webdriver.ActionChains(browser).send_keys(keys).perform()


@pytest.fixture(params=["image", "table"])
def any_page(request, digit_page, table_page):
    return digit_page if request.param == "image" else table_page


def test_the_page_connects_to_nothing(browser, any_page):
    open_page(browser, any_page)
    assert browser.execute_script("return performance.getEntriesByType('resource')") == []
    assert browser.get_log("browser") == []
    blocked = browser.execute_async_script("""
        const done = arguments[0];
        document.addEventListener("securitypolicyviolation",
                                  (event) => done(event.effectiveDirective));
        fetch("http://127.0.0.1:9/").catch(() => {});
        setTimeout(() => done("nothing"), 2000);
    """)
    assert blocked == "connect-src"


@pytest.mark.parametrize("width", [320, 360, 390, 800, 1280])
def test_the_page_fits_the_screen(browser, any_page, width):
    set_screen(browser, width, 740)
    open_page(browser, any_page)
    if any_page.name == "digits.html":
        browser.execute_script(DRAW, [[[0.5, 0.2], [0.5, 0.8]]])
    widths = "return [document.documentElement.scrollWidth, innerWidth]"
    scroll, inner = browser.execute_script(widths)
    assert scroll <= inner == width
    heights = browser.execute_script("""
        const controls = "button, .button, .check, select, .input input";
        return [...document.querySelectorAll(controls)].map((e) => e.getBoundingClientRect().height)
    """)
    assert len(heights) >= 3
    assert min(heights) >= 44


# Returns the least contrast of the texts, as WCAG 2.1 defines it, with the text that has it.
CONTRAST = """
const parse = (color) => color.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map((value) => {
  const s = value / 255;
  return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
}).reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
const background = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const color = parse(getComputedStyle(e).backgroundColor);
    if (color.length < 4 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const found = [];
for (const element of document.body.querySelectorAll("*")) {
  const text = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
  const isField = element.matches("input[type=number], select");
  if (!text.length && !isField) continue;
  if (element.matches("script, noscript, noscript *, option")) continue;
  const style = getComputedStyle(element);
  const colors = [[style.color, 4.5]];
  if (isField) colors.push([style.borderTopColor, 3]);
  for (const [color, least] of colors) {
    const [a, b] = [luminance(parse(color)), luminance(background(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio / least, element.tagName + " " + element.id + " " + element.className]);
  }
}
return found.sort((a, b) => a[0] - b[0]);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser, any_page, scheme):
    set_screen(browser, 1280, 1000, scheme)
    open_page(browser, any_page)
    found = browser.execute_script(CONTRAST)
    assert len(found) > 15
    assert found[0][0] >= 1, found[0]


def test_maps_and_motion_follow_the_preferences(browser, digit_page):
    open_page(browser, digit_page)
    browser.execute_script(DRAW, [[[0.5, 0.2], [0.5, 0.8]]])
    read = """
        const map = document.querySelector("figure canvas");
        return [...map.getContext("2d").getImageData(0, 0, 1, 1).data,
                getComputedStyle(document.querySelector(".bar")).transitionDuration];
    """
    *light, moving = browser.execute_script(read)
    set_screen(browser, 1280, 1000, "dark", "reduce")
    wait_for(lambda: browser.execute_script(read)[0] != light[0])
    *dark, still = browser.execute_script(read)
    assert min(light) > 200 > 80 > max(dark[:3])
    assert (moving, still) == ("0.12s, 0.12s", "0s")
    captions = [e.text for e in browser.find_elements("css selector", "figcaption b")]
    assert captions == ["Input", "Hidden layer 1"]
    maps = browser.find_elements("css selector", "figure canvas")
    assert [int(m.get_attribute("width")) for m in maps] == [28, 16]
    assert all(m.get_attribute("aria-label") for m in maps)


def test_images_of_other_shapes(browser, tmp_path):
    net = Network([56 * 14, 5, 3], loss="cross_entropy", seed=0)
    for shape in ((56, 14), (14, 56)):
        net.to_html(tmp_path / "net.html", shape=shape, pixels=(1, -1))
        open_page(browser, tmp_path / "net.html")
        outputs, inputs = browser.execute_script(DRAW, [[[0.2, 0.2], [0.8, 0.8]]])
        np.testing.assert_allclose(outputs, net.predict_proba(np.array([inputs]))[0], atol=1e-6)
        rows, columns = np.nonzero(np.reshape(inputs, shape) < 0.9)
        assert np.ptp(rows) + 1 <= 0.8 * shape[0]
        assert np.ptp(columns) + 1 <= 0.8 * shape[1] + 1
        assert min(inputs) < -0.5
        assert max(inputs) == 1
        box = browser.find_element("id", "drawing").rect
        assert box["width"] / box["height"] == pytest.approx(shape[1] / shape[0], rel=0.02)
        assert box["height"] <= 800
        preview = browser.find_element("css selector", "figure canvas").rect
        assert preview["height"] <= 441


def test_every_control_has_a_name(browser, any_page):
    open_page(browser, any_page)
    for control in browser.find_elements("css selector", "button, input, select, [role]"):
        if control.get_attribute("role") not in ("status", "alert"):
            assert control.accessible_name, control.get_attribute("outerHTML")
    for region in browser.find_elements("css selector", "section"):
        assert region.accessible_name
    assert browser.execute_script("return document.documentElement.lang") == "en"


def test_controls_of_a_table(browser, table_page, table_network):
    open_page(browser, table_page)
    assert browser.find_elements("id", "hostile") == []
    assert browser.find_element("tag name", "h1").text == HOSTILE
    assert browser.title == HOSTILE
    names = [e.text for e in browser.find_elements("css selector", "#bars .name")]
    assert names == ["yes", LONG, HOSTILE]

    def check(*inputs):
        want = table_network.predict_proba(np.array([inputs], np.float32))[0]
        np.testing.assert_allclose(read_result(browser), want, atol=1e-6)
        answer = browser.find_element("css selector", "#answer strong").text
        assert answer == names[int(np.argmax(want))]

    check(20, 0, 1, 0)
    set_value = """
        arguments[0].value = arguments[1];
        arguments[0].dispatchEvent(new Event("input", { bubbles: true }));
    """
    sliders = browser.find_elements("css selector", "input[type=range]")
    fields = browser.find_elements("css selector", "input[type=number]")
    browser.execute_script(set_value, sliders[0], 64)
    check(64, 0, 1, 0)
    assert fields[0].get_attribute("value") == "64"
    fields[1].send_keys(Keys.CONTROL + "a", Keys.DELETE)
    assert fields[1].get_attribute("aria-invalid") == "true"
    colors = [f.value_of_css_property("border-top-color") for f in fields]
    assert colors[1] != colors[0] == colors[2]
    answer = browser.find_element("id", "answer")
    assert answer.text == f"{LONG}: a number is missing"
    assert browser.execute_script("return [cmlp.result, cmlp.inputs]") == [None, None]
    fields[1].send_keys("1e40")
    assert answer.text == f"{LONG}: the number is too large"
    assert fields[1].get_attribute("aria-invalid") == "true"
    fields[1].send_keys("0")  # 1e400, which is beyond float64
    assert answer.text == f"{LONG}: not a number, or too large"
    fields[1].send_keys(Keys.CONTROL + "a", Keys.DELETE)
    fields[1].send_keys("-7.25")  # beyond the slider
    check(64, -7.25, 1, 0)
    assert fields[1].get_attribute("aria-invalid") == "false"
    select = browser.find_element("tag name", "select")
    browser.execute_script(set_value, select, 3)
    check(64, -7.25, 3, 0)
    browser.execute_script(set_value.replace('"input"', '"change"'), select, 2)
    check(64, -7.25, 2, 0)
    browser.find_element("id", "reset").click()
    check(20, 0, 1, 0)
    order = []
    browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    browser.execute_script("document.querySelector('h1').tabIndex = -1;"
                           "document.querySelector('h1').focus()")  # fmt: skip
    for _ in range(8):
        press(browser, Keys.TAB)
        order.append(browser.execute_script(
            "const e = document.activeElement; return e.type + (e.id || '')"))  # fmt: skip
    assert order == ["range", "numberinput-0", "range", "numberinput-1", "select-oneinput-2",
                     "range", "numberinput-3", "buttonreset"]  # fmt: skip


def test_a_result_that_is_not_finite(browser, tmp_path):
    net = Network([1, 2, 1], activation="identity", loss="mse", seed=0)
    net.weight[0][:], net.weight[1][:] = 1e20, [[1, -1]]
    net.to_html(tmp_path / "net.html", values={"x0": 1e30}, ranges=(0, 1e30))
    open_page(browser, tmp_path / "net.html")
    assert browser.find_element("id", "answer").text == "The result is not a finite number"
    assert browser.execute_script("return [cmlp.result, cmlp.inputs]") == [None, None]
    browser.find_element("tag name", "input").send_keys(Keys.HOME)
    assert browser.find_element("id", "answer").text.startswith("0\n")


def test_a_long_result_on_a_phone(browser, tmp_path):
    set_screen(browser, 390, 844)
    for outputs, position in ((3, "sticky"), (12, "static")):
        Network([5, outputs], loss="cross_entropy", seed=0).to_html(tmp_path / "net.html")
        open_page(browser, tmp_path / "net.html")
        result = browser.find_element("id", "result")
        assert result.value_of_css_property("position") == position
        assert browser.execute_script(
            "return arguments[0].scrollHeight <= arguments[0].clientHeight", result
        )


def test_results_of_other_tasks(browser, tmp_path):
    path = tmp_path / "net.html"

    def read(net, **options):
        net.to_html(path, kind="table", **options)
        open_page(browser, path)
        rows = [e.text for e in browser.find_elements("css selector", "#bars .name")]
        return browser.find_element("id", "answer").text.split("\n"), rows

    binary = Network([3, 1], loss="binary_cross_entropy", seed=0, init="zeros")
    binary.bias[0][:] = np.log(3)
    assert read(binary, labels=["no", "yes"]) == (["yes", "75.0%"], ["no", "yes"])
    labels = Network([3, 3], loss="binary_cross_entropy", seed=0, init="zeros")
    labels.state.task = "multilabel"
    labels.bias[0][:, 0] = 1, -1, 2
    assert read(labels, labels=["a", "b", "c"]) == (["a, c"], ["a", "b", "c"])
    scores = Network([3, 1], loss="hinge", seed=0, init="zeros")
    scores.bias[0][:] = -0.5
    assert read(scores) == (["0"], ["score"])
    price = Network([3, 1], loss="mse", seed=0, init="zeros")
    price.bias[0][:] = -1234.5
    assert read(price, labels=["price"]) == (["−1,234.5", "price"], [])
    normal = Network([3, 2], loss="gaussian_nll", seed=0, init="zeros")
    normal.bias[0][:, 0] = 2, np.log(9)
    assert read(normal, labels=["price"]) == (["2", "± 3"], [])
    many = Network([3, 40], loss="cross_entropy", seed=0)
    answer, rows = read(many)
    assert len(rows) == 12
    assert answer[0] in rows
    assert browser.find_element("id", "more").text == "The 12 greatest of 40."


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and records the paths of requests."""

    def log_request(self, code="-", size="-"):
        self.server.requests.append(self.path)


@pytest.fixture
def server(tmp_path):
    """Return a web server of the directory `tmp_path`."""
    handler = functools.partial(Handler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.requests = []
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_page_in_a_frame_of_a_web_server(browser, digit_page, server, tmp_path):
    shutil.copy(digit_page, tmp_path)
    (tmp_path / "outer.html").write_text(
        '<link rel="icon" href="data:,"><iframe src="digits.html" width="400" height="900">'
    )
    browser.get(f"http://127.0.0.1:{server.server_port}/outer.html")
    values = browser.execute_script("""
        const { cmlp } = document.querySelector("iframe").contentWindow;
        return cmlp.model.run(new Float32Array(784)).values;
    """)
    assert sum(values) == pytest.approx(1)
    browser.switch_to.frame(0)
    outputs, _ = browser.execute_script(DRAW, [[[0.5, 0.2], [0.5, 0.8]]])
    assert np.argmax(outputs) == 1
    buffer = io.BytesIO(browser.find_element("id", "drawing").screenshot_as_png)
    assert Image.open(buffer).convert("L").getextrema()[0] < 50
    browser.switch_to.default_content()
    assert server.requests == ["/outer.html", "/digits.html"]
    assert browser.get_log("browser") == []
