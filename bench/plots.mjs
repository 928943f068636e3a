// The plots of a report: GB/s against the length of a row.
import { lineChart } from './svg.mjs';

/** [file name, SVG] for each plot that a report gives. */
export function plotsOf(report) {
  if (report.benchmark === 'rows') {
    return [
      ['rows.svg', plot(report, report.cases, 'Softmax of float32 in DRAM: GB/s by the length of a row')],
    ];
  }
  if (report.benchmark === 'jacobian') {
    const cases = report.cases.filter(({ dtype, memory }) => dtype === 'float32' && memory === 'dram');
    return [
      [
        'jacobian.svg',
        plot(report, cases, 'Jacobian of softmax, float32 in DRAM: GB/s by the length of a row'),
      ],
    ];
  }
  return [];
}

function plot({ peers }, cases, title) {
  const names = [
    'softmax-native',
    ...peers.filter(({ absent }) => absent === undefined).map(({ name }) => name),
    'memcpy',
    'non-temporal copy',
    'fill',
    'non-temporal fill',
  ];
  const lines = names
    .map((name) => ({
      name,
      points: cases.flatMap((c) => {
        const results = c.results.filter(({ peer, failure }) => peer === name && failure === undefined);
        if (results.length === 0) return [];
        return [{ x: c.k, y: Math.max(...results.map((result) => result.gigabytesPerSecond)) }];
      }),
      style: name === 'softmax-native' ? 'bold' : cases[0].results.some(isRoof(name)) ? 'dashed' : 'plain',
    }))
    .filter(({ points }) => points.length > 0);
  return lineChart({ title, lines, xLabel: 'k', yLabel: 'GB/s' });
}

function isRoof(name) {
  return ({ peer, group }) => group === 'roof' && peer === name;
}
