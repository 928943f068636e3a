// A line chart with logarithmic axes, as SVG that can be read on light and on dark pages.

const width = 860;
const height = 460;
const left = 56;
const right = 190; // the legend
const top = 40;
const bottom = 48;

const colours = [
  '#e8590c',
  '#1c7ed6',
  '#2b8a3e',
  '#9c36b5',
  '#e8a100',
  '#0b9aa8',
  '#e64980',
  '#8c6d53',
  '#5c7cfa',
  '#74b816',
  '#c92a2a',
  '#099268',
];
const grey = '#868e96';
const dashes = ['6 4', '12 4', '2 3', '10 3 2 3'];

/** `lines` are { name, points: [{ x, y }], style: 'bold' | 'plain' | 'dashed' }, all numbers above 0. */
export function lineChart({ title, lines, xLabel, yLabel }) {
  const points = lines.flatMap((line) => line.points);
  const xAxis = axisOf(
    points.map(({ x }) => x),
    10,
    left,
    width - right,
  );
  const yAxis = axisOf(
    points.map(({ y }) => y),
    2,
    height - bottom,
    top,
  );
  const grid = [
    ...xAxis.ticks.map((x) => {
      const at = xAxis.place(x);
      return [
        `<line class="grid" x1="${at}" y1="${top}" x2="${at}" y2="${height - bottom}"/>`,
        `<text x="${at}" y="${height - bottom + 18}" text-anchor="middle">${label(x)}</text>`,
      ];
    }),
    ...yAxis.ticks.map((y) => {
      const at = yAxis.place(y);
      return [
        `<line class="grid" x1="${left}" y1="${at}" x2="${width - right}" y2="${at}"/>`,
        `<text x="${left - 8}" y="${at + 4}" text-anchor="end">${label(y)}</text>`,
      ];
    }),
  ].flat();
  const place = ({ x, y }) => `${xAxis.place(x)},${yAxis.place(y)}`;
  let dashed = 0;
  let solid = 0;
  const drawn = lines.map(({ name, points: own, style }, i) => {
    const look =
      style === 'dashed'
        ? `stroke="${grey}" stroke-width="1.5" stroke-dasharray="${dashes[dashed++ % dashes.length]}"`
        : `stroke="${colours[solid++ % colours.length]}" stroke-width="${style === 'bold' ? 3.5 : 1.5}"`;
    const at = top + 8 + 20 * i;
    return [
      `<polyline fill="none" ${look} points="${own.map(place).join(' ')}"/>`,
      `<line ${look} x1="${width - right + 16}" y1="${at}" x2="${width - right + 44}" y2="${at}"/>`,
      `<text x="${width - right + 52}" y="${at + 4}"${style === 'bold' ? ' font-weight="bold"' : ''}>${name}</text>`,
    ].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">
<style>
text { font: 12px system-ui, sans-serif; fill: #343a40; }
.grid { stroke: #868e96; stroke-opacity: 0.3; }
@media (prefers-color-scheme: dark) { text { fill: #dee2e6; } }
</style>
<text x="${left}" y="22" font-weight="bold">${title}</text>
${grid.join('\n')}
<text x="${(left + width - right) / 2}" y="${height - 10}" text-anchor="middle">${xLabel}</text>
<text x="${left - 8}" y="${top - 10}" text-anchor="end">${yLabel}</text>
${drawn.join('\n')}
</svg>
`;
}

/** A logarithmic axis from `start` to `end` in pixels, with ticks at powers of `base`, or of its square where that is many. */
function axisOf(values, base, start, end) {
  const decades = Math.log(Math.max(...values) / Math.min(...values)) / Math.log(base);
  if (decades > 8) return axisOf(values, base ** 2, start, end);
  const exponents = values.map((value) => Math.log(value) / Math.log(base));
  // Rounding of the logarithm must not add a tick.
  const low = Math.floor(Math.min(...exponents) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.max(...exponents) - 1e-9));
  return {
    ticks: Array.from({ length: high - low + 1 }, (_, i) => base ** (low + i)),
    place(value) {
      const part = (Math.log(value) / Math.log(base) - low) / (high - low);
      return Number((start + part * (end - start)).toFixed(1));
    },
  };
}

function label(value) {
  if (value >= 1e6) return `${value / 1e6} M`;
  if (value >= 1e3) return `${value / 1e3} K`;
  return String(Number(value.toPrecision(2)));
}
