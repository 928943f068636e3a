// The softmax of @huggingface/transformers, a function of one row.
import { versionOf } from './version.mjs';

export async function load() {
  const { softmax } = await import('@huggingface/transformers');
  return { name: 'transformers.js', version: versionOf('@huggingface/transformers'), candidates };

  function candidates({ operation, outer, k, inner, resultElements }, { inputs }) {
    // A call for each row: more of them take seconds.
    if (operation !== 'softmax' || inner > 1 || outer > 2 ** 20) return [];
    if (outer === 1) return [{ variant: 'fresh', call: (i) => softmax(inputs[i]) }];
    const rows = (i) => {
      const x = inputs[i];
      const y = new x.constructor(resultElements);
      for (let start = 0; start < x.length; start += k) y.set(softmax(x.subarray(start, start + k)), start);
      return y;
    };
    return [{ variant: 'fresh', call: rows }];
  }
}
