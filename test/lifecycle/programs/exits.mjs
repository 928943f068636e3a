import { compute } from './compute.mjs';

process.on('exit', compute);
compute();
process.exit(0);
