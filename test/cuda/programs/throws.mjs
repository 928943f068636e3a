// Ends by an error while a download is under way.
import { cudaDevice, softmax } from 'softmax-native';

const x = cudaDevice().tensor(new Float32Array(1e5));
setTimeout(() => {
  throw new Error('thrown on purpose');
});
await softmax(x).data();
await new Promise((resolve) => {
  setTimeout(resolve, 10_000);
});
