// Softmax and its Jacobian as a program without a library would write them, with care: the plain JavaScript to compare
// with. Imported once for each element type, so that the compiler sees one type of array only.

export function softmax(x, y, k) {
  for (let start = 0; start < x.length; start += k) {
    const end = start + k;
    let max = -Infinity;
    for (let j = start; j < end; j++) if (x[j] > max) max = x[j];
    let sum = 0;
    for (let j = start; j < end; j++) sum += y[j] = Math.exp(x[j] - max);
    const scale = 1 / sum;
    for (let j = start; j < end; j++) y[j] *= scale;
  }
}

/** Along an axis whose elements are `inner` apart: memory is read in its order all the same. */
export function softmaxOfColumns(x, y, k, inner) {
  const max = new Float64Array(inner);
  const sum = new Float64Array(inner);
  for (let start = 0; start < x.length; start += k * inner) {
    max.fill(-Infinity);
    sum.fill(0);
    for (let j = 0, at = start; j < k; j++) {
      for (let i = 0; i < inner; i++, at++) if (x[at] > max[i]) max[i] = x[at];
    }
    for (let j = 0, at = start; j < k; j++) {
      for (let i = 0; i < inner; i++, at++) sum[i] += y[at] = Math.exp(x[at] - max[i]);
    }
    for (let i = 0; i < inner; i++) sum[i] = 1 / sum[i];
    for (let j = 0, at = start; j < k; j++) {
      for (let i = 0; i < inner; i++, at++) y[at] *= sum[i];
    }
  }
}

export function jacobian(x, p, out, k) {
  softmax(x, p, k);
  for (let row = 0, at = 0; row < x.length; row += k) {
    for (let i = 0; i < k; i++) {
      const pi = p[row + i];
      const diagonal = at + i;
      for (let j = row; j < row + k; j++) out[at++] = -pi * p[j];
      out[diagonal] += pi;
    }
  }
}
