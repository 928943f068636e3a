// How candidates are timed: in rounds in which all take turns, so that whatever else the machine does in a moment meets
// all of them, and with ratios formed within a round.
//
// A candidate is { peer, variant, time }, where `await time(calls, awake)` gives the nanoseconds that so many calls took,
// and afterwards, unless `awake`, waits until its threads are asleep.
// `group` says what it is: 'call', a whole call as a program makes it; 'kernel', this library's kernel without Node;
// 'roof', a copy or a fill. `variant` is 'out' for results in memory used again, or 'fresh' for new results.
import { median, quantile, random } from './support.mjs';

const warmUpNanoseconds = 50e6; // JavaScript is compiled for speed by then

/**
 * Times every candidate and returns what is known of it. `budget` is how long all rounds may take together, and
 * `slowest` how long one call may take to be called more than once, in seconds; a sample lasts `sample` nanoseconds or
 * one call. Those far slower than the fastest take part in three rounds only.
 */
export async function compare(candidates, options) {
  const { budget, sample, fewestRounds, mostRounds, slowest, onTurn = () => {} } = options;
  const entrants = [];
  for (const candidate of candidates) {
    onTurn(candidate);
    entrants.push(await warmUp(candidate, sample, slowest * 1e9));
  }
  const running = entrants.filter(({ once, failure }) => !once && failure === undefined);
  const fastest = Math.min(...running.map(({ estimate }) => estimate));
  for (const entrant of running) {
    entrant.slow = entrant.estimate > 15 * fastest && entrant.estimate > 2 * sample;
  }
  const cost = running.reduce((sum, e) => sum + (e.slow ? 0 : 1.3 * e.calls * e.estimate + 5e6), 0);
  const rounds = Math.max(fewestRounds, Math.min(mostRounds, Math.floor((budget * 1e9) / cost)));
  const slowEvery = Math.ceil(rounds / 3);

  const next = random(1);
  for (let round = 0; round < rounds; round++) {
    // In another order each time: what one leaves behind in caches and memory is not always met by the same one.
    for (const entrant of shuffled(running, next)) {
      if (entrant.failure !== undefined || (entrant.slow && round % slowEvery !== 0)) continue;
      onTurn(entrant.candidate, round, rounds);
      await attempt(entrant, async () => {
        // After a pause its threads, caches and clocks need a call to wake up.
        if (entrant.calls > 1) await entrant.candidate.time(1, true);
        entrant.samples[round] = (await entrant.candidate.time(entrant.calls)) / entrant.calls;
      });
    }
  }
  return entrants.map(resultOf);
}

/** After Fisher and Yates. */
function shuffled(items, next) {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

async function warmUp(candidate, sample, slowNanoseconds) {
  const entrant = { candidate, samples: [], calls: 1, estimate: Infinity };
  await attempt(entrant, async () => {
    // The first call may compile or find memory that the system has yet to hand out.
    let nanoseconds = await candidate.time(1);
    nanoseconds = Math.min(nanoseconds, await candidate.time(1));
    entrant.estimate = nanoseconds;
    if (nanoseconds > slowNanoseconds) {
      entrant.samples[0] = nanoseconds;
      entrant.once = true;
      return;
    }
    let calls = 1;
    for (let spent = nanoseconds; spent < warmUpNanoseconds; spent += nanoseconds) {
      nanoseconds = await candidate.time(calls);
      entrant.estimate = nanoseconds / calls;
      if (nanoseconds < warmUpNanoseconds / 8) calls *= 2;
    }
    entrant.calls = Math.max(1, Math.round(sample / entrant.estimate));
  });
  return entrant;
}

async function attempt(entrant, run) {
  try {
    await run();
  } catch (error) {
    entrant.failure = error instanceof Error ? error.message : String(error);
  }
}

function resultOf({ candidate, samples, calls, failure }) {
  const { peer, variant, group, bytes, threads } = candidate;
  const known = { peer, variant, group, bytes, threads };
  if (failure !== undefined) return { ...known, failure };
  const times = samples.filter((time) => time !== undefined);
  return {
    ...known,
    calls,
    rounds: times.length,
    median: median(times),
    quartiles: [quantile(times, 0.25), quantile(times, 0.75)],
    min: Math.min(...times),
    samples,
  };
}

/** How many times as long `other` takes as `own`: the median over the rounds in which both were timed. */
export function ratioOf(other, own) {
  const ratios = [];
  other.samples.forEach((time, round) => {
    if (time !== undefined && own.samples[round] !== undefined) ratios.push(time / own.samples[round]);
  });
  return ratios.length > 0 ? median(ratios) : other.median / own.median;
}
