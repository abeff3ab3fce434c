// What all pages show: the answer, bars of the outputs, and maps of the hidden activations.

const MOST_BARS = 12;

// Greatest height of a map in pixels.
const MAP_HEIGHT = 440;

const byId = (id) => document.getElementById(id);

/** Create an element with a text, in which HTML has no meaning. */
function createElement(tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

function formatNumber(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "not a number";
  const size = Math.abs(value);
  const isShort = size === 0 || (size >= 1e-4 && size < 1e12);
  const options = { maximumSignificantDigits: size < 1e4 ? 5 : 7 };
  const text = isShort ? value.toLocaleString("en-US", options) : value.toExponential(3);
  return text.replace(/-/g, "−");
}

function formatPercent(value) {
  return `${(100 * value).toFixed(1)}%`;
}

/**
 * The rows of the result, of { name, value, text, isBest }, and `answer`, a text, and `detail`.
 *
 * For several exclusive classes the best is the one with the greatest output, as in
 * `Network.predict`; each label of a multilabel network is present from the threshold on.
 */
function describeResult(description, result) {
  const { head, labels } = description;
  const { values, deviations } = result;
  const format = head.hasProbabilities ? formatPercent : formatNumber;
  if (head.isClassifier) {
    if (head.task === "binary" && values.length === 1)
      return describeBinary(head, labels, values[0]);
    const rows = values.map((value, i) => ({ name: labels[i], value, text: format(value) }));
    if (head.task === "multilabel") {
      for (const row of rows) row.isBest = row.value >= head.threshold;
      const present = rows.filter((row) => row.isBest).map((row) => row.name);
      return { rows, answer: present.join(", ") || "no label", detail: "" };
    }
    const best = values.indexOf(Math.max(...values));
    rows[Math.max(best, 0)].isBest = true;
    return { rows, answer: labels[Math.max(best, 0)], detail: format(values[Math.max(best, 0)]) };
  }
  const rows = values.map((value, i) => {
    const target = labels[i % labels.length];
    const quantile = head.quantiles[Math.floor(i / labels.length)];
    const name = quantile === undefined ? target : `${target}, quantile ${quantile}`;
    const spread = deviations ? ` ± ${formatNumber(deviations[i])}` : "";
    return { name, value, text: formatNumber(value) + spread, isBest: true };
  });
  if (labels.length > 1) return { rows, answer: "", detail: "" };
  const middle = head.quantiles.map((quantile) => Math.abs(quantile - 0.5));
  const shown = middle.length ? middle.indexOf(Math.min(...middle)) : 0;
  for (const [i, row] of rows.entries()) row.isBest = i === shown;
  return {
    rows: rows.length > 1 ? rows : [],
    answer: formatNumber(values[shown]),
    detail: deviations ? `± ${formatNumber(deviations[shown])}` : rows[shown].name,
  };
}

/** The rows of a network with a single output, of two classes. */
function describeBinary(head, labels, value) {
  const isSecond = value >= head.threshold;
  const answer = labels[isSecond ? 1 : 0];
  if (!head.hasProbabilities) {
    const row = { name: "score", value, text: formatNumber(value), isBest: true };
    return { rows: [row], answer, detail: "" };
  }
  const rows = [1 - value, value].map((p, i) => ({
    name: labels[i],
    value: p,
    text: formatPercent(p),
    isBest: isSecond === (i === 1),
  }));
  return { rows, answer, detail: formatPercent(isSecond ? value : 1 - value) };
}

/** Shows results in the elements of page.html. */
class ResultView {
  constructor(model) {
    this.model = model;
    this.items = [];
    const { sizes, networks, head } = model.description;
    const several = networks.length > 1 ? `${networks.length} networks` : "Network";
    byId("summary").textContent = sizes.length ? `${several} of ${sizes.join(" → ")} units` : "";
    this.isUnitInterval = head.hasProbabilities;
    this.maps = [];
    if (networks.length === 0) document.querySelector(".wide").hidden = true;
    // Colors differ between light and dark mode.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.drawMaps());
  }

  /** Run the model, show the result and return it, or null; `inputs` as for `Model.run`. */
  update(inputs, preview) {
    const start = performance.now();
    const result = this.model.run(inputs);
    const milliseconds = performance.now() - start;
    if (![...result.values, ...(result.deviations ?? [])].every(Number.isFinite)) {
      this.clear("The result is not a finite number", preview);
      return null;
    }
    byId("time").textContent =
      ` in ${milliseconds < 1 ? "less than 1" : milliseconds.toFixed(0)} ms`;
    const shown = describeResult(this.model.description, result);
    this.showBars(shown.rows);
    const answer = byId("answer");
    answer.replaceChildren(createElement("strong", "", shown.answer));
    if (shown.detail) answer.append(createElement("span", "", shown.detail));
    answer.hidden = !shown.answer;
    this.showMaps(result.layers.slice(0, -1), preview);
    const spoken = [shown.answer, shown.detail].filter(Boolean).join(", ");
    this.announce(spoken || shown.rows.map((row) => `${row.name}: ${row.text}`).join("; "));
    return result;
  }

  /** Show a text that says why there is no result. */
  clear(text, preview) {
    const { description, networks } = this.model;
    byId("answer").hidden = false;
    byId("answer").replaceChildren(createElement("span", "", text));
    const names = description.head.isClassifier ? description.labels : [];
    this.showBars(names.map((name) => ({ name, value: 0, text: "–" })));
    const layers = (networks[0] ?? []).filter((layer) => "activation" in layer).slice(0, -1);
    const count = (layer) => (layer.bias || layer.start).length;
    this.showMaps(
      layers.map((layer) => new Float32Array(count(layer))),
      preview,
    );
    byId("time").textContent = "";
    this.announce(`${text}.`);
  }

  /** Say a text to screen readers, but not each of many in a short time. */
  announce(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      byId("status").textContent = text;
    }, 400);
  }

  showBars(rows) {
    let shown = rows;
    if (rows.length > MOST_BARS) {
      shown = [...rows].sort((a, b) => b.value - a.value).slice(0, MOST_BARS);
    }
    byId("more").hidden = shown.length === rows.length;
    byId("more").textContent = `The ${shown.length} greatest of ${rows.length}.`;
    const list = byId("bars");
    while (this.items.length > shown.length) this.items.pop().item.remove();
    while (this.items.length < shown.length) {
      const item = createElement("li");
      const name = createElement("span", "name");
      const track = createElement("span", "track");
      const bar = createElement("span", "bar");
      const number = createElement("span", "number");
      track.append(bar);
      item.append(name, track, number);
      list.append(item);
      this.items.push({ item, name, bar, number });
    }
    // Bars of other numbers than probabilities begin at 0, which is in the middle if some are negative.
    const values = shown.map((row) => (Number.isFinite(row.value) ? row.value : 0));
    const greatest = this.isUnitInterval ? 1 : Math.max(...values.map(Math.abs), 1e-30);
    const isSigned = values.some((value) => value < 0);
    shown.forEach((row, i) => {
      const { item, name, bar, number } = this.items[i];
      item.classList.toggle("best", Boolean(row.isBest));
      name.textContent = row.name;
      number.textContent = row.text;
      const size = (Math.abs(values[i]) / greatest) * (isSigned ? 50 : 100);
      const zero = isSigned ? 50 : 0;
      bar.style.left = `${values[i] < 0 ? zero - size : zero}%`;
      bar.style.width = `${size}%`;
    });
  }

  /** Show maps of the network's input, if it is an image, and of the hidden layers. */
  showMaps(layers, preview) {
    const shown = layers.map((values, l) => {
      const columns = chooseColumns(values.length);
      const units = values.length === 1 ? "unit" : "units";
      return { title: `Hidden layer ${l + 1}`, what: `${values.length} ${units}`, values, columns };
    });
    if (preview) shown.unshift(preview);
    document.querySelector(".wide").hidden = shown.length === 0;
    while (this.maps.length < shown.length) {
      const map = new NumberMap();
      if (preview && this.maps.length === 0) map.figure.className = "preview";
      byId("maps").append(map.figure);
      this.maps.push(map);
    }
    shown.forEach((data, i) => this.maps[i].show(data));
  }

  drawMaps() {
    for (const map of this.maps) map.draw();
  }
}

/** The number of columns for n units: about 2 for each row, without gaps if possible. */
function chooseColumns(n) {
  if (n <= 16) return n;
  const wanted = Math.sqrt(2 * n);
  let best = Math.ceil(wanted);
  let distance = Math.log(1.6);
  for (let columns = 2; columns <= n; columns++) {
    const from = Math.abs(Math.log(columns / wanted));
    if (n % columns === 0 && from < distance) [best, distance] = [columns, from];
  }
  return best;
}

/** A heat map: the colors range from the greatest size of a negative number to that of a positive. */
class NumberMap {
  constructor() {
    this.figure = createElement("figure");
    this.canvas = createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.title = createElement("b");
    this.caption = createElement("span");
    const figcaption = createElement("figcaption");
    figcaption.append(this.title, this.caption);
    this.figure.append(this.canvas, figcaption);
    this.canvas.addEventListener("pointermove", (event) => this.describeUnit(event));
    this.canvas.addEventListener("pointerleave", () => this.describe());
  }

  show(data) {
    this.data = data;
    this.title.textContent = data.title;
    this.describe();
    this.draw();
  }

  describe() {
    const { values, what, title } = this.data;
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const range = `${formatNumber(low)} to ${formatNumber(high)}`;
    this.caption.textContent = `${what}, ${range}`;
    this.canvas.setAttribute("aria-label", `${title}: ${what}, ${range}`);
  }

  describeUnit(event) {
    const { values, columns } = this.data;
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.canvas.height);
    const index = row * columns + column;
    if (index in values) this.caption.textContent = `${index}: ${formatNumber(values[index])}`;
  }

  draw() {
    const { values, columns } = this.data;
    const style = getComputedStyle(document.documentElement);
    const read = (name) => {
      const color = style.getPropertyValue(name).trim();
      return [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
    };
    const zero = read("--zero");
    const [positive, negative] = [read("--positive"), read("--negative")];
    let greatest = 0;
    for (const value of values) greatest = Math.max(greatest, Math.abs(value));
    this.canvas.width = columns;
    this.canvas.height = Math.ceil(values.length / columns);
    this.canvas.style.maxWidth = `${(MAP_HEIGHT * columns) / this.canvas.height}px`;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(this.canvas.width, this.canvas.height);
    values.forEach((value, i) => {
      const share = greatest ? Math.abs(value) / greatest : 0;
      const color = value < 0 ? negative : positive;
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = zero[c] + share * (color[c] - zero[c]);
      image.data[4 * i + 3] = 255;
    });
    context.putImageData(image, 0, 0);
  }
}

/** Read the model of the page. */
function readModel() {
  const elements = document.querySelectorAll("script.array");
  const description = JSON.parse(byId("model").textContent);
  const show = (name) => (name.trim() ? name : "(empty)");
  description.labels = description.labels.map(show);
  for (const input of description.inputs ?? []) {
    input.name = show(input.name);
    input.options = input.options?.map(show);
  }
  const model = new Model(description, (i) => elements[i].textContent);
  for (const element of elements) element.remove(); // the text of a large network takes memory
  return model;
}
