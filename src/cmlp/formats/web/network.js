// The forward pass: from the numbers of a sample to the network's outputs. It needs no DOM, so that
// tests run it in Node.js. Numbers are computed in float64 and stored in float32.

// Activation -> function of the pre-activation z; k is the activation's parameter.
const ACTIVATIONS = {
  identity: (z) => z,
  sigmoid: (z) => sigmoid(z),
  hard_sigmoid: (z) => Math.min(Math.max(z / 6 + 0.5, 0), 1),
  tanh: (z) => Math.tanh(z),
  hard_tanh: (z) => Math.min(Math.max(z, -1), 1),
  relu: (z) => (z < 0 ? 0 : z),
  leaky_relu: (z, k) => (z < 0 ? k * z : z),
  elu: (z, k) => (z < 0 ? k * Math.expm1(z) : z),
  selu: (z) => 1.0507009873554805 * (z < 0 ? 1.6732632423543772 * Math.expm1(z) : z),
  celu: (z, k) => (z < 0 ? k * Math.expm1(z / k) : z),
  gelu: (z) => 0.5 * z * (1 + erf(z * Math.SQRT1_2)),
  gelu_tanh: (z) => z * sigmoid(1.5957691216057308 * (z + 0.044715 * z * z * z)),
  silu: (z) => z * sigmoid(z),
  mish: (z) => z * Math.tanh(softplus(z)),
  softplus: (z) => softplus(z),
  softsign: (z) => z / (1 + Math.abs(z)),
  softmax: null, // reads the whole layer: a function of its own
};

function sigmoid(z) {
  const e = Math.exp(-Math.abs(z));
  return (z < 0 ? e : 1) / (1 + e);
}

function softplus(z) {
  return Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
}

// The series of Abramowitz and Stegun, 1964, 7.1.6, all terms of which have the same sign.
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** Replace the numbers of an array by their softmax. */
function softmax(z) {
  let greatest = -Infinity;
  for (const value of z) greatest = Math.max(greatest, value);
  const exponentials = Float64Array.from(z, (value) => Math.exp(value - greatest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  for (let i = 0; i < z.length; i++) z[i] = exponentials[i] / sum;
}

/** Layer normalization of z, in place, with a scale and a shift for each unit. */
function normalize(z, scale, shift, eps) {
  const mean = z.reduce((a, b) => a + b, 0) / z.length;
  let variance = 0;
  for (const value of z) variance += (value - mean) ** 2;
  const factor = 1 / Math.sqrt(variance / z.length + eps);
  for (let i = 0; i < z.length; i++) z[i] = scale[i] * (z[i] - mean) * factor + shift[i];
}

/** Apply a layer's activation to its pre-activations z, in place. */
function activate(layer, z) {
  if (layer.activation === "softmax") {
    softmax(z);
    return;
  }
  const f = ACTIVATIONS[layer.activation];
  const k = layer.parameter;
  const alpha = layer.alpha;
  for (let i = 0; i < z.length; i++) {
    if (layer.learned === "prelu") z[i] = z[i] < 0 ? alpha[i] * z[i] : z[i];
    else if (layer.learned) z[i] += alpha[i] * (f(z[i], k) - z[i]);
    else z[i] = f(z[i], k);
  }
}

/** The product of a row of weights, which begins at an index, and x. Four sums are faster. */
function dot(weight, first, x) {
  const n = x.length;
  const end = n - (n % 4);
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let j = 0; j < end; j += 4) {
    a += weight[first + j] * x[j];
    b += weight[first + j + 1] * x[j + 1];
    c += weight[first + j + 2] * x[j + 2];
    d += weight[first + j + 3] * x[j + 3];
  }
  for (let j = end; j < n; j++) a += weight[first + j] * x[j];
  return a + b + (c + d);
}

/** The code of a category, 1 to `categories`, or 0 for any other number. */
function toCode(value, categories) {
  return Number.isInteger(value) && value >= 1 && value <= categories ? value : 0;
}

/** Round a number to the nearest integer, ties to even. */
function roundToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** The integer, 0 to 255, of a number that is divided by the scale already. */
function quantize(value, low, high, zeroPoint) {
  return roundToEven(Math.min(Math.max(value, low), high)) + zeroPoint;
}

// Kind of a layer -> function of the layer and its inputs, which returns its outputs.
const LAYERS = {
  dense(layer, x) {
    const { weight, step, bias } = layer;
    const z = new Float32Array(bias.length);
    for (let i = 0; i < z.length; i++) {
      const product = dot(weight, i * x.length, x);
      z[i] = (step ? step[i] * product : product) + (layer.scale ? 0 : bias[i]);
    }
    if (layer.scale) normalize(z, layer.scale, bias, layer.eps);
    activate(layer, z);
    return z;
  },

  // Integers, as the engine computes them: sums are exact, and each product of real numbers is
  // rounded to float32. `next` has the bounds of the integers that a piecewise linear activation
  // gives, which are computed from the sums directly.
  quantized(layer, x) {
    const { input, next, weight, start, factor } = layer;
    const q = new Uint8Array(x.length);
    for (let j = 0; j < q.length; j++) {
      const value = Math.fround(x[j] * input.inverse);
      q[j] = quantize(value, -input.zeroPoint, 255 - input.zeroPoint, input.zeroPoint);
    }
    const z = new Float32Array(start.length);
    for (let i = 0; i < z.length; i++) {
      const sum = start[i] + dot(weight, i * q.length, q);
      z[i] = Math.fround(sum | 0) * factor[i]; // | 0: the start may have wrapped around
      if (!next) continue;
      if (z[i] < 0) z[i] *= next.slope;
      // The next layer finds the same integer again.
      z[i] = (quantize(z[i], next.low, next.high, next.zeroPoint) - next.zeroPoint) * next.scale;
    }
    if (next) return z;
    if (layer.scale) normalize(z, layer.scale, layer.shift, layer.eps);
    activate(layer, z);
    return z;
  },

  scale: (layer, x) => Float32Array.from(x, (value, j) => value * layer.factor[j]),

  one_hot(layer, x) {
    const y = copyColumns(layer, x);
    layer.from.forEach((from, i) => {
      const code = toCode(x[from], layer.categories[i]);
      if (code === 0) return;
      if (layer.categories[i] === 2) y[layer.to[i]] = 2 * code - 3;
      else y[layer.to[i] + code - 1] = 1;
    });
    return y;
  },

  embedding(layer, x) {
    const y = copyColumns(layer, x);
    let row = 0;
    layer.from.forEach((from, i) => {
      const code = toCode(x[from], layer.categories[i]);
      const first = (row + code - 1) * layer.dim;
      if (code > 0) y.set(layer.table.subarray(first, first + layer.dim), layer.to[i]);
      row += layer.categories[i];
    });
    return y;
  },

  periodic(layer, x) {
    const y = copyColumns(layer, x);
    const { frequencies, outputs, phase, weight, bias } = layer;
    const features = phase ? frequencies : 2 * frequencies;
    layer.from.forEach((from, i) => {
      const p = new Float64Array(features);
      for (let f = 0; f < frequencies; f++) {
        const index = i * frequencies + f;
        const angle = 2 * Math.PI * (layer.frequency[index] * x[from] + (phase ? phase[index] : 0));
        p[f] = Math.cos(angle);
        if (!phase) p[frequencies + f] = Math.sin(angle);
      }
      for (let j = 0; j < outputs; j++) {
        const unit = i * outputs + j;
        const value = bias[unit] + dot(weight, unit * features, p);
        y[layer.to[i] + j] = layer.rectifies ? Math.max(value, 0) : value;
      }
      if (layer.keepsValue) y[layer.to[i] + outputs] = x[from];
    });
    return y;
  },
};

/** The outputs of an input layer, with the columns that it copies. */
function copyColumns(layer, x) {
  const y = new Float32Array(layer.size);
  layer.kept.forEach((from, i) => {
    y[layer.keptTo[i]] = x[from];
  });
  return y;
}

/** The outputs of all layers for the inputs x; the last one has the network's outputs. */
function runNetwork(layers, x) {
  const found = [];
  let values = Float32Array.from(x);
  for (const layer of layers) {
    values = LAYERS[layer.kind](layer, values);
    found.push(values);
  }
  return found;
}

/** What `Network.predict` of a regressor returns for outputs: values, and deviations or null. */
function convertOutputs(outputs, head) {
  const values = Array.from(outputs, (value) => (head.logLink ? Math.exp(value) : value));
  const { targets } = head;
  if (head.nonCrossing) {
    for (let i = targets; i < values.length; i++)
      values[i] = values[i - targets] + softplus(values[i]);
  }
  if (head.leastLogarithm === null) return { values, deviations: null };
  const least = head.leastLogarithm;
  const deviations = values
    .slice(targets)
    .map((logarithm) => Math.exp((least + softplus(logarithm - least)) / 2));
  return { values: values.slice(0, targets), deviations };
}

/** The mean prediction of the networks of a regressor, in the units of its targets. */
function averagePredictions(outputs, head) {
  const found = outputs.map((each) => convertOutputs(each, head));
  const { unit } = head;
  const mean = (of) => found.map(of).reduce((a, b) => a + b, 0) / found.length;
  const values = [];
  const deviations = head.leastLogarithm === null ? null : [];
  found[0].values.forEach((_, i) => {
    if (!unit) {
      values.push(mean((each) => each.values[i]));
      if (deviations) deviations.push(mean((each) => each.deviations[i]));
      return;
    }
    const raw = (each) => each.values[i] * unit.scale[i] + unit.shift[i];
    const limit = (value) => Math.min(Math.max(value, unit.lowest[i]), unit.highest[i]);
    values.push(mean((each) => (unit.lowest ? limit(raw(each)) : raw(each))));
    if (!deviations) return;
    const center = mean(raw);
    const variance = mean(
      (each) => (each.deviations[i] * unit.scale[i]) ** 2 + (raw(each) - center) ** 2,
    );
    deviations.push(Math.sqrt(variance));
  });
  return { values, deviations };
}

/** The mean outputs of the networks of a classifier, tempered: softmax(log(p) / temperature). */
function averageOutputs(outputs, head) {
  const values = new Array(outputs[0].length).fill(0);
  for (const each of outputs) {
    const p = Float64Array.from(each);
    if (head.temperature !== 1) {
      for (let i = 0; i < p.length; i++) p[i] = Math.log(Math.max(p[i], 1e-30)) / head.temperature;
      softmax(p);
    }
    p.forEach((value, i) => {
      values[i] += value / outputs.length;
    });
  }
  return { values, deviations: null };
}

/** The numbers that networks for tables read, of numbers (NaN: missing) and codes of categories. */
function encodeTable(encoding, numbers, codes) {
  const scaled = numbers.map((number, i) => {
    let x = (0.5 * number - 0.5 * encoding.medians[i]) * encoding.factors[i];
    if (encoding.bound) {
      x = Math.min(Math.max((2 * x) / encoding.bound, -1e9), 1e9);
      x = (x / Math.sqrt(1 + x * x)) * encoding.bound;
    } else x *= 2;
    return Number.isNaN(x) ? 0 : x;
  });
  const indicators = encoding.withIndicator.map((i) => (Number.isNaN(numbers[i]) ? 1 : -1));
  return [...scaled, ...indicators, ...encoding.codeOrder.map((i) => codes[i])];
}

/** Whether a number is finite in float32, in which the networks read it. */
function isFloat32(value) {
  return Number.isFinite(Math.fround(value));
}

/** Throw unless x is an array of `count` numbers that `isValid` accepts; `allowed` names those. */
function checkNumbers(name, x, count, isValid, allowed) {
  if (!Array.isArray(x) && !ArrayBuffer.isView(x))
    throw new TypeError(`${name} must be an array of ${count} numbers; got ${typeof x}`);
  if (x.length !== count)
    throw new RangeError(`${name} must have ${count} numbers; got ${x.length}`);
  for (let i = 0; i < count; i++) {
    if (typeof x[i] !== "number")
      throw new TypeError(`${name}[${i}] must be a number; got ${typeof x[i]}`);
    if (!isValid(x[i])) throw new RangeError(`${name}[${i}] must be ${allowed}; got ${x[i]}`);
  }
}

/** The bytes of a text in base64, decoded piece by piece to save memory. */
function decodeBase64(text) {
  const PIECE = 1 << 20; // a multiple of 4
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  for (let from = 0, to = 0; from < text.length; from += PIECE) {
    const piece = atob(text.slice(from, from + PIECE));
    for (let i = 0; i < piece.length; i++) bytes[to++] = piece.charCodeAt(i);
  }
  return bytes;
}

const ARRAY_TYPES = { float32: Float32Array, int8: Int8Array, int32: Int32Array };

/**
 * A model of the page.
 *
 * `description` is what cmlp wrote; `readArray(index)` returns the base64 text of an array, whose
 * bytes are little-endian, as in every browser.
 */
class Model {
  constructor(description, readArray) {
    this.description = description;
    const arrays = description.arrays.map((type, index) => {
      const bytes = decodeBase64(readArray(index).trim());
      return new ARRAY_TYPES[type](bytes.buffer);
    });
    this.networks = description.networks.map((layers) =>
      layers.map((layer) => {
        const entries = Object.entries(layer).map(([name, value]) => {
          const isArray = value !== null && typeof value === "object" && "array" in value;
          return [name, isArray ? arrays[value.array] : value];
        });
        return Object.fromEntries(entries);
      }),
    );
  }

  /**
   * Run the networks.
   *
   * `inputs` has a number for each input of the network, or, for a model of tables with
   * preprocessing, `numbers` and `codes`. Returns `outputs` (of the first network), `values`
   * (probabilities, scores or predictions), `deviations` (or null) and `layers`, the activations of
   * the dense layers of the first network. Throws a TypeError or RangeError for other inputs.
   */
  run(inputs) {
    this.checkInputs(inputs);
    const { encoding, head } = this.description;
    const x = encoding ? encodeTable(encoding, inputs.numbers, inputs.codes) : inputs;
    const found = this.networks.map((layers) => runNetwork(layers, x));
    if (found.length === 0) return { outputs: [1], values: [1], deviations: null, layers: [] };
    const outputs = found.map((each) => each[each.length - 1]);
    const isDense = (_, l) => "activation" in this.networks[0][l];
    const averaged = head.isClassifier
      ? averageOutputs(outputs, head)
      : averagePredictions(outputs, head);
    return { outputs: outputs[0], ...averaged, layers: found[0].filter(isDense) };
  }

  checkInputs(x) {
    const { encoding, image, inputs } = this.description;
    if (!encoding) {
      const count = image ? image.width * image.height : inputs.length;
      checkNumbers("inputs", x, count, isFloat32, "finite in float32");
      return;
    }
    const count = encoding.medians.length;
    const isNumber = (value) => Math.abs(value) !== Infinity;
    checkNumbers("inputs.numbers", x?.numbers, count, isNumber, "finite, or NaN if missing");
    checkNumbers("inputs.codes", x.codes, inputs.length - count, Number.isFinite, "finite");
  }
}
