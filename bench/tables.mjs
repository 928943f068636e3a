// Reports as tables, and numbers as text. It needs nothing but a report.

export const ownName = 'softmax-native';

/** A case in words. */
export function nameOf({ operation, dtype, shape, axis }) {
  const sizes = shape.map((size) => size.toLocaleString('en')).join(' x ');
  return `${operation} ${dtype} ${sizes}${axis < shape.length - 1 ? `, axis ${axis}` : ''}`;
}

/** A Markdown table, padded as the formatter of the repository does it; columns but the first are aligned right. */
export function tableOf([head, ...body]) {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...body].map((cells) => cells[column].length)),
  );
  const row = (cells) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [row(head), row(rule), ...body.map(row)].join('\n');
}

export function machineOf({ date, cpu, threads, isa, cacheBytes, node, quick, version }) {
  const cache =
    cacheBytes === undefined ? '' : `${Math.round(cacheBytes / 2 ** 20)} MB of last-level cache, `;
  return (
    `${date}, softmax-native ${version} (${isa}), ${cpu}, ${cache}` +
    `${threads} thread${threads === 1 ? '' : 's'}, Node.js ${node}` +
    (quick ? '. A quick run, whose figures are rough.' : '.')
  );
}

export function tablesOf(report) {
  const tables = [callTable(report), kernelTable(report)];
  if (report.forms !== undefined) tables.push(formTable(report));
  if (report.steps !== undefined) tables.push(stepTable(report));
  return tables;
}

export function find(c, peer, variant) {
  return c.results.find((r) => r.peer === peer && r.variant === variant && r.failure === undefined);
}

function callTable({ cases, peers }) {
  const present = peers.filter(({ absent }) => absent === undefined).map(({ name }) => name);
  const ratio = (c, peer, variant) => {
    const result = find(c, peer, variant);
    return result === undefined ? '' : significant(result.ratio);
  };
  const both = (c, peer) => {
    const ratios = ['out', 'fresh'].map((variant) => ratio(c, peer, variant));
    return ratios.every((text) => text === '') ? '' : ratios.map((text) => text || '-').join(' / ');
  };
  const measured = present.filter((peer) => cases.some((c) => both(c, peer) !== ''));
  const hasLastAxis = cases.some((c) => find(c, ownName, 'last axis') !== undefined);
  const lines = cases.map((c) => {
    const [out, fresh] = ['out', 'fresh'].map((variant) => find(c, ownName, variant));
    const [low, high] = out.quartiles;
    return [
      nameOf(c),
      duration(out.median),
      `${Math.round((50 * (high - low)) / out.median)} %`,
      significant(out.gigabytesPerSecond),
      duration(fresh.median),
      ...(hasLastAxis ? [duration(find(c, ownName, 'last axis').median)] : []),
      ...measured.map((peer) => both(c, peer)),
    ];
  });
  return {
    title:
      'Whole calls: what this library takes with `out` (± half of what lies between the quartiles) and with a new ' +
      'result, and how many times as long each peer takes, with its result in memory used again / new',
    lines: [
      ['case', 'out', '±', 'GB/s', 'new', ...(hasLastAxis ? ['last axis'] : []), ...measured],
      ...lines,
    ],
  };
}

function kernelTable({ cases }) {
  const roofs = ['memcpy', 'non-temporal copy', 'fill', 'non-temporal fill'];
  const speed = (c, name) => {
    const result = find(c, name, 'out');
    return result === undefined ? '' : significant(result.gigabytesPerSecond);
  };
  const lines = cases
    .filter((c) => find(c, 'kernel', 'out') !== undefined)
    .map((c) => {
      const kernel = find(c, 'kernel', 'out');
      const roof = roofOf(c);
      return [
        nameOf(c),
        duration(kernel.median),
        significant(kernel.gigabytesPerSecond),
        significant(1 / kernel.ratio),
        ...roofs.map((name) => speed(c, name)),
        roof === undefined ? '' : significant(kernel.gigabytesPerSecond / roof.gigabytesPerSecond),
      ];
    });
  return {
    title:
      'Kernels without Node: GB/s, the time of a whole call in that of its kernel, GB/s of memory with the same ' +
      'threads, and the kernel as a part of the non-temporal copy (for the Jacobian, fill)',
    lines: [['case', 'kernel', 'GB/s', 'call', ...roofs, 'part'], ...lines],
  };
}

/** What a case is held against: a copy, or for the Jacobian a fill, with non-temporal stores. */
export function roofOf(c) {
  return find(c, c.operation === 'softmax' ? 'non-temporal copy' : 'non-temporal fill', 'out');
}

function formTable({ forms }) {
  return {
    title: 'Forms of a call on one row of four logits',
    lines: [['call', 'ns'], ...forms.map(({ form, nanoseconds }) => [`\`${form}\``, String(nanoseconds)])],
  };
}

function stepTable({ steps }) {
  return {
    title:
      'The largest steps of the time for an element from k to k + 1, and what the number of vectors makes of it',
    lines: [
      ['k', 'step', 'of vectors'],
      ...steps.map(({ k, step, ofVectors }) => [String(k), significant(step), significant(ofVectors)]),
    ],
  };
}

/** A number with two or three digits that mean something. */
export function significant(number) {
  if (number >= 100) return Math.round(number).toLocaleString('en');
  return number.toFixed(number >= 10 ? 1 : 2);
}

export function duration(nanoseconds) {
  if (nanoseconds < 1e3) return `${significant(nanoseconds)} ns`;
  if (nanoseconds < 1e6) return `${significant(nanoseconds / 1e3)} µs`;
  if (nanoseconds < 1e9) return `${significant(nanoseconds / 1e6)} ms`;
  return `${significant(nanoseconds / 1e9)} s`;
}
