import { compute } from './compute.mjs';

compute();
