// From a drawing to the network's inputs, as the images of MNIST were made. It needs no DOM.

// Side of the box that a drawing is scaled to, as a fraction of the side of the image.
const BOX = 20 / 28;

// Less ink than this, of 1, does not count for the box.
const LEAST_INK = 0.1;

/** For each of n pixels, the pixels of the source that it covers: a list of [index, share]. */
function coverPixels(n, sourceSize, origin, scale) {
  return Array.from({ length: n }, (_, i) => {
    const low = Math.max(origin + i / scale, 0);
    const high = Math.min(origin + (i + 1) / scale, sourceSize);
    const covered = [];
    for (let j = Math.floor(low); j < high; j++) {
      const share = (Math.min(high, j + 1) - Math.max(low, j)) * scale;
      if (share > 0) covered.push([j, share]);
    }
    return covered;
  });
}

/** Scale an image by area averaging: each pixel is the mean of the source below it. */
function resample(ink, sourceWidth, sourceHeight, width, height, originX, originY, scaleX, scaleY) {
  const columns = coverPixels(width, sourceWidth, originX, scaleX);
  const rows = coverPixels(height, sourceHeight, originY, scaleY);
  const found = new Float32Array(width * height);
  rows.forEach((row, i) => {
    columns.forEach((column, j) => {
      let sum = 0;
      for (const [y, shareY] of row) {
        for (const [x, shareX] of column) sum += shareY * shareX * ink[y * sourceWidth + x];
      }
      found[i * width + j] = Math.min(sum, 1);
    });
  });
  return found;
}

/** The box around the ink, [left, top, right, bottom], or null without ink. */
function findBox(ink, width, height) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x] < LEAST_INK) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
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
  let [sum, sumX, sumY] = [0, 0, 0];
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
    const [r, g, b, a] = data.subarray(4 * i, 4 * i + 4);
    light[i] = ((0.299 * r + 0.587 * g + 0.114 * b) * a) / 65025 + (1 - a / 255);
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
