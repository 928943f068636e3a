// Runs the benchmarks one after another.
//
//   npm run bench -- [--suite NAME]... [--save] [--quick]
//
//   overhead       what a call costs beside its arithmetic
//   sizes          softmax and its Jacobian from 1 x 2 to 16 million logits, beside a plain JavaScript loop and a copy
//   special-rows   rows of subnormal results, masked rows and the like beside ordinary ones
//   idle           processor time between calls
//   accuracy       the worst errors in units in the last place
//   gpu            where there is a GPU: every kernel beside a copy and Python libraries, calls, arrays of the host
//
// --save writes bench/results/NAME.json for each; what is measured on a GPU, which is not always at hand, is written
// without it too. --quick measures fewer shapes there, and keeps nothing unless told to.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const suites = ['overhead', 'sizes', 'special-rows', 'idle', 'accuracy', 'gpu'];
const { values: options } = parseArgs({
  options: {
    suite: { type: 'string', multiple: true, default: suites },
    save: { type: 'boolean' },
    quick: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});

if (options.help) {
  console.log(`npm run bench -- [--suite ${suites.join('|')}]... [--save] [--quick]`);
  process.exit(0);
}
for (const suite of options.suite) {
  if (!suites.includes(suite)) {
    console.error(`Expected one of ${suites.join(', ')} for --suite but received ${suite}`);
    process.exit(2);
  }
}
for (const suite of options.suite) {
  const file = (name) => fileURLToPath(new URL(name, import.meta.url));
  const keep = options.save || (suite === 'gpu' && !options.quick);
  const save = keep ? ['--json', file(`results/${suite}.json`)] : [];
  const quick = options.quick && suite === 'gpu' ? ['--quick'] : [];
  console.log(`\n${suite}`);
  const { status } = spawnSync(process.execPath, [file(`${suite}.mjs`), ...save, ...quick], {
    stdio: 'inherit',
  });
  if (status !== 0) process.exit(status ?? 1);
}
