// The worked example of a softmax tutorial: a layer of 3 inputs and 4 outputs, Z = W A + b, whose logits
// become the probabilities of cat, dog, tiger and none; then softmax over a batch (N, k), and the batched
// Jacobian J[i][j][k] = s[i][j] * (delta_jk - s[i][k]) beside its definition by two einsums.
import { rowMax, softmax, softmaxJacobian } from 'softmax-native';

const classes = ['cat', 'dog', 'tiger', 'none'];

// The activations of layer L - 1 (m = 3 nodes), and the weights and biases of layer L (n = 4 nodes). The
// values are chosen so that W A + b gives the tutorial's four logits exactly, in float64 and in the order of
// layer() below.
const A = [0.8, 0.3, 0.5];
const W = [
  [0.6, 0.4, 0.7],
  [1.9, 0.4, 0.8],
  [0.4, 0.2, 0.4],
  [-0.3, 0.2, 0.0],
];
const b = [0.3, 0.4, 0.2, 0.3];

const tutorialLogits = [1.25, 2.44, 0.78, 0.12];
const tutorialProbabilities = [
  0.19101770813831334, 0.627890718698843, 0.11938650086860875, 0.061705072294234845,
];

function main() {
  const Z = layer(W, A, b);
  console.log(`Z = W A + b = [${Z.join(', ')}]`);
  check(
    Z.every((z, i) => z === tutorialLogits[i]),
    `the layer gives the logits [${tutorialLogits.join(', ')}]`,
  );

  const probabilities = softmax(Z);
  classes.forEach((name, i) => {
    const apart = ulpsBetween(probabilities[i], tutorialProbabilities[i]);
    console.log(`Probability (${name}) = ${probabilities[i]}   (${apart} ulp from the tutorial's)`);
    check(apart <= 2, `the probability of ${name} is within 2 ulp of the tutorial's`);
  });
  const best = rowMax(probabilities).argmax[0];
  console.log(`The image shows: ${classes[best]}\n`);

  // Rows are samples and columns are classes, as in the tutorial's Softmax(x).
  const batch = [Z, layer(W, [0.1, 0.9, 0.2], b), layer(W, [-0.7, 0.1, -0.9], b)];
  const s = softmax(batch);
  console.log(`A batch (N, k) = (${batch.length}, ${classes.length}):`);
  s.forEach((row, i) => console.log(`  sample ${i}: ${decimals(row)}   sum ${decimals([sum(row)])}`));

  const jacobian = softmaxJacobian(batch);
  const definition = jacobianByEinsum(s).flat(2);
  console.log('\nThe Jacobian of sample 0; row j holds the derivatives of the probability of class j:');
  jacobian[0].forEach((row, j) => console.log(`  ${classes[j].padEnd(5)} ${decimals(row)}`));

  const differences = jacobian.flat(2).map((value, i) => Math.abs(value - definition[i]));
  const largest = Math.max(...differences);
  console.log(`\nLargest difference from the einsum definition over the batch: ${largest.toExponential(1)}`);
  check(differences.length === 3 * 4 * 4 && largest <= 2 ** -51, 'the Jacobian agrees with its definition');
}

function layer(weights, inputs, biases) {
  return weights.map((row, i) => sum(row.map((w, j) => w * inputs[j])) + biases[i]);
}

// einsum('ij,jk->ijk', s, eye) - einsum('ij,ik->ijk', s, s)
function jacobianByEinsum(s) {
  return s.map((row) => row.map((sj, j) => row.map((sk, k) => sj * (j === k ? 1 : 0) - sj * sk)));
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function decimals(row) {
  return row.map((value) => value.toFixed(6).padStart(9)).join(' ');
}

// How many float64 numbers apart two positive numbers are: positive doubles are ordered as their bits are.
function ulpsBetween(x, y) {
  const bits = new BigInt64Array(new Float64Array([x, y]).buffer);
  return Math.abs(Number(bits[0] - bits[1]));
}

function check(holds, claim) {
  if (holds) return;
  console.error(`Not so: ${claim}`);
  process.exitCode = 1;
}

main();
