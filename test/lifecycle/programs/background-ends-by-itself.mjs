import { computeLater } from './compute-later.mjs';

await computeLater();
void computeLater(); // is waited for
