// Ends by the signal SIGTERM while calls in the background are under way; with an argument, by its own handler.
import { start } from './compute-later.mjs';

if (process.argv[2] === 'handled') process.on('SIGTERM', () => process.exit(0));
start();
setInterval(start, 50);
setTimeout(() => process.kill(process.pid, 'SIGTERM'), 30);
