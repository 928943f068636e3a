// Without the sanitizers a test would pass and say nothing.
import { readFileSync } from 'node:fs';
import { native } from '../../lib/binding.ts';

native();
const loaded = readFileSync('/proc/self/maps', 'utf8');
for (const needed of ['libasan.so', 'libubsan.so', '/build-sanitized/']) {
  if (!loaded.includes(needed))
    throw new Error(`${needed} is not in the process: run npm run test:sanitizers`);
}
