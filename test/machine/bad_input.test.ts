/** What bad input gets: a clear error before anything has happened, and nothing lost. */
import os from "node:os";
import { afterEach, describe, expect, test, vi } from "vitest";
import { firstLight } from "../../lib/experiments/first_light.ts";
import { driver, type DriverSpec, hmmRange } from "../../lib/machine/driver.ts";
import { machine } from "../../lib/machine/machine.ts";
import { Region } from "../../lib/machine/process.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { profile } from "../../lib/profiles/profile.ts";
import { repeat } from "../../lib/workloads/repeat.ts";
import { replayTrace } from "../../lib/workloads/replay.ts";
import { scatter } from "../../lib/workloads/scatter.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { inTurns } from "../../lib/workloads/turns.ts";
import { refusal, refuses, wrong } from "../refusal.ts";

afterEach(() => vi.restoreAllMocks());

/** A machine with a device, for wrong uses of it. */
function small() {
  const m = machine({ memory: "16 MiB", devices: { gpu: { memory: "4 MiB" } } }), p = m.process();
  return { m, p, heap: p.mmap("1 MiB") };
}

const here = small(), there = small();

describe("a machine", () => {
  const build = (options: unknown) => () => machine(wrong(options));
  refuses([
    ["that is no object", build("epyc-7551p"), 'got "epyc-7551p" for the options', "write for example {"],
    ["that is null", build(null), "got null for the options"],
    [
      "with an unknown option",
      build({ seeds: 1 }),
      'got option "seeds"',
      "allowed are host,",
      "did you mean seed?",
    ],
    ["with a host parameter among its options", build({ cores: 4 }), "write hostParameters: { cores: … }"],
    [
      "with a driver of one's own for a device",
      build({ devices: { mine: driver("mine", wrong({ state() {}, invalidate() {}, fault() {} })) } }),
      'device "mine": got a driver of your own',
      "drv.bind(m.process())",
    ],
    ["with null for an option", build({ seed: null }), "got null for seed; leave seed out"],
    ["of an unknown host", build({ host: "epyc" }), 'got "epyc"', "did you mean epyc-7551p?"],
    ["whose host is a device", build({ host: "titan-v" }), '"titan-v", which is a gpu', "epyc-7551p"],
    ["whose host is no profile", build({ host: 3 }), "host: got 3"],
    ["with an unknown host parameter", build({ hostParameters: { ipi: "4 us" } }), "got ipi", "ipiBase"],
    [
      "with a host parameter that is none",
      build({ hostParameters: { ipiBase: "4 MiB" } }),
      "ipiBase",
      '"4 MiB"',
    ],
    [
      "with host parameters of no names",
      build({ hostParameters: ["4 us"] }),
      "got an array of 1 for hostParameters",
    ],
    ["with no memory", build({ memory: 0 }), "got 0 B of memory; 64 KiB or more"],
    ["with negative memory", build({ memory: -4096 }), "memory: got -4096", "write for example"],
    [
      "with memory that is not whole pages",
      build({ memory: "100 KB" }),
      '"100 KB"',
      "multiple of 4096",
      "98304",
    ],
    ["with memory that is no number", build({ memory: NaN }), "memory: got NaN"],
    ["with memory in an unknown unit", build({ memory: "64 gib" }), '"64 gib"', "KiB, MiB, GiB"],
    ["with memory past any frame number", build({ memory: "64 TiB" }), "64 TiB of memory; 256 GiB in all"],
    [
      "with words past any column",
      build({ wordsPerPage: 512 }),
      "got 512 for wordsPerPage",
      "64 GiB",
      "4 GiB",
    ],
    [
      "with a seed out of range",
      build({ seed: -1 }),
      "got -1 for seed; a whole number, 0 or more",
      "example 0",
    ],
    ["with a seed past 2^53", build({ seed: 2 ** 53 }), "got 9007199254740992 for seed"],
    ["with a fraction for a seed", build({ seed: 1.5 }), "got 1.5 for seed", "write for example 2"],
    ["with a text for a seed", build({ seed: "1" }), 'got "1" for seed', "write for example 1"],
    ["with too many actors", build({ actors: 5000 }), "got 5000 for actors", "2 to 1024", "example 1024"],
    [
      "with too many page tables",
      build({ pageTables: 3e6 }),
      "got 3000000 for pageTables",
      "example 1000000",
    ],
    [
      "that reverts what nobody knows",
      build({ revert: ["seq check"] }),
      '"seq check"',
      "mean sequence check?",
    ],
    ["that reverts a text", build({ revert: "tlb flush" }), 'got "tlb flush" for revert; an array', '["'],
  ]);

  test("that could not fit into this computer's memory, with the figures", async () => {
    vi.spyOn(os, "totalmem").mockReturnValue(2 ** 30);
    const message = await refusal(() => machine({ memory: "200 GiB" }));
    // 50 million frames of 28 bytes, a word and two page-table entries each.
    expect(message).toMatch(
      "Cannot build a machine with 200 GiB of memory: it can take 2.05 GiB of this computer's",
    );
    expect(message).toMatch("922 MiB are allowed, 90 % of what it has; give it less memory");
    expect(() => machine({ memory: "64 GiB" })).not.toThrow();
  });
});

describe("a device", () => {
  const build = (gpu: unknown, more = {}) => () =>
    machine({ memory: "16 MiB", devices: { gpu: wrong(gpu) }, ...more });
  const named = (name: string) => () => machine({ memory: "16 MiB", devices: { [name]: "titan-v" } });
  refuses([
    ["without a name", () => machine({ devices: wrong("titan-v") }), 'got "titan-v" for devices', "{ gpu:"],
    ["in a list", () => machine({ devices: wrong(["titan-v"]) }), "got an array of 1 for devices"],
    ["of an unknown profile", build("titan"), 'device "gpu": profile: got "titan"', "did you mean titan-v?"],
    ["whose profile is a host", build("epyc-7551p"), '"epyc-7551p", which is a host'],
    ["whose profile is a host's object", build(profile("epyc-7551p")), "a profile of a device is allowed"],
    ["that is nothing", build(null), 'device "gpu": got null; a device profile'],
    ["that is a number", build(3), 'device "gpu": got 3; a device profile'],
    ["with an unknown option", build({ mem: "1 GiB" }), 'got option "mem"', "did you mean memory?"],
    ["with memory that is not whole pages", build({ memory: 5000 }), "memory: got 5000", "4096 or 8192"],
    ["with negative memory", build({ memory: -4096 }), "memory: got -4096"],
    ["that does something else on a fault", build({ onFault: "swap" }), 'got "swap"', '"migrate" and "map"'],
    [
      "that migrates to no memory",
      build({ memory: 0, onFault: "migrate" }),
      "without memory",
      "leave onFault out",
    ],
    ["with a granule of three pages", build({ granule: "12 KiB" }), "got 12 KiB for granule; 1, 2, 4, … 512"],
    ["with a granule past a table", build({ granule: "4 MiB" }), "got 4 MiB for granule"],
    ["that brings back no pages", build({ faultBackPages: 0 }), "got 0 for faultBackPages; 1, 2, 4"],
    ["with a negative timeout", build({ timeout: "-1 s" }), 'timeout: got "-1 s"'],
    ["with an unknown quirk", build({ quirks: "6.12" }), 'got "6.12" for quirks; "test_hmm-6.12"'],
    [
      "that faults more than is migrated at once",
      build({ granule: "64 KiB" }, { batchPages: 8 }),
      "16 pages",
      "8 at",
    ],
    ["named as a member of the machine", named("run"), 'got "run" as a device\'s name', "example gpu"],
    ["named as what every object has", named("toString"), 'got "toString" as a device\'s name'],
    ["whose name is no name", named("my gpu"), 'got "my gpu" as a device\'s name', "m.gpu"],
    [
      "too many",
      () => machine({ devices: Object.fromEntries(Array.from("abcdefghijklmnop", (n) => [n, "titan-v"])) }),
      "16",
    ],
  ]);

  test("may be a profile, its name, or options", () => {
    const devices = { a: "titan-v", b: profile("titan-v"), c: { profile: "titan-v" } };
    const { a, b, c } = machine({ memory: "16 MiB", devices }).devices;
    expect([b.spec, c.spec]).toEqual([a.spec, a.spec]);
  });
});

describe("a process", () => {
  const { p, heap } = here;
  refuses([
    ["maps nothing", () => p.mmap(0), "got a length of 0; one page or more"],
    ["maps less than nothing", () => p.mmap(-4096), "Cannot map memory: got -4096"],
    ["maps a part of a page", () => p.mmap(5000), "got 5000", "multiple of 4096", "4096 or 8192"],
    ["maps no number", () => p.mmap(NaN), "got NaN"],
    ["maps what was forgotten", () => p.mmap(wrong(undefined)), "got undefined"],
    [
      "maps more than memory and swap",
      () => p.mmap("200 TiB"),
      "a length of 200 TiB",
      /of memory and .* of swap/,
    ],
    ["maps with an unknown protection", () => p.mmap("4 KiB", wrong("rwx")), 'got "rwx"', '"none", "r", "w"'],
    [
      "unmaps a region of another process",
      () => p.munmap(here.m.process().mmap("4 KiB")),
      "of another process",
    ],
    [
      "unmaps a region of another machine",
      () => p.munmap(there.heap),
      "of another machine",
      "region.process",
    ],
    ["unmaps a length", () => p.munmap(wrong("1 MiB")), 'got "1 MiB" for a region; what mmap returned'],
    ["protects another's region", () => p.mprotect(there.heap, "r"), "of another machine"],
    ["protects with nothing", () => p.mprotect(heap, wrong(undefined)), "got undefined"],
    ["writes another's region", () => p.write(there.heap, 1), "of another machine"],
    ["writes nothing", () => p.write(heap, wrong(undefined)), "got undefined for value", "32 bits"],
    ["writes more than a word", () => p.write(heap, 2 ** 32), "got 4294967296 for value"],
    ["reads another's region", () => p.read(there.heap), "of another machine"],
    ["takes a part past the end", () => heap.slice("1 MiB"), 'offset "1 MiB"', "within 1 MiB"],
    ["takes a part too long", () => heap.slice(0, "2 MiB"), 'offset 0 and length "2 MiB"'],
    ["takes a part from before it", () => heap.slice(-4096), "Cannot take a part of a region: got -4096"],
    ["names a region of no pages", () => new Region(p, 0, 0), "got 0 for its pages"],
    [
      "names a region by an address",
      () => new Region(p, 2 ** 47, 1),
      "got 140737488355328 for its first page",
    ],
    ["takes no part", () => heap.slice(0, 0), "one page or more"],
    [
      "is one too many",
      () => {
        const m = machine({ memory: "16 MiB", processes: 2 });
        return [m.process(), m.process(), m.process()];
      },
      "the 2 that this machine was built for",
      "processes: 4",
    ],
  ]);

  test("maps what this computer could not hold, with the figures", async () => {
    const m = machine({ memory: "16 GiB" }), p = m.process();
    vi.spyOn(os, "totalmem").mockReturnValue(2 ** 27);
    expect(await refusal(() => p.mmap("16 GiB"))).toMatch(
      /^Cannot map 16 GiB: it can take \d+ MiB of this computer's memory; 115 MiB are allowed, 90 % .*; map less$/,
    );
    expect(p.mmap("1 GiB").pages).toBe(2 ** 18);
  });
});

describe("a workload", () => {
  const { m, heap } = here;
  refuses([
    ["touches nothing", () => touch(wrong(undefined)), "got undefined for a region; what mmap returned"],
    ["touches a process", () => touch(wrong(here.p)), "got a Process for a region"],
    ["has an unknown option", () => touch(heap, wrong({ writes: true })), 'option "writes"', "mean write?"],
    ["writes maybe", () => touch(heap, wrong({ write: "yes" })), 'got "yes" for write; true and false'],
    ["writes a fraction", () => touch(heap, { value: 0.5 }), "got 0.5 for value"],
    [
      "streams on no device",
      () => stream(wrong(wrong(m).gpu2), heap),
      "got undefined for the device",
      "m.gpu",
    ],
    [
      "has its arguments changed about",
      () => stream(wrong(heap), wrong(m.gpu)),
      "got a Region for the device",
    ],
    ["streams over another machine's region", () => stream(m.gpu, there.heap), "of different machines"],
    ["scatters no accesses", () => scatter(heap, 0), "got 0 for accesses; a whole number, 1 or more"],
    ["scatters a length", () => scatter(heap, wrong("1 MiB")), 'got "1 MiB" for accesses'],
    ["repeats nothing", () => repeat(wrong(undefined), 2), "got undefined; a workload"],
    ["repeats a turn", () => repeat(inTurns(heap, "64 KiB", { a: (x) => touch(x) }).a, 2), "takes turns"],
    ["replays a name", () => replayTrace(here.p, wrong("gzip")), 'got "gzip" for the trace', "builtinTrace("],
    ["replays in a machine", () => replayTrace(wrong(m), wrong({})), "got a Machine for the process"],
  ]);
});

describe("turns", () => {
  const { m, heap } = here, turn = { a: (piece: typeof heap) => touch(piece) };
  refuses([
    [
      "over pieces that do not divide",
      () => inTurns(heap, "300 KiB", turn),
      '"300 KiB"',
      "1048576 bytes",
      '"256 KiB"',
    ],
    ["over pieces past the region", () => inTurns(heap, "2 MiB", turn), '"2 MiB"', 'example "1 MiB"'],
    ["over no pieces", () => inTurns(heap, 0, turn), "got pieces of 0", 'example "4 KiB"'],
    ["over negative pieces", () => inTurns(heap, -4096, turn), "got -4096"],
    ["over no region", () => inTurns(wrong("1 MiB"), "64 KiB", turn), 'got "1 MiB" for a region'],
    ["of nobody", () => inTurns(heap, "64 KiB", {}), "an object with no keys for the parties"],
    [
      "of what was forgotten",
      () => inTurns(heap, "64 KiB", wrong(undefined)),
      "got undefined for the parties",
    ],
    [
      "of a workload",
      () => inTurns(heap, "64 KiB", wrong({ a: touch(heap) })),
      'for party "a"; a function',
      "=>",
    ],
    [
      "of nothing",
      () => inTurns(heap, "64 KiB", wrong({ a: () => {} })),
      'party "a" made undefined for piece 0',
    ],
    [
      "of a party alone",
      () => {
        const { b } = inTurns(heap, "64 KiB", { ...turn, b: (piece) => touch(piece) });
        return m.run({ b });
      },
      "takes turns with others",
      "{ ...parties }",
    ],
    ["of a party twice", () => {
      const { a } = inTurns(heap, "64 KiB", turn);
      return m.run({ a, b: a });
    }, "each once"],
  ]);
});

describe("a run", () => {
  const { m, heap } = here;
  const run = (workloads: unknown, options?: unknown) => () => m.run(wrong(workloads), wrong(options));
  refuses([
    ["of nothing", run({}), "got no workloads", "m.run({ cpu: touch(heap) })"],
    ["of what was forgotten", run(undefined), "got undefined; workloads by name"],
    ["of a workload without a name", run(touch(heap)), "got a workload; workloads by name"],
    ["of a list", run([touch(heap)]), "got an array of 1; workloads by name"],
    ["of null", run({ cpu: null }), 'Cannot run "cpu": got null; a workload', "cpu: touch(heap)"],
    ["of a function", run({ cpu: touch }), 'Cannot run "cpu": got a function'],
    ["of a region", run({ cpu: heap }), 'Cannot run "cpu": got a Region'],
    ["of a promise", run({ cpu: Promise.resolve() }), "was an await forgotten?"],
    [
      "of another machine's workload",
      run({ cpu: touch(there.heap) }),
      "belongs to another machine",
      "process()",
    ],
    [
      "of another machine's device",
      run({ gpu: stream(there.m.gpu, there.heap) }),
      '"gpu"',
      "another machine",
    ],
    [
      "of too many",
      run(Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`w${i}`, touch(heap)]))),
      "actors: 65",
    ],
    [
      "with an unknown option",
      run({ cpu: touch(heap) }, { budget: 1 }),
      'option "budget"',
      "mean budgetSeconds?",
    ],
    [
      "by an unknown runner",
      run({ cpu: touch(heap) }, { runner: "fast" }),
      'got "fast" for runner',
      '"clock"',
    ],
    [
      "with no budget",
      run({ cpu: touch(heap) }, { budgetSeconds: 0 }),
      "got 0 for budgetSeconds; a number above 0",
    ],
    ["with less than no events", run({ cpu: touch(heap) }, { events: -1 }), "got -1 for events", "example 0"],
    ["with more events than memory", run({ cpu: touch(heap) }, { events: 1e12 }), "0 to 100000000"],
    ["that tells nobody", run({ cpu: touch(heap) }, { progress: true }), "got true for progress; a function"],
    ["that nobody ends", run({ cpu: touch(heap) }, { signal: true }), "got true for signal; an AbortSignal"],
  ]);

  test("in a run, or a process in one, is refused until it has ended", async () => {
    const { m, p, heap } = small(), running = m.run({ cpu: touch(heap) });
    expect(await refusal(() => p.read(heap))).toMatch("it is in a run");
    expect(await refusal(() => m.run({ cpu: touch(heap) }))).toMatch("write await m.run(…)");
    expect((await running).actors[0].pages).toBe(256);
    expect(p.read(heap)[255]).toBe(256);
  });

  test("after one that was cut short asks for another machine", async () => {
    const { m, heap } = small();
    const cut = await m.run({ cpu: repeat(touch(heap), 1_000_000) }, { budgetSeconds: 0.001 });
    expect(cut.end).toBe("budget");
    expect(await refusal(() => m.run({ cpu: touch(heap) }))).toMatch(
      /cut short .*; build another with machine/,
    );
  });
});

describe("a driver", () => {
  const spec: DriverSpec<unknown> = {
    state: (k) => ({ pt: k.deviceTable() }),
    // deno-lint-ignore require-yield -- it never runs
    *invalidate() {
      return true;
    },
    // deno-lint-ignore require-yield -- it never runs
    *fault() {
      return 0;
    },
  };
  const { p, heap } = here, drv = driver("d", spec);
  refuses([
    ["without a name", () => driver(wrong(spec), spec), "for its name; a text"],
    ["of nothing", () => driver("d", wrong(undefined)), "got undefined for state", "*invalidate"],
    ["without a call", () => driver("d", wrong({ ...spec, fault: 3 })), "got 3 for fault; a function"],
    [
      "bound to a machine",
      () => drv.bind(wrong(here.m)),
      "got a Machine; a process",
      "drv.bind(m.process())",
    ],
    ["of an unknown profile", () => drv.bind(p, "titan"), 'profile: got "titan"', "mean titan-v?"],
    [
      "that faults no pages",
      () => drv.bind(p).stream(heap, { granulePages: 0 }),
      "got 0 for granulePages",
      "1 to 512",
    ],
    ["that streams another's region", () => drv.bind(p).stream(there.heap), "of another machine"],
    [
      "whose range was made by hand",
      () => hmmRange(wrong({}), { start: 0, end: 1 }),
      "pass sub on unchanged",
    ],
    ["whose range is empty", () => hmmRange(wrong({}), { start: 5, end: 5 }), "got 5 for end"],
    [
      "that has no table",
      () => driver("d", { ...spec, state: () => 0 }).bind(p).text(heap),
      "k.deviceTable()",
    ],
    ["bound to what is no process, by hand", () => new Thread(wrong(here.m)), "got a Machine; a process"],
    ["of two machines, by hand", () => new DeviceThread(here.m.gpu, there.p), "of different machines"],
  ]);
});

describe("first light", () => {
  refuses([
    ["with an unknown option", () => firstLight(wrong({ heaps: 1 })), 'option "heaps"', "did you mean heap?"],
    ["with pieces that do not divide", () => firstLight({ heap: "1 MiB", piece: "300 KiB" }), '"256 KiB"'],
    ["with nothing read back", () => firstLight({ readBack: NaN }), "got NaN for readBack"],
  ]);
});

test("what was refused leaves the machine as it was", async () => {
  const { m, p, heap } = small();
  p.write(heap, 7);
  const before = m.stateDigest();
  const attempts: (() => unknown)[] = [
    () => p.mmap("200 GiB" as never, "x" as never),
    () => p.munmap(there.heap),
    () => p.write(heap, -1),
    () => m.run({}),
    () => m.run({ cpu: touch(heap), other: touch(there.heap) }),
    () => m.run({ cpu: touch(heap) }, { events: -1 }),
    () => new DeviceThread(m.gpu, there.p),
  ];
  for (const attempt of attempts) await refusal(attempt);
  expect(m.stateDigest()).toBe(before);
  const run = await m.run({ cpu: touch(heap, { write: false, value: 7, check: true }) });
  expect([run.mismatches, run.actors[0].pages]).toEqual([0, 256]);
});

test("what a process does after a run is not the run's", async () => {
  const { m, p, heap } = small(), run = await m.run({ cpu: touch(heap) });
  const { count } = run.cpuFaults, latencies = JSON.stringify(run.latencies);
  p.write(p.mmap("1 MiB"), 1);
  expect([run.cpuFaults.count, JSON.stringify(run.latencies)]).toEqual([count, latencies]);
});
