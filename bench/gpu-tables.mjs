// What README.md and bench/gpu-notes.md say of bench/results/gpu.json.
import { significant, tableOf } from './tables.mjs';

const megabytes = 2 ** 20;

// The cases of README.md's table.
const shown = [
  ['softmax', 10],
  ['softmax', 100],
  ['softmax', 1000],
  ['softmax', 8192],
  ['softmax', 131_072],
  ['softmax', 1_000_000],
  ['softmax', 2 ** 20],
  ['rowMax', 10],
  ['rowMax', 1000],
  ['softmaxJacobian', 10],
  ['softmaxJacobian', 100],
  ['softmaxJacobian', 1000],
];

/** Kernels beside a copy and beside the libraries that were measured. */
export function gpuTable(report) {
  const peers = report.peers.libraries.filter(({ absent }) => absent === undefined);
  const lines = shown.flatMap(([operation, k]) => {
    // Of the same length the most rows; of 1,048,576 columns there are few only.
    const [own] = kernelsOf(report, operation)
      .filter(({ dtype, shape, misaligned }) => dtype === 'float32' && shape[1] === k && !misaligned)
      .filter(({ shape }) => shape.length === 2 && (k !== 2 ** 20 || shape[0] === 4))
      .toSorted((a, b) => b.shape[0] - a.shape[0]);
    if (own === undefined) return [];
    const cells = [
      `${operation} ${nameOf(own.shape)}`,
      `${significant(own.microseconds.median)} µs`,
      significant(own.bytes / own.microseconds.median / 1000),
      `${Math.round(100 * own.ratio)} %`,
      ...peers.map(({ peer }) => timesOf(report, peer, own)),
    ];
    return [cells];
  });
  return [
    tableOf([['', 'time', 'GB/s', 'of a copy', ...peers.map(({ peer }) => peer)], ...lines]),
    '',
    'Kernels on float32 tensors, and how many times as long each library takes for the same. “Of a copy” is the speed ' +
      `beside that of a copy of as many bytes (for the Jacobian, a fill) in the same run. ${machineOf(report)} ` +
      `${peers
        .map(({ peer, version }) => (peer === 'torch.compile' ? '' : `${peer} ${version}`))
        .filter(Boolean)
        .join(', ')}.`,
  ].join('\n');
}

/** The goals on a GPU, and how many of the measured cases meet them. */
export function gpuGoals(report) {
  const large = (operation) => kernelsOf(report, operation).filter(({ bytes }) => bytes >= 64 * megabytes);
  const last = (cases) => cases.filter(({ shape, misaligned }) => shape.length === 2 && !misaligned);
  const of = (dtype) => (c) => c.dtype === dtype;
  const softmax = last(large('softmax')).filter(({ shape }) => shape[0] > 16);
  const rowMax = last(large('rowMax'));
  const jacobians = large('softmaxJacobian');
  const ratio = (c) => ({ value: c.ratio, name: `${c.dtype} ${nameOf(c.shape)}` });
  const few = kernelsOf(report, 'softmax').find(
    ({ dtype, shape }) => dtype === 'float32' && String(shape) === `4,${2 ** 20}`,
  );
  const against = (peer) =>
    report.peers.cases
      .filter((c) => c.peer === peer)
      .map((c) => ({
        value: ratioOf(report, peer, kernelOf(report, c)),
        name: `${c.operation} ${nameOf(c.shape)}`,
      }));
  const bus = report.hostArrays
    .filter(({ pinned, shape }) => pinned && shape[0] * shape[1] >= 65_536 && shape[0] > 1)
    .map((c) => ({ value: c.ofTheBus, name: `${c.operation} ${nameOf(c.shape)}` }));
  const calls = report.calls.map(({ call, returns }) => ({ value: returns, name: call }));
  const right = report.hostArrays.map((c) => ({
    value: c.autoWasRight ? 1 : 0,
    name: `${c.operation} ${nameOf(c.shape)}, ${c.pinned ? 'pinned' : 'pageable'}`,
  }));
  const jax = against('JAX').filter(({ name }) => !/ [14] x /.test(name));
  const rows = [
    ...['float32', 'float64'].flatMap((dtype) => [
      atLeast(`softmax, ${dtype}: speed ÷ copy`, 0.9, softmax.filter(of(dtype)).map(ratio)),
      atLeast(`row max, ${dtype}: speed ÷ copy`, 0.9, rowMax.filter(of(dtype)).map(ratio)),
    ]),
    atMost('softmax, float32: time for a byte at k + 1 ÷ at k', 1.05, steps(softmax.filter(of('float32')))),
    atMost('softmax 4 x 1,048,576: time ÷ copy', 1.5, [{ value: 1 / few.ratio, name: 'float32' }]),
    atLeast('Jacobian, float32: speed ÷ fill', 0.95, jacobians.filter(of('float32')).map(ratio)),
    atLeast(
      'Jacobian: PyTorch (diag_embed − bmm) ÷ this library',
      4,
      against('PyTorch').filter(({ name }) => /Jacobian/.test(name)),
    ),
    ...['PyTorch', 'torch.compile', 'CuPy', 'Triton'].map((peer) =>
      atLeast(`${peer} ÷ this library`, 1, against(peer)),
    ),
    atLeast('JAX ÷ this library (many rows: its times are those of the host)', 1, jax),
    atLeast('pinned arrays of the host: speed ÷ the slower way of the bus', 0.8, bus),
    atLeast("'auto' was right (1) or not (0)", 1, right),
    atMost('a call on tensors, µs', 10, calls),
  ];
  return [tableOf([['goal', 'wanted', 'measured', 'met'], ...rows]), '', machineOf(report)].join('\n');
}

function kernelsOf(report, operation) {
  return report.kernels.filter((c) => c.operation === operation);
}

function kernelOf(report, { operation, shape }) {
  return report.kernels.find(
    (c) =>
      c.operation === operation &&
      c.dtype === 'float32' &&
      !c.misaligned &&
      String(c.shape) === String(shape),
  );
}

/** How many times as long a library takes; undefined where it was not measured. */
function ratioOf(report, peer, own) {
  const other = report.peers.cases.find(
    (c) => c.peer === peer && c.operation === own.operation && String(c.shape) === String(own.shape),
  );
  return other && other.microseconds.median / own.microseconds.median;
}

function timesOf(report, peer, own) {
  const ratio = ratioOf(report, peer, own);
  return ratio === undefined ? '' : significant(ratio);
}

function steps(cases) {
  return cases.flatMap((before) => {
    const after = cases.find(({ shape }) => shape[1] === before.shape[1] + 1);
    if (after === undefined) return [];
    const time = (c) => c.microseconds.median / c.bytes;
    return [{ value: time(after) / time(before), name: `k = ${before.shape[1].toLocaleString('en')}` }];
  });
}

function atLeast(goal, wanted, values) {
  return line(
    goal,
    `≥ ${wanted}`,
    values,
    (a, b) => a.value - b.value,
    ({ value }) => value >= wanted,
  );
}

function atMost(goal, wanted, values) {
  return line(
    goal,
    `≤ ${wanted}`,
    values,
    (a, b) => b.value - a.value,
    ({ value }) => value <= wanted,
  );
}

function line(goal, wanted, values, order, isMet) {
  if (values.length === 0) return [goal, wanted, 'not measured', ''];
  const sorted = values.toSorted(order);
  const worst = sorted[0];
  const met = values.filter(isMet).length;
  const middle = values.length > 1 ? `; median ${significant(sorted[sorted.length >> 1].value)}` : '';
  return [
    goal,
    wanted,
    `${significant(worst.value)} (${worst.name})${middle}`,
    met === values.length ? 'yes' : `${met} of ${values.length}`,
  ];
}

function nameOf(shape) {
  return shape.map((size) => size.toLocaleString('en')).join(' x ');
}

function machineOf({ date, gpu, version, node }) {
  const { nvidiaSmi: smi } = gpu;
  const clocks = smi === undefined ? '' : `, ${smi['clocks.sm']}, driver ${smi.driver_version}`;
  return `${date}, softmax-native ${version}, ${gpu.name}${clocks}, Node.js ${node}.`;
}
