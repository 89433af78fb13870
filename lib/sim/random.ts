/**
 * Draws that are the same on any machine.
 * @module
 */

/**
 * One draw of sfc32 (C. Doty-Humphrey's small fast counting generator, PractRand).
 *
 * @param s its state, four words, which the draw changes
 * @returns 32 uniform bits
 */
export function sfc32(s: Uint32Array): number {
  const t = (((s[0] + s[1]) | 0) + s[3]) | 0;
  s[3] = s[3] + 1;
  s[0] = s[1] ^ (s[1] >>> 9);
  s[1] = s[2] + (s[2] << 3);
  s[2] = ((s[2] << 21) | (s[2] >>> 11)) + t;
  return t >>> 0;
}

/**
 * Seeds a generator.
 *
 * @param s takes the state, four words
 * @param seed a whole number from 0 to 2^53 - 1
 */
export function seedSfc32(s: Uint32Array, seed: number): void {
  s.set([seed >>> 0, Math.floor(seed / 0x1_0000_0000) >>> 0, 0x9e3779b9, 1]);
  for (let i = 0; i < 15; i++) sfc32(s);
}

/**
 * Numbers drawn from a seed.
 *
 * @param seed a whole number from 0 to 2^53 - 1
 * @returns a function that draws a whole number from 0 to `n` - 1
 *
 * @example
 * ```ts
 * const draw = draws(1);
 * console.log(draw(6) < 6, draws(1)(1000) === draws(1)(1000)); // true true
 * ```
 */
export function draws(seed: number): (n: number) => number {
  const s = new Uint32Array(4);
  seedSfc32(s, seed);
  return (n) => Math.floor((sfc32(s) / 0x1_0000_0000) * n);
}

/** Rounds of the network that {@link permutation} is made of. */
const ROUNDS = 4;

/**
 * A random permutation of 0 to `n` - 1 that takes no memory: a Feistel network over the next power of four, walked until
 * it lands inside.
 *
 * @param n how many numbers, 1 to 2^30
 * @param seed a whole number from 0 to 2^53 - 1
 * @returns a function from a number to where it goes
 *
 * @example
 * ```ts
 * const to = permutation(5, 1);
 * console.log([0, 1, 2, 3, 4].map(to).sort()); // [ 0, 1, 2, 3, 4 ]
 * ```
 */
export function permutation(n: number, seed: number): (i: number) => number {
  const half = Math.max(1, Math.ceil((32 - Math.clz32(Math.max(1, n - 1))) / 2)), mask = (1 << half) - 1;
  const keys = new Uint32Array(4);
  seedSfc32(keys, seed);
  const mix = (x: number, key: number): number => {
    let h = Math.imul(x ^ key, 0x2c1b3c6d);
    h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
    return (h ^ (h >>> 13)) & mask;
  };
  return (i) => {
    let x = i;
    do {
      let left = x >>> half, right = x & mask;
      for (let r = 0; r < ROUNDS; r++) [left, right] = [right, left ^ mix(right, keys[r])];
      x = ((left << half) | right) >>> 0;
    } while (x >= n);
    return x;
  };
}
