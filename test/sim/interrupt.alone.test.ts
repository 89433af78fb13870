/** Interrupts on kernels that are made up. */
import process from "node:process";
import { afterEach, expect, test, vi } from "vitest";
import { breathe, InterruptedError, jupyterKernel, watchInterrupts } from "../../lib/sim/interrupt.ts";

afterEach(() => vi.unstubAllGlobals());

const listeners = () => process.listenerCount("SIGINT");
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("in a script Ctrl-C keeps its meaning", async () => {
  expect(jupyterKernel()).toBeUndefined();
  const watch = watchInterrupts();
  await pause(5);
  expect(listeners()).toBe(0);
  watch.release();
  watch.release();
});

test("on Deno an interrupt is heard while something is watched for, and swallowed for two seconds after", async () => {
  vi.stubGlobal(
    "Deno",
    new Proxy(Deno, { get: (real, key) => key === "jupyter" ? {} : Reflect.get(real, key) }),
  );
  const watch = watchInterrupts(), other = watchInterrupts();
  expect(listeners()).toBe(1);
  expect(watch.raised).toBe(false);
  process.emit("SIGINT");
  expect([watch.raised, other.raised]).toEqual([true, true]);
  watch.release();
  const fresh = watchInterrupts();
  expect(fresh.raised).toBe(false);
  fresh.release();
  other.release();
  await pause(1000);
  // A second press must not end the kernel.
  expect(listeners()).toBe(1);
  await pause(1300);
  expect(listeners()).toBe(0);
});

test("on tslab the listener comes only after the part of a cell that runs at once", async () => {
  vi.stubGlobal("__tslab__", { require: () => {} });
  const watch = watchInterrupts();
  await Promise.resolve();
  expect(listeners()).toBe(0);
  await breathe();
  await pause(5);
  expect(listeners()).toBe(1);
  process.emit("SIGINT");
  expect(watch.raised).toBe(true);
  watch.release();
  // What was released before the listener could come leaves none behind.
  await pause(2300);
  watchInterrupts().release();
  await pause(5);
  expect(listeners()).toBe(0);
});

test("the error says what it is without instanceof", () => {
  const error = new InterruptedError("x");
  expect([error.name, String(error), error instanceof Error]).toEqual([
    "InterruptedError",
    "InterruptedError: x",
    true,
  ]);
});
