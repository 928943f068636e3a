// Loops in plain JavaScript.
const loops = {
  float32: await import('../plain-loops.mjs?float32'),
  float64: await import('../plain-loops.mjs?float64'),
};

export function load() {
  return { name: 'JavaScript', version: process.version, candidates };
}

function candidates({ operation, dtype, k, inner, elements, resultElements }, { inputs, outs }) {
  const { softmax, softmaxOfColumns, jacobian } = loops[dtype];
  const Type = inputs[0].constructor;
  const result = () => new Type(resultElements);
  let into;
  if (operation === 'jacobian') {
    const probabilities = new Type(elements);
    into = (i, out) => {
      jacobian(inputs[i], probabilities, out, k);
      return out;
    };
  } else if (inner === 1) {
    into = (i, out) => {
      softmax(inputs[i], out, k);
      return out;
    };
  } else {
    into = (i, out) => {
      softmaxOfColumns(inputs[i], out, k, inner);
      return out;
    };
  }
  return [
    { variant: 'out', call: (i) => into(i, outs[i]) },
    { variant: 'fresh', call: (i) => into(i, result()) },
  ];
}
