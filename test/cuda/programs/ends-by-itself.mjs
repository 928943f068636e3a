// Ends with tensors and page-locked arrays that nobody disposed of.
import { allocPinned, cudaDevice, softmax } from 'softmax-native';

globalThis.kept = [softmax(cudaDevice().tensor(new Float32Array(1e4))), allocPinned('float32', 1e4)];
softmax(globalThis.kept[1], { out: globalThis.kept[1], device: 'cuda' });
