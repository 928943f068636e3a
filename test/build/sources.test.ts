// What the native sources may say: includes follow the layers addon -> {cpu, cuda} -> ops -> numerics, Node-API stays in
// native/addon, and nothing anywhere relaxes floating-point arithmetic.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const native = path.join(root, 'native');

// Which layers each layer may include, itself among them. The addon reaches everything through the back ends.
const mayInclude: Record<string, string[]> = {
  numerics: ['numerics'],
  ops: ['ops', 'numerics'],
  cpu: ['cpu', 'ops', 'numerics'],
  cuda: ['cuda', 'ops', 'numerics'],
  addon: ['addon', 'cpu', 'cuda'],
};

const sources = readdirSync(native, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.(h|inl|cc|cpp|cu|cuh)$/.test(file))
  .map((file) => ({
    file,
    layer: file.split(path.sep)[0] ?? '',
    text: readFileSync(path.join(native, file), 'utf8'),
  }));

function includesOf(text: string): { name: string; quoted: boolean }[] {
  return [...text.matchAll(/^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]/gm)].map(([, open, name]) => ({
    name: name ?? '',
    quoted: open === '"',
  }));
}

// The path below native/ that an include means, or undefined when it is none of ours.
function ownFile(name: string, includedBy: string): string | undefined {
  const candidates = [path.join(native, path.dirname(includedBy), name), path.join(native, name)];
  const found = candidates.find((candidate) => existsSync(candidate));
  return found && path.relative(native, found);
}

describe('native sources', () => {
  it('were found, in layers that are known', () => {
    expect(new Set(sources.map(({ layer }) => layer))).toContain('numerics');
    for (const { file, layer } of sources) expect(Object.keys(mayInclude), file).toContain(layer);
  });

  it('include only their own layer and those below it', () => {
    const wrong = sources.flatMap(({ file, layer, text }) =>
      includesOf(text).flatMap(({ name, quoted }) => {
        const target = ownFile(name, file);
        if (target === undefined) return quoted ? [`${file}: "${name}" is no file of native/`] : [];
        return mayInclude[layer]?.includes(target.split(path.sep)[0] ?? '')
          ? []
          : [`${file} includes ${target}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('use Node-API only in native/addon', () => {
    const users = sources.filter(({ text }) =>
      includesOf(text).some(({ name }) => /(^|\/)(node_api|napi|js_native_api)/.test(name)),
    );
    expect(users.length).toBeGreaterThan(0);
    expect(users.filter(({ layer }) => layer !== 'addon').map(({ file }) => file)).toEqual([]);
  });

  it('and the build files never relax floating-point arithmetic', () => {
    const relaxed =
      /-ffast-math|-Ofast|use_fast_math|-funsafe-math|-fassociative-math|-freciprocal-math|-ffinite-math|fp_contract\s+on|float_control|optimize\s*\(/i;
    const texts = [
      ...sources.map(({ file, text }) => ({ file: path.join('native', file), text })),
      ...['CMakeLists.txt', 'package.json'].map((file) => ({
        file,
        text: readFileSync(path.join(root, file), 'utf8'),
      })),
    ];
    expect(texts.filter(({ text }) => relaxed.test(text)).map(({ file }) => file)).toEqual([]);
  });
});
