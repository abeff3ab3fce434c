// From a drawing to the network's inputs, as the images of MNIST were made. It needs no DOM.

// Side of the box that a drawing is scaled to, as a fraction of the side of the image.
const BOX = 20 / 28;

// Less ink than this, of 1, does not count for the box.
const LEAST_INK = 0.1;

/** For each of n pixels, the pixels of the source that it covers: the first one, and shares. */
function coverPixels(n, sourceSize, origin, scale) {
  return Array.from({ length: n }, (_, i) => {
    const low = Math.max(origin + i / scale, 0);
    const high = Math.min(origin + (i + 1) / scale, sourceSize);
    const first = Math.floor(low);
    const count = Math.max(Math.ceil(high) - first, 0);
    const shares = new Float64Array(count);
    for (let k = 0; k < count; k++) {
      const j = first + k;
      shares[k] = Math.max(Math.min(high, j + 1) - Math.max(low, j), 0) * scale;
    }
    return { first, shares };
  });
}

/** Scale an image by area averaging, in both directions: a pixel is the mean of what it covers. */
function resample(ink, sourceWidth, sourceHeight, width, height, originX, originY, scaleX, scaleY) {
  const columns = coverPixels(width, sourceWidth, originX, scaleX);
  const rows = coverPixels(height, sourceHeight, originY, scaleY);
  const narrow = new Float64Array(sourceHeight * width);
  for (let y = 0; y < sourceHeight; y++) {
    for (let j = 0; j < width; j++) {
      const { first, shares } = columns[j];
      const start = y * sourceWidth + first;
      let sum = 0;
      for (let k = 0; k < shares.length; k++) sum += shares[k] * ink[start + k];
      narrow[y * width + j] = sum;
    }
  }
  const found = new Float32Array(width * height);
  for (let i = 0; i < height; i++) {
    const { first, shares } = rows[i];
    for (let j = 0; j < width; j++) {
      let sum = 0;
      for (let k = 0; k < shares.length; k++) sum += shares[k] * narrow[(first + k) * width + j];
      found[i * width + j] = Math.min(sum, 1);
    }
  }
  return found;
}

/** The box around the ink, [left, top, right, bottom], or null without ink. */
function findBox(ink, width, height) {
  let left = width;
  let top = height;
  let right = 0;
  let bottom = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x] < LEAST_INK) continue;
      if (x < left) left = x;
      if (x >= right) right = x + 1;
      if (y < top) top = y;
      bottom = y + 1;
    }
  }
  return right > left ? [left, top, right, bottom] : null;
}

/**
 * The pixels, 0 to 1, of a drawing.
 *
 * `ink` has the drawing's pixels, 0 to 1. With `center`, the box around the ink is scaled to 20 of
 * 28 pixels, keeping its proportions, and its center of mass is moved to the center of the pixel in
 * the middle: (14.5, 14.5) of 28 x 28, as in MNIST. Returns null without ink.
 */
function toPixels(ink, sourceWidth, sourceHeight, { width, height, center }) {
  const box = findBox(ink, sourceWidth, sourceHeight);
  if (!box) return null;
  if (!center) {
    const scales = [width / sourceWidth, height / sourceHeight];
    return resample(ink, sourceWidth, sourceHeight, width, height, 0, 0, ...scales);
  }
  const [left, top, right, bottom] = box;
  const scale = Math.min((BOX * width) / (right - left), (BOX * height) / (bottom - top));
  let sum = 0;
  let sumX = 0;
  let sumY = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const value = ink[y * sourceWidth + x];
      sum += value;
      sumX += value * (x + 0.5);
      sumY += value * (y + 0.5);
    }
  }
  const originX = sumX / sum - (Math.floor(width / 2) + 0.5) / scale;
  const originY = sumY / sum - (Math.floor(height / 2) + 0.5) / scale;
  return resample(ink, sourceWidth, sourceHeight, width, height, originX, originY, scale, scale);
}

/**
 * The ink, 0 to 1, of a picture of width x height pixels, each of four bytes as in ImageData.
 *
 * Transparent pixels are white. Ink is what differs from the background: dark on a light one, light
 * on a dark one, by the pixels of the edge. A background that is neither black nor white, such as
 * paper in a photo, is subtracted.
 */
function findInk(data, width, height) {
  const light = new Float32Array(width * height);
  for (let i = 0; i < light.length; i++) {
    const gray = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
    const opacity = data[4 * i + 3] / 255;
    light[i] = (gray / 255) * opacity + (1 - opacity);
  }
  const edge = [];
  for (let x = 0; x < width; x++) edge.push(light[x], light[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) edge.push(light[y * width], light[(y + 1) * width - 1]);
  const mean = edge.reduce((a, b) => a + b, 0) / edge.length;
  const ink = mean > 0.5 ? light.map((value) => 1 - value) : light;
  const background = mean > 0.5 ? 1 - mean : mean;
  if (background < 0.02) return ink;
  const greatest = ink.reduce((a, b) => Math.max(a, b), 0);
  const rest = Math.max(greatest - background, 1e-6);
  return ink.map((value) => {
    const share = (value - background) / rest;
    return share < 0.25 ? 0 : Math.min(share, 1); // shadows and the texture of paper
  });
}
