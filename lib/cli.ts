#!/usr/bin/env node
// The command `softmax-native`.
import { parseArgs } from 'node:util';
import { packageVersion } from './device.ts';
import { examine } from './doctor.ts';
import { inWords } from './doctorText.ts';

const usage = `Usage: softmax-native doctor [--json]

doctor     Says what computes here and why: versions, native library, instruction set, threads, GPUs. Computes some
           inputs with every function, on the CPU and on every GPU that can be used, and compares the bits of the results
           with those that they should have.

--json     Prints the same as JSON.
--help     Prints this.
--version  Prints the version of the package.

Exit code: 0 where everything works (no GPU is no failure), 1 where something does not, and it says what to do, 2 for
another command line than these.
`;

process.exitCode = run(process.argv.slice(2));

function run(args: string[]): number {
  let parsed;
  try {
    parsed = parse(args);
  } catch (error) {
    // Node.js goes on to explain what a command with other arguments could do.
    return refuse((error as Error).message.replace(/\. .*$/s, '.'));
  }
  const { values, positionals } = parsed;
  if (values.help) return print(usage);
  if (values.version) return print(`${packageVersion()}\n`);
  if (positionals.length !== 1 || positionals[0] !== 'doctor') {
    return refuse(`Expected the command doctor but received ${positionals.join(' ') || 'none'}`);
  }
  const report = examine();
  print(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : inWords(report));
  return report.ok ? 0 : 1;
}

function parse(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
      version: { type: 'boolean', short: 'v', default: false },
    },
  });
}

function print(text: string): 0 {
  process.stdout.write(text);
  return 0;
}

function refuse(what: string): 2 {
  process.stderr.write(`${what}\n\n${usage}`);
  return 2;
}
