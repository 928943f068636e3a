// process.exit() while calls in the background use the GPU, the first of which came after one on the CPU.
import { softmax } from 'softmax-native/promises';

const x = Float32Array.from({ length: 1 << 20 }, (_, i) => i % 13);
const options = { shape: [1 << 10, 1 << 10] };
await softmax(x, { ...options, device: 'cpu' });
await softmax(x, { ...options, device: 'cuda' });
for (let i = 0; i < 8; i++) void softmax(x, { ...options, device: 'cuda' });
setTimeout(() => process.exit(0), 10);
