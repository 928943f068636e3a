// A softmax classifier that learns to read handwritten digits: p = softmax(W x + b), trained by mini-batch
// gradient descent on the cross-entropy, whose gradient in the logits is p - y. It then reads digits it has
// never seen, shows a few of them, and uses the Jacobian of softmax to say how their probabilities react when
// one logit rises.
import { deviceInfo, rowMax, softmax, softmaxJacobian } from 'softmax-native';
import { classes, drawDigit, loadDigits, pixels, randomIntegers, shuffle } from './digits.mjs';

// Chosen by training on three quarters of the training digits and testing on the rest of them, so that the
// unseen digits had no part in it.
const batchSize = 100;
const learningRate = 0.3;
const epochs = 20;

const unseenCount = 2000;
const seed = 20260101;
const wantedAccuracy = 0.9;
const logitStep = 0.1;

const time = { softmax: 0, calls: 0, rows: 0 };

function main() {
  const { training, unseen } = loadDigits(unseenCount, seed);
  console.log(`${training.count} digits to learn from, ${unseen.count} kept unseen.\n`);

  const model = { weights: new Float32Array(pixels * classes), biases: new Float32Array(classes) };
  train(model, training);

  const everyUnseen = Uint32Array.from({ length: unseen.count }, (_, i) => i);
  const logits = new Float32Array(unseen.count * classes);
  layer(model, unseen, everyUnseen, logits);
  const probabilities = timedSoftmax(logits, unseen.count);
  const { argmax: answers } = rowMax(probabilities, { shape: [unseen.count, classes] });

  const right = everyUnseen.filter((i) => answers[i] === unseen.labels[i]);
  const wrong = everyUnseen.filter((i) => answers[i] !== unseen.labels[i]);
  const accuracy = right.length / unseen.count;
  console.log(
    `\nUnseen digits: ${right.length} of ${unseen.count} read correctly, accuracy ${percent(accuracy)}`,
  );
  check(accuracy >= wantedAccuracy, `the accuracy is at least ${percent(wantedAccuracy)}`);

  const shown = [...right.slice(0, 2), ...wrong.slice(0, 3)];
  for (const i of shown) showDigit(unseen, i, answers[i], row(probabilities, i));
  raiseOneLogit(unseen, shown, logits, probabilities, answers);

  console.log(`\nDevice: ${describeDevice()}`);
  console.log(
    `Time: softmax ${time.softmax.toFixed(1)} ms in ${time.calls} calls (${time.rows} rows of ${classes}), ` +
      `in all ${(performance.now() / 1000).toFixed(1)} s`,
  );
}

function train(model, digits) {
  const order = Uint32Array.from({ length: digits.count }, (_, i) => i);
  const below = randomIntegers(seed);
  const logits = new Float32Array(batchSize * classes);
  const probabilities = new Float32Array(batchSize * classes);

  for (let epoch = 1; epoch <= epochs; epoch++) {
    shuffle(order, below);
    const seen = { digits: 0, correct: 0, loss: 0 };
    for (let start = 0; start < digits.count; start += batchSize) {
      const batch = order.subarray(start, start + batchSize);
      layer(model, digits, batch, logits);
      timedSoftmax(logits.subarray(0, batch.length * classes), batch.length, probabilities);
      score(digits, batch, probabilities, seen);
      descend(model, digits, batch, probabilities);
      reportProgress(epoch, seen, digits.count);
    }
  }
}

// Row r of the logits is W x + b for the image x of digit picked[r]. weights[i * classes + c] joins pixel i to
// class c, so that a blank pixel, and four in five are blank, skips one contiguous stretch of them.
function layer({ weights, biases }, { images }, picked, logits) {
  for (let r = 0; r < picked.length; r++) {
    const z = row(logits, r);
    z.set(biases);
    const image = picked[r] * pixels;
    for (let i = 0; i < pixels; i++) {
      const ink = images[image + i];
      if (ink === 0) continue;
      for (let c = 0; c < classes; c++) z[c] += ink * weights[i * classes + c];
    }
  }
}

// One step against the gradient of the batch's mean cross-entropy: p - y for the biases, x (p - y) for the
// weights.
function descend({ weights, biases }, { images, labels }, batch, probabilities) {
  const step = learningRate / batch.length;
  const move = new Float32Array(classes);
  for (let r = 0; r < batch.length; r++) {
    const p = row(probabilities, r);
    for (let c = 0; c < classes; c++) move[c] = step * (p[c] - (c === labels[batch[r]] ? 1 : 0));
    for (let c = 0; c < classes; c++) biases[c] -= move[c];
    const image = batch[r] * pixels;
    for (let i = 0; i < pixels; i++) {
      const ink = images[image + i];
      if (ink === 0) continue;
      for (let c = 0; c < classes; c++) weights[i * classes + c] -= ink * move[c];
    }
  }
}

// The loss and the right answers of a batch, as the model was before it learned from this batch.
function score({ labels }, batch, probabilities, seen) {
  const { argmax } = rowMax(probabilities.subarray(0, batch.length * classes), {
    shape: [batch.length, classes],
  });
  for (let r = 0; r < batch.length; r++) {
    const label = labels[batch[r]];
    // A probability below 2^-126 comes as +0, whose logarithm would make the mean infinite.
    seen.loss -= Math.log(Math.max(row(probabilities, r)[label], 2 ** -126));
    seen.correct += argmax[r] === label ? 1 : 0;
  }
  seen.digits += batch.length;
}

// In a terminal one line is written over and over; in a file or a pipe every epoch leaves a line.
function reportProgress(epoch, seen, count) {
  const epochDone = seen.digits === count;
  const line =
    `epoch ${String(epoch).padStart(String(epochs).length)}/${epochs}  ` +
    `loss ${(seen.loss / seen.digits).toFixed(4)}  accuracy ${percent(seen.correct / seen.digits)}`;
  if (!process.stdout.isTTY) {
    if (epochDone) console.log(line);
    return;
  }
  const done = (epoch - 1 + seen.digits / count) / epochs;
  process.stdout.write(`\r${bar(done, 24).padEnd(24, '░')}  ${line}\x1b[K`);
  if (epochDone && epoch === epochs) process.stdout.write('\n');
}

function showDigit({ images, labels }, index, answer, p) {
  const label = labels[index];
  const verdict = answer === label ? 'right' : `wrong, it is a ${label}`;
  console.log(`\nUnseen image ${index}, read as ${answer}: ${verdict}`);
  drawDigit(images.subarray(index * pixels, (index + 1) * pixels)).forEach((drawn, y) => {
    const c = y - 2;
    const shows = c >= 0 && c < classes;
    console.log(
      shows ? `${drawn}   ${c} ${percent(p[c]).padStart(7)} ${bar(p[c], 24)}`.trimEnd() : drawn.trimEnd(),
    );
  });
}

// Entry [i][c] of a digit's Jacobian is the derivative of the probability of class i in the logit of class c:
// column c, times a small step of that logit, foretells what every probability gains or loses. The logit that
// rises is the right class's where the digit was misread, and the second choice's where it was not.
function raiseOneLogit({ labels }, shown, allLogits, allProbabilities, answers) {
  const logits = Float32Array.from(shown.flatMap((index) => [...row(allLogits, index)]));
  const jacobian = softmaxJacobian(logits, { shape: [shown.length, classes] });

  const before = shown.map((index) => row(allProbabilities, index));
  const raised = shown.map((index, r) => {
    return answers[index] === labels[index] ? secondChoice(before[r]) : labels[index];
  });
  raised.forEach((c, r) => (row(logits, r)[c] += logitStep));
  const after = timedSoftmax(logits, shown.length);

  console.log(`\nIf one logit rises by ${logitStep}, the Jacobian foretells (and softmax then gives):`);
  let largestDifference = 0;
  shown.forEach((index, r) => {
    const c = raised[r];
    const foretold = Array.from(before[r], (_, i) => jacobian[(r * classes + i) * classes + c] * logitStep);
    const actual = foretold.map((_, i) => row(after, r)[i] - before[r][i]);
    const loser = foretold.indexOf(Math.min(...foretold));
    console.log(
      `  image ${String(index).padStart(4)}, logit of ${c}:  ` +
        `${c} gains ${points(foretold[c])} points (${points(actual[c])}),  ` +
        `${loser} loses most: ${points(-foretold[loser])} points (${points(-actual[loser])})`,
    );
    largestDifference = Math.max(largestDifference, ...foretold.map((gain, i) => Math.abs(gain - actual[i])));
  });

  // What the Jacobian leaves out is at most step^2 / 2 times the largest second derivative, and
  // |p (1 - p) (1 - 2p)| never exceeds 1 / (6 sqrt 3). The last term is for the rounding of logits and
  // probabilities to float32.
  const bound = (logitStep ** 2 / 2) * (1 / (6 * Math.sqrt(3))) + 1e-5;
  const holds = largestDifference <= bound;
  console.log(
    `Jacobian check: largest difference ${points(largestDifference)} points, ` +
      `second-order bound ${points(bound)} points: ${holds ? 'ok' : 'exceeded'}`,
  );
  check(holds, 'the Jacobian foretells how the probabilities change');
}

function secondChoice(p) {
  const rest = p.slice();
  rest[rowMax(p).argmax[0]] = -1;
  return rowMax(rest).argmax[0];
}

function timedSoftmax(logits, rows, out) {
  const start = performance.now();
  const probabilities = softmax(logits, { shape: [rows, classes], out });
  time.softmax += performance.now() - start;
  time.calls += 1;
  time.rows += rows;
  return probabilities;
}

function describeDevice() {
  const { backend, isa, threads, defaultDevice, cuda } = deviceInfo();
  if (defaultDevice.startsWith('cuda') && cuda.available) {
    const [, index = '0'] = defaultDevice.split(':');
    return `${cuda.devices[Number(index)].name}, as the default device asks`;
  }
  return `${backend.toUpperCase()}, ${isa} instructions, up to ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
}

function row(array, r) {
  return array.subarray(r * classes, (r + 1) * classes);
}

function bar(share, width) {
  return '█'.repeat(Math.round(share * width));
}

function percent(share) {
  return `${(share * 100).toFixed(2)} %`;
}

function points(share) {
  return (share * 100).toFixed(3);
}

function check(holds, claim) {
  if (holds) return;
  console.error(`Not so: ${claim}`);
  process.exitCode = 1;
}

main();
