// The goals for this library's speed, and how far the measured reports meet them.
import { duration, find, nameOf, ownName, roofOf, significant } from './tables.mjs';

/** The lines of the table of goals; a goal whose suite was not measured says so. */
export function goalLines(reports) {
  const { small, batch, rows, axis, jacobian, special, threads } = reports;
  const casesOf = (...suites) => suites.flatMap((report) => report?.cases ?? []);
  const inDram = ({ memory }) => memory === 'dram';
  const softmaxCases = casesOf(batch, rows).filter(inDram);
  const shortRows = softmaxCases.filter(({ k }) => k <= 32);
  const largeJacobians = casesOf(jacobian).filter(inDram);

  return [
    ['goal', 'wanted', 'measured', 'met', 'suite'],
    atLeast('small calls: fastest peer ÷ this library', 1, fastestPeers(casesOf(small)), 'small'),
    atLeast('batches: fastest peer ÷ this library', 1, fastestPeers(casesOf(batch)), 'batch'),
    atLeast('rows of any length: fastest peer ÷ this library', 1, fastestPeers(casesOf(rows)), 'rows'),
    atLeast('other axes: fastest peer ÷ this library', 1, fastestPeers(casesOf(axis)), 'axis'),
    atLeast('Jacobians: fastest peer ÷ this library', 1, fastestPeers(casesOf(jacobian)), 'jacobian'),
    atLeast('softmax in DRAM: speed ÷ non-temporal copy', 0.9, partsOfRoof(softmaxCases), 'batch, rows'),
    atLeast('softmax in DRAM: PyTorch ÷ this library', 1.3, times(softmaxCases, 'PyTorch'), 'batch, rows'),
    atLeast('k ≤ 32 in DRAM: fastest peer ÷ this library', 5, fastestPeers(shortRows), 'batch, rows'),
    atMost('other axes: time ÷ the last axis', 1.3, axisRatios(casesOf(axis)), 'axis'),
    atLeast('Jacobian in DRAM: speed ÷ non-temporal fill', 0.9, partsOfRoof(largeJacobians), 'jacobian'),
    atLeast('Jacobian: NumPy (einsum) ÷ this library', 4, times(casesOf(jacobian), 'NumPy'), 'jacobian'),
    atLeast('Jacobian: PyTorch ÷ this library', 2, times(casesOf(jacobian), 'PyTorch'), 'jacobian'),
    differenceFromPlainLoop(casesOf(small)),
    costOfNewResults(casesOf(batch)),
    atMost('k to k + 1: step of the time for an element ÷ vectors', 1.3, stepsBeyondVectors(rows), 'rows'),
    atMost('special rows: time ÷ ordinary rows', 2, specialRatios(special), 'special'),
    atLeast('loaded machine: speed of all threads ÷ one', 0.8, loadedSpeedUps(threads), 'threads'),
    atMost('chosen number of threads: time ÷ the better of 1 and all', 1.3, choices(threads), 'threads'),
    efficiency(threads),
  ];
}

// Values are { value, name }, where the name says at which case.

function atLeast(goal, wanted, values, suite) {
  return bounded(
    goal,
    `≥ ${wanted}`,
    values,
    suite,
    (a, b) => a - b,
    (value) => value >= wanted,
  );
}

function atMost(goal, wanted, values, suite) {
  return bounded(
    goal,
    `≤ ${wanted}`,
    values,
    suite,
    (a, b) => b - a,
    (value) => value <= wanted,
  );
}

/** The worst value counts, and the one in the middle is told beside it. */
function bounded(goal, wanted, values, suite, order, isMet) {
  if (values.length === 0) return notMeasured(goal, wanted, suite);
  const sorted = values.toSorted((a, b) => order(a.value, b.value));
  const worst = sorted[0];
  const middle = sorted[sorted.length >> 1];
  const met = sorted.filter(({ value }) => isMet(value)).length;
  const measured = `${significant(worst.value)} (${worst.name}); median ${significant(middle.value)}`;
  return [goal, wanted, measured, met === sorted.length ? 'yes' : `${met} of ${sorted.length}`, suite];
}

function notMeasured(goal, wanted, suite) {
  return [goal, wanted, 'not measured', '', suite];
}

/** How many times as long the fastest peer takes, with results of the same variant. */
function fastestPeers(cases) {
  return cases.flatMap((c) => {
    const peers = c.results.filter(
      (r) => r.group === 'call' && r.peer !== ownName && r.failure === undefined,
    );
    if (peers.length === 0) return [];
    const fastest = peers.reduce((a, b) => (b.ratio < a.ratio ? b : a));
    return { value: fastest.ratio, name: `${nameOf(c)}, ${fastest.peer}` };
  });
}

function times(cases, peer) {
  return cases.flatMap((c) =>
    c.results
      .filter((r) => r.peer === peer && r.failure === undefined)
      .map(({ ratio, variant }) => ({ value: ratio, name: `${nameOf(c)}, ${variant}` })),
  );
}

/** Whole calls beside the non-temporal copy or fill of the same rounds. */
function partsOfRoof(cases) {
  return cases.flatMap((c) => {
    const roof = roofOf(c);
    return roof === undefined ? [] : [{ value: roof.ratio, name: nameOf(c) }];
  });
}

/** The ratio that is known is that of as many rows along the last axis to the other axis. */
function axisRatios(cases) {
  return cases.map((c) => ({ value: 1 / find(c, ownName, 'last axis').ratio, name: nameOf(c) }));
}

function differenceFromPlainLoop(cases) {
  const goal = 'a call on 1 x 4: time − plain loop';
  const c = cases.find(({ dtype, outer, k }) => dtype === 'float32' && outer === 1 && k === 4);
  if (c === undefined) return notMeasured(goal, '≤ 100 ns', 'small');
  const [own, loop] = [ownName, 'JavaScript'].map((peer) => find(c, peer, 'out').median);
  const difference = own - loop;
  const measured = `${Math.round(difference)} ns (${duration(own)} and ${duration(loop)})`;
  return [goal, '≤ 100 ns', measured, difference <= 100 ? 'yes' : 'no', 'small'];
}

/** What a new result costs beside memory that is used again, with a tolerance of a twentieth of the call. */
function costOfNewResults(cases) {
  const goal = 'a new result: time − with `out`';
  const wanted = "≤ PyTorch's";
  const costs = cases.flatMap((c) => {
    const [out, fresh, peerOut, peerFresh] = [ownName, 'PyTorch'].flatMap((peer) =>
      ['out', 'fresh'].map((variant) => find(c, peer, variant)?.median),
    );
    if (peerOut === undefined || peerFresh === undefined) return [];
    const own = fresh - out;
    const peer = peerFresh - peerOut;
    return [{ name: nameOf(c), own, peer, excess: (own - Math.max(0, peer)) / out }];
  });
  if (costs.length === 0) return notMeasured(goal, wanted, 'batch');
  const worst = costs.reduce((a, b) => (b.excess > a.excess ? b : a));
  const met = costs.filter(({ excess }) => excess <= 0.05).length;
  const signed = (nanoseconds) => (nanoseconds < 0 ? `-${duration(-nanoseconds)}` : duration(nanoseconds));
  const measured = `${signed(worst.own)}, PyTorch ${signed(worst.peer)} (${worst.name})`;
  return [goal, wanted, measured, met === costs.length ? 'yes' : `${met} of ${costs.length}`, 'batch'];
}

function stepsBeyondVectors(report) {
  return (report?.steps ?? []).map(({ k, step, ofVectors }) => ({
    value: Math.max(step / ofVectors, ofVectors / step),
    name: `k = ${k}`,
  }));
}

function specialRatios(report) {
  return (report?.results ?? []).map(({ dtype, kind, ratio }) => ({
    value: ratio,
    name: `${dtype}, ${kind}`,
  }));
}

function loadedSpeedUps(report) {
  return (report?.loaded ?? [])
    .filter(({ threads }) => threads === report.threads)
    .map((result) => ({ value: result.speedUp, name: result.case }));
}

function choices(report) {
  return (report?.sizes ?? []).map(({ elements, one, all, chosen }) => ({
    value: chosen / Math.min(one, all),
    name: `${elements.toLocaleString('en')} logits`,
  }));
}

function efficiency(report) {
  const goal = 'efficiency of all threads, and from where on they are faster';
  if (report === undefined) return notMeasured(goal, '', 'threads');
  const percents = report.results
    .filter(({ threads }) => threads === report.threads)
    .map(({ speedUp, threads }) => Math.round((100 * speedUp) / threads));
  const slower = report.sizes.filter(({ one, all }) => all > one).map(({ elements }) => elements);
  const from = report.sizes.find(({ elements }) => elements > Math.max(0, ...slower));
  const measured =
    `${Math.min(...percents)} to ${Math.max(...percents)} % on ${report.threads} threads; ` +
    (from === undefined
      ? 'not up to 4,096,000 logits'
      : `from ${from.elements.toLocaleString('en')} logits on`);
  return [goal, '', measured, '', 'threads'];
}
