// `npm run docs`: whatever the package exports is documented, no link in its documentation is broken, and the reference
// is written.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import * as library from '../../lib/index.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const cannotInstall = 3;

it('makes the API reference of everything that is exported', ({ skip }) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['native/tools/docs/make.mjs'], {
    cwd: root,
    encoding: 'utf8',
  });
  skip(status === cannotInstall, 'TypeDoc could not be installed: without network?');
  expect(status, `${stdout}${stderr}`).toBe(0);
  for (const name of Object.keys(library)) {
    const pages = ['functions', 'classes'].map((kind) => `build/docs/${kind}/${name}.html`);
    expect(
      pages.some((page) => existsSync(path.join(root, page)) || existsSync(inModule(page, name))),
      name,
    ).toBe(true);
  }
  expect(readFileSync(path.join(root, 'build/docs/index.html'), 'utf8')).toContain('softmax-native');
});

/** With several entries the names of pages begin with that of the module. */
function inModule(page: string, name: string): string {
  return path.join(root, page.replace(`${name}.html`, `index.${name}.html`));
}
