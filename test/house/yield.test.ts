import { expect, test } from "vitest";
import { sourcesUnder, type SourceText } from "./source.ts";
import { forgottenYields } from "./yield.ts";

/** A made-up room: procs of each kind that the project writes. */
const PROCS: SourceText = {
  path: "lib/sim/procs.ts",
  text: `
export type Proc<R = void> = Generator<number, R, void>;
export function* step(): Proc { yield 0; }
export function* read(): Proc<number> { yield 0; return 1; }
export function plain(): Proc<number> { return read(); }
export interface Ops { fault?(): Proc<number>; free(page: number): void }
export class Lock { *lock(): Proc { yield 0; } trylock(): boolean { return true; } }
export function each(f: (n: number) => void): void { f(1); }
export function run(p: Proc<unknown>): void { for (const _ of p); }
`,
};

/** A file whose third line begins a generator's body that uses PROCS. */
function bodyFile(path: string, body: string): SourceText {
  const head = 'import { each, Lock, type Ops, type Proc, plain, read, run, step } from "./procs.ts";\n' +
    "export function* body(ops: Ops, s: Lock, p: Proc | null, q: Proc, n: number): Proc<unknown> {\n";
  return { path, text: `${head}${body}\n}` };
}

test("no generator in lib/ or test/ is made and never run", () => {
  const sources = [...sourcesUnder("lib"), ...sourcesUnder("test")];
  expect(forgottenYields(sources)).toEqual([]);
});

const FORGOTTEN: readonly (readonly [body: string, why: string])[] = [
  ["step();", "a generator that nobody runs"],
  ["s.lock();", "a generator that nobody runs"],
  ["plain();", "a generator that nobody runs"],
  ["ops.fault?.();", "a generator that nobody runs"],
  ["(step() as Proc);", "a generator that nobody runs"],
  ["n > 0 && step();", "a generator that nobody runs"],
  ["n > 0 ? step() : n;", "a generator that nobody runs"],
  ["step(), n++;", "a generator that nobody runs"],
  ["void step();", "a generator that nobody runs"],
  ["for (step(); n < 0; n++);", "a generator that nobody runs"],
  ["for (; n < 0; step());", "a generator that nobody runs"],
  ["q;", "a generator that nobody runs"],
  ["yield step() as unknown as number;", "yield without a star hands the generator out unrun"],
  ["yield step();", "yield without a star hands the generator out unrun"],
  ["if (read()) n++;", "a generator taken for a truth value"],
  ["if (!plain()) n++;", "a generator taken for a truth value"],
  ["while (n > 0 && read()) n++;", "a generator taken for a truth value"],
  ["const rc = read(); if (rc) return rc;", "a generator taken for a truth value"],
  ["return read() ? 1 : 2;", "a generator taken for a truth value"],
  ["n += -read();", "a generator taken for a number"],
  ["return (read() as unknown as number) + 1;", "a generator taken for a value"],
  ["return read() === q;", "a generator taken for a value"],
  ["return `${read()}`;", "a generator taken for a string"],
  ["each((x) => plain());", "a generator function where the caller expects void"],
  ["each(function* () { yield 1; });", "a generator function where the caller expects void"],
  ["each(step);", "a generator function where the caller expects void"],
  ["const o: Ops = { *free() { yield 1; } };", "a generator function where the caller expects void"],
  ["const o: Ops = { free: step };", "a generator function where the caller expects void"],
  ["class O implements Ops { *free() { yield 1; } }", "a generator function where the caller expects void"],
  ["const f: () => void = step;", "a generator function where the caller expects void"],
];

// One program for all of them: most of the time goes into starting one.
const found = forgottenYields([
  PROCS,
  ...FORGOTTEN.map(([body], i) => bodyFile(`lib/sim/body${i}.ts`, body)),
]);

test.each(FORGOTTEN.map(([body, why], i) => ({ body, why, i })))("found: $body", ({ why, i }) => {
  const path = `lib/sim/body${i}.ts`;
  const here = found.filter((line) => line.startsWith(`${path}:`));
  expect(here).toEqual([expect.stringContaining(`${path}:3: ${why}: `)]);
});

test("a generator that runs, is handed on or is kept is left alone", () => {
  const body = `
yield* step();
yield* s.lock();
const got = yield* read();
if (yield* read()) n++;
n += yield* plain();
if (ops.fault) n += yield* ops.fault();
yield* n > 0 ? step() : s.lock();
if (p) yield* p;
if (p !== null && q !== p) n++;
run(step());
const kept = [step(), read()];
const actors = { a: step(), b: () => plain() };
let later: Proc | null = null;
later = step();
each((x) => { run(step()); });
each((x) => { n += x; });
q.next();
for (const _ of read()) n++;
yield 1;
const maybe = p ?? step();
return [got, kept, actors, later, maybe, yield* plain()];
`;
  expect(forgottenYields([PROCS, bodyFile("lib/sim/body.ts", body)])).toEqual([]);
});
