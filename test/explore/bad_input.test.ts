/** What bad races and schedules get: a clear error before anything is explored. */
import { describe, expect, test } from "vitest";
import { FAILURE_POINTS } from "../../lib/explore/check.ts";
import { explore, litmus, type LitmusParts, replay } from "../../lib/explore/litmus.ts";
import { machine } from "../../lib/machine/machine.ts";
import type { Thread } from "../../lib/machine/thread.ts";
import { sourcesUnder } from "../house/source.ts";
import { refusal, refuses, wrong } from "../refusal.ts";

const elsewhere = machine({ memory: "16 MiB" }).process().mmap("4 KiB");

describe("a race", () => {
  const parts = (more: unknown) => wrong(() => more);
  const munmap = wrong(({ t, A }: { t: Thread; A: never }) => ({ P0: () => t.munmap(A) }));
  const declare = (spec: unknown, build: unknown = munmap) => () => litmus("r", wrong(spec), wrong(build));
  const exploring = (build: unknown, options?: unknown) => () =>
    explore(litmus("r", {}, wrong(build)), wrong(options));
  /** A race with one part that is wrong, beside an actor. */
  const withPart = (more: unknown) =>
    exploring(({ t, A }: { t: Thread; A: never }) => ({
      P0: () => t.munmap(A),
      ...wrong(more),
    }));
  refuses([
    ["without a name", () => litmus(wrong({}), wrong({}), munmap), "got an object with no keys for its name"],
    ["with an unknown option", declare({ page: 1 }), 'option "page"', "did you mean pages?"],
    ["with too many pages", declare({ pages: 9 }), "got 9 for pages; a whole number, 1 to 8"],
    ["with no word", declare({ written: -1 }), "got -1 for written"],
    [
      "with an unknown failure",
      declare({ failures: ["dma"] }),
      '"dma"',
      '"page allocation"',
      "mean dma map?",
    ],
    ["with failures of no list", declare({ failures: "dma map" }), "an array of failure points"],
    ["with no driver", declare({ drv: {} }), "for drv; a driver"],
    ["without actors' function", declare({}, null), "got null for its actors; a function"],
    [
      "on a wrong device",
      () => explore(litmus("r", { device: { memory: -1 } }, munmap)),
      'device "dev": memory: got -1',
    ],
    ["of nothing", exploring(parts(undefined)), "its function made undefined"],
    ["without actors", exploring(parts({})), "got no actors; 1 to 8", "P0: () => dev.fault(A)"],
    ["with rules alone", exploring(parts({ never: {} })), "got no actors"],
    [
      "with nine actors",
      exploring(parts(Object.fromEntries(Array.from("abcdefghi", (n) => [n, () => 1])))),
      "got 9",
    ],
    [
      "with an actor that is an operation",
      exploring(({ t, A }: { t: Thread; A: never }) => ({ P0: t.munmap(A) })),
      "got a generator for actor P0; a function",
    ],
    [
      "with an actor that returns nothing",
      withPart({ P1: () => {} }),
      "actor P1 returned undefined",
      "without braces",
    ],
    ["with an actor that is async", withPart({ P1: async () => {} }), "actor P1 returned a Promise"],
    [
      "with a rule that is a function",
      withPart({ never: () => false }),
      "got a function for never; an object",
    ],
    ["with a rule that is none", withPart({ finally: { x: true } }), "got an object with x for finally"],
    ["with an outcome that is none", withPart({ outcome: "x" }), 'got "x" for outcome; a function'],
    [
      "whose actor uses another's region",
      exploring(({ t }: { t: Thread }) => ({ P0: () => t.munmap(elsewhere) })),
      "of another machine",
    ],
    [
      "whose actor writes no word",
      exploring(({ t, A }: { t: Thread; A: never }) => ({ P0: () => t.write(A, 0.5) })),
      "got 0.5 for value",
    ],
    ["that is none, explored", () => explore(wrong("r")), 'got "r"; a race'],
    [
      "explored with an unknown option",
      exploring(munmap, { states: 3 }),
      'option "states"',
      "mean maxStates?",
    ],
    [
      "explored without states",
      exploring(munmap, { maxStates: 0 }),
      "got 0 for maxStates; a whole number, 1 or more",
    ],
    [
      "explored without what nobody knows",
      exploring(munmap, { revert: ["seq"] }),
      '"seq"',
      "mean sequence check?",
    ],
    ["that is none, replayed", () => replay(wrong(undefined), ""), "Cannot replay: got undefined; a race"],
  ]);

  test("whose actor has a slip of its own throws it, and is not said to break a rule", async () => {
    const slip = withPart({
      *P1() {
        yield 0;
        wrong(undefined).x();
      },
    });
    await expect(slip()).rejects.toThrow(TypeError);
  });

  test("knows every point at which the model can fail", () => {
    const asked = sourcesUnder("lib").flatMap(({ text }) =>
      [...text.matchAll(/\bfails\((?:a|\w+\.current|Math\.max\(0, sim\.current\)), "([^"]+)"\)/g)].map((m) =>
        m[1]
      )
    );
    expect([...new Set(asked)].sort()).toEqual([...FAILURE_POINTS].sort());
  });
});

describe("a schedule", () => {
  const race = litmus("fault against munmap", {}, ({ t, dev, A }) => ({
    P0: () => dev.fault(A),
    P1: () => t.munmap(A),
    finally: { noStaleEntry: () => !dev.stale(A) },
  } satisfies LitmusParts));
  const alone = litmus("munmap", {}, ({ t, A }) => ({ P0: () => t.munmap(A) }));
  const reverted = { revert: ["sequence check"] };
  refuses([
    [
      "that is none",
      () => replay(race, wrong(undefined)),
      "got undefined for the schedule; a text that explore gave",
    ],
    [
      "of other letters",
      () => replay(race, "hello"),
      '"hello"',
      'got "he" at character 1',
      '2 actors ("0" to "1")',
    ],
    [
      "that chooses where nothing is chosen",
      () => replay(race, "?1"),
      'got "?1" at character 1',
      "another model",
    ],
    ["of another race", () => replay(alone, "0101"), "it goes on after everything has ended", "same revert"],
    [
      "with an unknown option",
      () => replay(race, "0", wrong({ reverts: [] })),
      'option "reverts"',
      "mean revert?",
    ],
    ["of an exploration that broke no rule", async () => replay(race, await explore(race)), "broke no rule"],
  ]);

  test("cut in the middle of a choice is refused", async () => {
    const race = litmus("r", { written: null, failures: ["page allocation"] }, ({ t, A }) => ({
      P0: () => t.write(A, 1),
      outcome: () => "",
    }));
    const { outcomes } = (await explore(race)).found;
    const cut = [...outcomes.values()][0].replace(/\?.*$/, "?");
    expect(cut).toMatch(/\?$/);
    expect(await refusal(() => replay(race, cut))).toMatch(
      `got "?" at character ${cut.length}, where a choice of 2`,
    );
  });

  test("replays from its text and from its exploration, with what was switched off", async () => {
    const found = await explore(race, reverted);
    expect(found.violated).toBe("noStaleEntry");
    expect(replay(race, found.schedule, reverted).violated).toBe("noStaleEntry");
    expect(replay(race, found).violated).toBe("noStaleEntry");
    expect(replay(race, found, { revert: [] }).violated).toBeUndefined();
  });
});
