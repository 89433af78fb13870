import { describe, expect, test } from "vitest";
import { asDummy } from "../../lib/devices/dummy/device.ts";
import { restoreModel, saveModel, Search, stoppingEverywhere } from "../../lib/explore/search.ts";
import { machine } from "../../lib/machine/machine.ts";
import { Region } from "../../lib/machine/process.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { type Actor, resume } from "../../lib/sim/runners.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { draws } from "../schedule.ts";

/** A region of two pages, a process, two devices, and the operations of a race by short names. */
function scene(start: "untouched" | "written" | "on the device" | "mirrored", tlbEntries: number) {
  const m = machine({
    memory: "128 KiB",
    devices: {
      one: { memory: "16 KiB", granule: "8 KiB", onFault: "migrate" },
      two: { memory: "16 KiB", granule: "4 KiB", onFault: "map" },
    },
    processes: 2,
    actors: 5,
    vmas: 16,
    pageTables: 24,
    batchPages: 4,
    checkers: "all",
    tlbEntries,
  });
  const p = m.process(),
    A = p.mmap("8 KiB"),
    t = new Thread(p),
    page = (i: number) => new Region(p, A.vpn + i, 1);
  const one = new DeviceThread(asDummy(m.devices.one), p),
    two = new DeviceThread(asDummy(m.devices.two), p),
    { kernel } = m;
  if (start !== "untouched") p.write(A, 100);
  if (start === "on the device") m.complete(one.migrate(A));
  if (start === "mirrored") m.complete(two.fault(A));
  kernel.cpus[p.mm] = 3;
  const operations = {
    "write 0": () => t.write(page(0), 7),
    "write 1": () => t.write(page(1), 8),
    "read 0": () => t.read(page(0)),
    "munmap 0": () => t.munmap(page(0)),
    "munmap": () => t.munmap(A),
    "mmap 0": () => t.mmapAt(page(0)),
    "protect": () => t.mprotect(A, "r"),
    "protect 1": () => t.mprotect(page(1), "r"),
    "fault one": () => one.fault(A),
    "fault two": () => two.fault(page(0), true),
    "migrate one": () => one.migrate(A),
    "migrate two": () => two.migrate(page(0)),
    "back one": () => one.migrateBack(A),
    "store": () => two.walkAndStore(page(0), 50),
    "write by one": () => one.write(page(0), 60),
  } as const satisfies Record<string, () => Proc<unknown>>;
  /** What can be told apart at the end: page table, words, mirrors. */
  const look = () => {
    const pages = [0, 1].map((i) => {
      const e = kernel.tables.entry(kernel.root[p.mm], A.vpn + i),
        kind = e < 0 ? 0 : kernel.tables.kind[e] & 0x9f;
      return kind === 0 ? "." : `${kind}=${kernel.pages.word[kernel.tables.pfn[e]]}`;
    });
    return `${pages} ${one.text(A)} ${two.text(A)} ${two.storedToFreed()}`;
  };
  const { memory } = m.checkers!;
  const rules = () => m.checkers!.brokenAtRest().map(({ rule, what }) => `${rule}: ${what}`)[0];
  return { sim: kernel.sim, memory, operations, look, rules };
}

type Name = keyof ReturnType<typeof scene>["operations"];
type Start = Parameters<typeof scene>[0];

const RACES: [Start, number, ...Name[][]][] = [
  ["untouched", 0, ["munmap 0"], ["write 1"], ["munmap 0"]],
  ["untouched", 0, ["mmap 0"], ["write 0"], ["protect"]],
  ["untouched", 0, ["protect", "write 0"], ["protect", "munmap 0"]],
  ["written", 0, ["protect"], ["munmap"], ["write 0"]],
  ["written", 2, ["write 0"], ["migrate one"]],
  ["written", 2, ["write 0"], ["write 1"], ["protect 1"]],
  ["written", 2, ["protect 1", "write 1"], ["fault two"]],
  ["on the device", 0, ["read 0"], ["write 0"]],
  ["on the device", 0, ["fault one"], ["read 0"]],
  ["on the device", 0, ["write by one"], ["back one"]],
  ["on the device", 0, ["fault two"], ["munmap 0"]],
  ["mirrored", 0, ["store", "store"], ["munmap 0", "mmap 0"]],
  ["mirrored", 0, ["store"], ["migrate two"], ["read 0"]],
];

describe("merging states that have equal hashes", () => {
  test.each(RACES)("loses no outcome and breaks no rule: %s, %i, %j, %j", (start, tlb, ...lines) => {
    const { sim, memory, operations, look, rules } = scene(start, tlb), said: string[][] = [];
    const begin = (): Actor[] =>
      lines.map((names, i) => {
        said[i] = [];
        function* actor(): Proc {
          for (const name of names) said[i].push(String(yield* operations[name]()));
        }
        return { a: i + 1, proc: actor() };
      });
    const outcome = () => `${said.map((x) => x.join(",")).join(" | ")} ${look()}`;
    const model = { sim, memory, begin, outcome, checkEnd: rules }, initial = saveModel(model);
    const search = new Search(model, { all: true });
    search.run();
    const found = search.result();
    expect(found.violations).toEqual([]);
    expect(found.exhaustive).toBe(true);
    // Schedules drawn at random know nothing of states: whatever they come to, the search must have come to.
    for (let seed = 0; seed < 250; seed++) {
      const draw = draws(seed);
      restoreModel(model, initial);
      const left = begin();
      for (const { a } of left) sim.spans.abandon(a);
      stoppingEverywhere(sim, (_a, n) => draw(n), () => {
        while (left.length > 0) {
          const ready = left.filter(({ a }) => sim.waitingOn[a] === 0), actor = ready[draw(ready.length)];
          if (resume(sim, actor)) left.splice(left.indexOf(actor), 1);
        }
      });
      expect(found.outcomes.has(outcome()), `seed ${seed}: ${outcome()}`).toBe(true);
    }
  });
});
