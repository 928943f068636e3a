// An error that nobody catches while calls in the background are under way.
import { start } from './compute-later.mjs';

start();
setTimeout(() => {
  throw new Error('thrown on purpose');
}, 20);
