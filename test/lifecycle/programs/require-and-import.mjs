// The package by require() and by import in one process: one library, one class of errors.
import { createRequire } from 'node:module';
import vm from 'node:vm';
import * as imported from 'softmax-native';
import * as promises from 'softmax-native/promises';

const require = createRequire(import.meta.url);
const required = require('softmax-native');
if (required.CudaError !== imported.CudaError) throw new Error('two packages');
const requiredPromises = require('softmax-native/promises');
const x = new Float32Array(40_000).fill(1);
const [a, b] = await Promise.all([promises.softmax(x), requiredPromises.softmax(x)]);
if (a[0] !== b[0] || a[0] !== required.softmax(x)[0]) throw new Error('other probabilities');

// Code of another realm calls it, and its realm is dropped while it does.
for (let i = 0; i < 20; i++) {
  const context = vm.createContext({ softmax: imported.softmax, later: promises.softmax });
  const half = vm.runInContext('softmax(new Float32Array(2))[0]', context);
  const later = vm.runInContext('later(new Float32Array(40000).fill(1))', context);
  if (half !== 0.5 || (await later)[0] !== a[0]) throw new Error('other probabilities in a context');
}
