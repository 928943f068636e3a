// What the library says about itself, and what a call does, as JSON.
import { deviceInfo, softmax } from 'softmax-native';

const result = { policy: process.env.OMP_WAIT_POLICY ?? null, info: deviceInfo() };
try {
  result.probabilities = softmax([0, 0]);
} catch ({ name, code, message }) {
  result.error = { name, code, message };
}
console.log(JSON.stringify(result));
