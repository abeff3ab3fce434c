// The page of a network that reads images: a drawing area for mouse, pen, fingers and keys.

// Greatest side of the drawing in pixels, and the pen's width as a fraction of the lesser side.
const DRAWING_SIDE = 560;
const PEN = 0.07;

// Least factor, and its reciprocal the greatest, by which strokes are scaled for centering.
const LEAST_FACTOR = 0.1;

class DrawingPage {
  constructor(model) {
    this.model = model;
    this.view = new ResultView(model);
    this.image = { ...model.description.image };
    const { width, height } = this.image;
    const factor = Math.max(1, Math.round(DRAWING_SIDE / Math.max(width, height)));
    // The whole drawing fits the screen, also if it is high.
    byId("paper").style.maxWidth = `max(44px, ${(80 * width) / height}vh)`;
    this.canvas = byId("drawing");
    this.canvas.width = width * factor;
    this.canvas.height = height * factor;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    const scratch = new OffscreenCanvas(this.canvas.width, this.canvas.height);
    this.scratch = scratch.getContext("2d", { willReadFrequently: true });
    this.strokes = []; // lists of points, or null if the drawing began with an image
    this.pen = PEN * Math.min(this.canvas.width, this.canvas.height);
    this.cursor = { x: this.canvas.width / 2, y: this.canvas.height / 2, isLowered: false };
    byId("center").checked = this.image.center;
    this.listen();
    this.update();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.startStroke(event));
    canvas.addEventListener("pointermove", (event) => this.continueStroke(event));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(type, () => {
        this.last = null;
      });
    }
    canvas.addEventListener("keydown", (event) => this.pressKey(event));
    canvas.addEventListener("focus", () => this.showCursor(canvas.matches(":focus-visible")));
    canvas.addEventListener("blur", () => this.showCursor(false));
    byId("clear").addEventListener("click", () => this.clear());
    byId("center").addEventListener("change", (event) => {
      this.image.center = event.target.checked;
      this.update();
    });
    byId("file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      if (file) this.load(file);
      event.target.value = ""; // so that the same file can be chosen again
    });
  }

  /** The position of an event in pixels of the drawing. */
  locate(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.canvas.height,
    };
  }

  startStroke(event) {
    if (!event.isPrimary || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.showCursor(false);
    this.last = this.locate(event);
    this.drawLine(this.last, this.last);
  }

  continueStroke(event) {
    if (!this.last || !event.isPrimary) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const point = this.locate(each);
      this.drawLine(this.last, point);
      this.last = point;
    }
  }

  drawLine(from, to) {
    this.drawPath(this.context, [from, to]);
    if (this.strokes) {
      const end = this.strokes.at(-1)?.at(-1);
      if (end?.x !== from.x || end.y !== from.y) this.strokes.push([{ x: from.x, y: from.y }]);
      this.strokes.at(-1).push({ x: to.x, y: to.y });
    }
    byId("hint").hidden = true;
    this.requestUpdate();
  }

  drawPath(context, points) {
    context.lineWidth = this.pen;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = "black";
    context.beginPath();
    // Chromium draws nothing for a line of length 0, which is a dot.
    context.moveTo(points[0].x + 0.01, points[0].y);
    for (const point of points) context.lineTo(point.x, point.y);
    context.stroke();
  }

  /**
   * Draw the strokes again, as large as the box that `toPixels` scales them to, with the same pen:
   * otherwise a small drawing would have thick lines.
   */
  redraw() {
    const { scratch, strokes, canvas } = this;
    let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const { x, y } of strokes.flat()) {
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
    }
    const factors = [
      (BOX * canvas.width - this.pen) / (right - left),
      (BOX * canvas.height - this.pen) / (bottom - top),
    ];
    let factor = Math.min(Math.max(Math.min(...factors), LEAST_FACTOR), 1 / LEAST_FACTOR);
    if (Math.max(right - left, bottom - top) < this.pen) factor = 1; // a dot
    const move = ({ x, y }) => ({
      x: canvas.width / 2 + factor * (x - (left + right) / 2),
      y: canvas.height / 2 + factor * (y - (top + bottom) / 2),
    });
    scratch.clearRect(0, 0, canvas.width, canvas.height);
    for (const stroke of strokes) this.drawPath(scratch, stroke.map(move));
    return scratch;
  }

  pressKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { cursor, canvas } = this;
    if (event.key in moves) {
      const [dx, dy] = moves[event.key];
      const step = Math.min(canvas.width, canvas.height) / (event.shiftKey ? 112 : 28);
      const from = { x: cursor.x, y: cursor.y };
      cursor.x = Math.min(Math.max(cursor.x + dx * step, 0), canvas.width);
      cursor.y = Math.min(Math.max(cursor.y + dy * step, 0), canvas.height);
      if (cursor.isLowered) this.drawLine(from, cursor);
    } else if (event.key === " ") {
      cursor.isLowered = !cursor.isLowered;
      if (cursor.isLowered) this.drawLine(cursor, cursor);
      byId("pen").textContent = cursor.isLowered ? "The pen is down." : "The pen is up.";
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else return;
    event.preventDefault();
    this.showCursor(true);
  }

  /** Show or hide the ring where the keys draw. */
  showCursor(isShown) {
    const ring = byId("cursor");
    const { canvas, cursor } = this;
    if (!isShown) cursor.isLowered = false;
    ring.hidden = !isShown;
    ring.classList.toggle("lowered", cursor.isLowered);
    ring.style.left = `${(100 * cursor.x) / canvas.width}%`;
    ring.style.top = `${(100 * cursor.y) / canvas.height}%`;
    ring.style.width = `${(100 * this.pen) / canvas.width}%`;
    ring.style.height = `${(100 * this.pen) / canvas.height}%`;
  }

  clear() {
    this.erase();
    this.update();
  }

  erase() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.strokes = [];
    this.cursor.isLowered = false;
    byId("cursor").classList.remove("lowered");
    byId("message").textContent = "";
  }

  /** Replace the drawing by the picture of a file. */
  async load(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      this.clear(); // the result is not one of this file
      byId("message").textContent = `${file.name} is not a picture that this browser can read.`;
      return;
    }
    const { canvas, context } = this;
    const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const width = Math.max(1, Math.round(bitmap.width * scale));
    const height = Math.max(1, Math.round(bitmap.height * scale));
    const scratch = new OffscreenCanvas(width, height);
    const picture = scratch.getContext("2d");
    picture.imageSmoothingEnabled = scale < 1; // enlarged pixels stay exact
    picture.imageSmoothingQuality = "high";
    picture.drawImage(bitmap, 0, 0, width, height);
    const { data } = picture.getImageData(0, 0, width, height);
    const drawing = new ImageData(width, height);
    findInk(data, width, height).forEach((value, i) => {
      drawing.data[4 * i + 3] = Math.round(255 * value);
    });
    const left = Math.floor((canvas.width - width) / 2);
    const top = Math.floor((canvas.height - height) / 2);
    this.erase();
    this.strokes = null;
    context.putImageData(drawing, left, top);
    this.update();
  }

  requestUpdate() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      this.update();
    });
  }

  /** Compute the network's inputs from the drawing, and show its outputs. */
  update() {
    const { canvas, image } = this;
    const context = image.center && this.strokes?.length ? this.redraw() : this.context;
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const ink = new Float32Array(canvas.width * canvas.height);
    for (let i = 0; i < ink.length; i++) ink[i] = data[4 * i + 3] / 255;
    const pixels = toPixels(ink, canvas.width, canvas.height, image);
    const preview = {
      title: "Input",
      what: `${image.height} × ${image.width} pixels`,
      values: pixels || new Float32Array(image.width * image.height),
      columns: image.width,
    };
    byId("hint").hidden = pixels !== null;
    if (!pixels) {
      this.inputs = this.result = null;
      const text = this.strokes ? "Nothing is drawn yet" : "No ink was found in the image";
      this.view.clear(text, preview);
      return;
    }
    const { background, ink: full } = image;
    const inputs = Float32Array.from(pixels, (value) => background + (full - background) * value);
    preview.values = inputs;
    this.result = this.view.update(inputs, preview);
    this.inputs = this.result && inputs;
  }
}

globalThis.cmlp = new DrawingPage(readModel());
