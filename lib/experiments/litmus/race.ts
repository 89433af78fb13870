/**
 * A race as a model that the explorer runs: a small machine, its start, its actors, and how an end looks.
 * @module
 */
import type { DummyOptions } from "../../devices/dummy/spec.ts";
import { brokenRule, type Model } from "../../explore/search.ts";
import type { MachineSpec } from "../../machine/spec.ts";
import { checkMachine } from "../../machine/spec.ts";
import { UsageError } from "../../errors.ts";
import { errnoName } from "../../mm/errno.ts";
import { dummySnapshot } from "../../devices/dummy/snapshot.ts";
import { complete } from "../../sim/runners.ts";
import type { Proc } from "../../sim/sim.ts";
import { Bench, type PlayedProcess } from "../conformance/machine.ts";
import { hexBytes, pageMaps } from "../conformance/observe.ts";
import { canonical, type LitmusOp, type LitmusTest } from "./file.ts";
import { ANY_WORD, copyWorld, newProcess, performAll, readWord, type World } from "./operations.ts";

/** How a race is built. */
export interface RaceOptions {
  /** Whether the devices have the oddities of the kernel's test driver (default true). */
  readonly quirks?: boolean;
  /** Fixes to switch off beside those that Linux 6.12 did not have. */
  readonly revert?: readonly string[];
  /** Rules to look after in every state and at every end. */
  readonly checkers?: "all" | readonly string[];
}

/** An end of a schedule, as it is collected. */
export interface End {
  /** What the files compare, in canonical form. */
  readonly text: string;
  /** `stale_dN_R+i`: the mirror names a page that the process does not; `device_write_lost`. */
  readonly flags: readonly string[];
}

/** Advices and operations after which a word from before a write is no lost write. */
const EMPTIES: ReadonlySet<string> = new Set(["munmap", "mmap", "mremap", "madvise"]);

function raceSpec(words: number, options: RaceOptions): MachineSpec {
  const device: DummyOptions = {
    memory: "64 KiB",
    onFault: "map",
    granule: "4 KiB",
    ...(options.quirks ?? true ? { quirks: "test_hmm-6.12" as const } : {}),
  };
  return checkMachine({
    memory: "128 KiB",
    devices: { d0: device, d1: device },
    actors: 5,
    processes: 3,
    vmas: 16,
    pageTables: 24,
    batchPages: 8,
    swapPages: 8,
    wordsPerPage: words,
    revert: options.revert ?? [],
    checkers: options.checkers ?? [],
  });
}

/** Whether every page of the first process ends with a word that its last writers explain; see {@link End.flags}. */
function writeLost(
  test: LitmusTest,
  ret: Readonly<Record<string, readonly string[]>>,
  cpu: CpuWords,
): boolean {
  const lines: { readonly actor: string; readonly i: number; readonly line: LitmusOp }[] = [];
  for (const [actor, all] of Object.entries(test.actors)) {
    if (actor === "C") continue;
    let i = 0;
    for (const line of all) if (line.op.process === "P") lines.push({ actor, i: i++, line });
  }
  if (lines.some(({ line }) => EMPTIES.has(line.op.name) && line.op.advice !== "pageout")) return false;
  const last = new Map<string, Map<string, number>>();
  const atomic = new Set<string>();
  for (const { actor, i, line: { op, word, add } } of lines) {
    if ((op.name !== "w" && op.name !== "dwrite") || ret[actor]?.[i]?.startsWith("ok") !== true) continue;
    for (let page = 0; page < op.pages!; page++) {
      // A device writes whole pages: zeros after the first word.
      for (let k = op.name === "dwrite" ? 0 : word; k < (op.name === "dwrite" ? test.words : word + 1); k++) {
        const place = `${op.region}+${op.at! + page}.${k}`;
        if (add) atomic.add(place);
        if (!last.has(place)) last.set(place, new Map());
        last.get(place)!.set(actor, k === 0 || op.name === "w" ? op.value! + page : 0);
      }
    }
  }
  for (const [place, by] of last) {
    const [, region, at, k] = /^(.)\+(\d+)\.(\d+)$/.exec(place)!;
    const page = cpu.P?.[region]?.[Number(at)], found = Array.isArray(page) ? page[Number(k)] : page;
    if (typeof found !== "number" || atomic.has(place)) continue;
    if (![...by.values()].includes(found)) return true;
  }
  return false;
}

type Word = number | string | null | (number | string)[];
type CpuWords = Record<string, Record<string, Word[]>>;

/** One race on a machine of its own. */
export class Race {
  /** What the explorer runs. */
  readonly model: Model;
  /** Names of the actors, in the order of a schedule's digits. */
  readonly actors: readonly string[];
  private readonly bench: Bench;
  private readonly start: World;
  private world: World;
  private ret: Record<string, string[]> = {};

  /**
   * Builds the machine and does the initial lines.
   *
   * @param test what races
   * @param options see {@link RaceOptions}
   * @throws UsageError when an initial line fails, or is no operation of a race
   */
  constructor(readonly test: LitmusTest, options: RaceOptions = {}) {
    const bench = this.bench = new Bench(raceSpec(test.words, options), "complete"),
      { kernel } = bench.machine;
    const first = newProcess("P", kernel.newMm());
    this.start = { machine: bench.machine, processes: new Map([["P", first]]), regions: new Map() };
    const told: Record<string, string[]> = {};
    complete(kernel.sim, [{ a: 0, proc: performAll(this.start, 0, test.initial, told, "P", "P") }]);
    const failed = Object.values(told).flat().findIndex((x) => !x.startsWith("ok"));
    if (failed >= 0) {
      throw new UsageError(
        `Cannot build race ${test.id}: initial line ${failed + 1}, "${test.initial[failed].text}", gave ` +
          `${Object.values(told).flat()[failed]}; initial lines must succeed`,
      );
    }
    this.world = this.start;
    this.actors = Object.keys(test.actors);
    this.actors.forEach((name, i) => kernel.sim.actorNames[i + 1] = name);
    const { checkers } = bench.machine;
    this.model = {
      sim: kernel.sim,
      memory: checkers?.memory,
      begin: () => this.begin(),
      check: checkers && (() => brokenRule(() => checkers.atStop())),
      checkEnd: checkers && (() => brokenRule(() => checkers.atRest())),
      outcome: () => JSON.stringify(this.end()),
    };
  }

  private begin() {
    this.world = copyWorld(this.start);
    const { test, world } = this;
    const ret: Record<string, string[]> = this.ret = {};
    return Object.entries(test.actors).map(([name, lines], i) => ({
      a: i + 1,
      proc: performAll(world, i + 1, lines, ret, name, name === "C" ? "C" : "P"),
    }));
  }

  /** Looks at the machine when all actors have ended, in the order in which the files were recorded. */
  private end(): End {
    const { world: w, bench, test } = this, k = bench.machine.kernel, flags: string[] = [];
    const regions = [...w.regions.values()].sort((x, y) => x.name < y.name ? -1 : 1);
    const p = w.processes.get("P")!, alive = [...w.processes.values()].filter((q) => !q.exited);
    const pm: Record<string, Record<string, string>> = {};
    for (const [name, map] of Object.entries(pageMaps(k, alive, regions))) {
      pm[name] = Object.fromEntries(Object.entries(map).filter(([r]) => !r.endsWith("=")));
    }
    const sn: Record<string, string> = {}, mr: Record<string, Record<string, string>> = {};
    const md: Record<string, Record<string, Word[]>> = {}, files = [...p.files].sort(([x], [y]) => x - y);
    for (const [slot, { mirror }] of files) {
      for (const r of regions) {
        for (let i = 0; i < r.pages; i++) {
          if (mirror.table.stalePage(p.mm, r.vpn + i, 1) >= 0) flags.push(`stale_d${slot}_${r.name}+${i}`);
        }
      }
    }
    for (const r of regions) {
      const file = p.files.get(0);
      if (file === undefined) continue;
      const bytes: number[] = [],
        rc = bench.look(dummySnapshot(file.device, 0, file.mirror, r.vpn, r.pages, bytes));
      sn[r.name] = rc < 0 ? errnoName(rc) : hexBytes(bytes);
    }
    for (const [slot, { mirror }] of files) {
      mr[`d${slot}`] = Object.fromEntries(regions.map((r) => [r.name, mirror.text(r.vpn, r.pages)]));
    }
    for (const [slot, { mirror }] of files) {
      md[`d${slot}`] = Object.fromEntries(regions.map((r) => [
        r.name,
        Array.from({ length: r.pages }, (_, i): Word => {
          const pfn = mirror.table.translate(r.vpn + i, false), n = k.pages.wordsPerPage;
          if (pfn < 0) return null;
          const words = Array.from(
            { length: n },
            (_, j) => k.pages.isFree(pfn) ? ANY_WORD : k.pages.word[pfn * n + j],
          );
          return n === 1 ? words[0] : words;
        }),
      ]));
    }
    const cpu: CpuWords = {};
    for (const q of alive) {
      cpu[q.name] = Object.fromEntries(
        regions.map((r) => [r.name, Array.from({ length: r.pages }, (_, i) => this.read(q, r.vpn + i))]),
      );
    }
    if (writeLost(test, this.ret, cpu)) flags.push("device_write_lost");
    return { text: canonical({ ret: this.ret, pm, sn, mr, md, cpu }), flags };
  }

  /** The words of a page, or the signal. */
  private read(q: PlayedProcess, vpn: number): Word {
    const k = this.bench.machine.kernel, n = k.pages.wordsPerPage;
    function* one(j: number): Proc<number | string> {
      return yield* readWord(k, 0, q.mm, vpn, j);
    }
    const words = Array.from({ length: n }, (_, j) => this.bench.look(one(j)));
    return n === 1 || typeof words[0] === "string" ? words[0] : words;
  }
}
