// Its environment ends in a handler of exit(), with tensors and work under way.
import { createRequire } from 'node:module';
import { cudaDevice, softmax } from 'softmax-native';

const { emulator } = createRequire(import.meta.url)(process.env.SOFTMAX_NATIVE_LIBRARY);
// Before the GPU is used, as handlers are called last first: by then the library must know that the process ends.
emulator.endInExit();
const x = cudaDevice().tensor(new Float32Array(1e5), { shape: [1000, 100] });
globalThis.kept = [x, softmax(x)];
void x.data();
process.exit(0);
