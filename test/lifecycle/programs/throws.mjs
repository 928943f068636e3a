import { compute } from './compute.mjs';

compute();
throw new Error('thrown on purpose');
