// The loops that time candidates in this process.
import { compileFunction } from 'node:vm';

// Compiled anew for each candidate: a loop that served all of them could not inline any.
const loop = (wait) => `
  return ${wait ? 'async ' : ''}(calls) => {
    let { slot, result } = rotation;
    const start = now();
    for (let i = 0; i < calls; i++) {
      result = ${wait ? 'await ' : ''}call(slot);
      if (++slot === slots) slot = 0;
    }
    const nanoseconds = Number(now() - start);
    rotation.slot = slot;
    rotation.result = result;
    return nanoseconds;
  };`;

/**
 * time(calls) for call(slot), which is awaited where `wait` says so. Slots are used in turn, also from one candidate to
 * the next where they share a rotation, so that none finds in the cache what the one before it left there. The last
 * result stays in rotation.result.
 */
export function timerOf({ call, wait = false }, slots, rotation = { slot: 0 }) {
  const make = compileFunction(loop(wait), ['call', 'slots', 'rotation', 'now']);
  return make(call, slots, rotation, process.hrtime.bigint);
}

/**
 * Waits until this process uses no processor time: threads of a library that spin after a call, in case another call
 * follows, are not to slow down the next candidate.
 */
export async function quiet() {
  for (let i = 0; i < 25; i++) {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 2));
    const { user, system } = process.cpuUsage(before);
    if (user + system < 700) return;
  }
}
