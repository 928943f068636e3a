// The garbage collector, for tests of what is freed with an object.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Collects until `done`, or 20 times: what is freed with an object may be so some turns of the event loop later. */
export async function collectGarbage(done: () => boolean = () => false): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let turn = 0; turn < 20 && !done(); turn++) {
    collect();
    await new Promise(setImmediate);
  }
}
