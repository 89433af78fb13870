/**
 * A driver bound to a process: its table, what its device can do, what it hears of invalidations.
 * @module
 */
import { checkOptions, checkWord, during, wholeNumber } from "../arguments.ts";
import { deviceAccess } from "../devices/access.ts";
import { Presence } from "../devices/presence.ts";
import type { DeviceTable } from "../devices/table.ts";
import { UsageError } from "../errors.ts";
import { AccessResult } from "../mm/access.ts";
import { ENODEV } from "../mm/errno.ts";
import type { Invalidation, NotifierOps } from "../mm/notifier.ts";
import { VPN_END } from "../mm/pagetable.ts";
import { compileDevice } from "../profiles/costs.ts";
import type { DeviceCosts } from "../profiles/parameters.ts";
import { DUE, type Proc, site, type Wait } from "../sim/sim.ts";
import { nanoseconds } from "../units.ts";
import { Bound } from "./driver_calls.ts";
import type { DriverFault, DriverKernel, DriverSpec } from "./driver_spec.ts";
import type { Machine } from "./machine.ts";
import { checkRegion, oneRun, type Process, type Region } from "./process.ts";
import { WatchedTable } from "./driver_table.ts";
import { told } from "./told.ts";
import type { Workload } from "./workload.ts";
import { INSPECT } from "../record/inspect.ts";

const AT_UNPLUG = site("driver's device: being removed");
const AT_HARDWARE = site("driver's device: before a store");

/** A driver bound to a process: its device's operations for actors of a race, and workloads for runs. */
export class DriverHandle {
  /** The driver's name. */
  readonly name: string;
  /** The process whose memory the device mirrors. */
  readonly process: Process;
  private readonly tables: WatchedTable[] = [];
  private readonly bound: Bound;
  private readonly presence: Presence;
  private readonly machine: Machine;
  private readonly cost: DeviceCosts;
  private readonly raise: (r: DriverFault) => Proc<number>;

  /**
   * Use {@linkcode Driver.bind}.
   *
   * @param name the driver's name
   * @param process the process whose memory the device mirrors
   * @param spec the driver
   * @param profile name of the profile that says what the device's work costs
   */
  constructor(name: string, process: Process, spec: DriverSpec<unknown>, profile: string) {
    this.name = name;
    this.process = process;
    const k = process.machine.kernel, { sim, locks } = k, { tables } = this;
    const cost = this.cost = during(`bind driver "${name}": profile`, () => compileDevice(profile));
    this.machine = process.machine;
    const sub = this.bound = new Bound(k, process.mm);
    this.presence = new Presence(sim, sim.state.unique(`presence.driver ${name}`).slice("presence.".length));
    const mutexes: number[] = [];
    const kernel: DriverKernel = {
      mutex(what) {
        const l = locks.make(`${name}: ${what}`);
        mutexes.push(l);
        return {
          *lock() {
            yield* told(sim, locks.lock(sim.current, l), () => 1);
          },
          trylock() {
            const got = locks.trylock(sim.current, l);
            sim.note(sim.current, got ? 1 : 0);
            return got;
          },
          unlock: () => locks.unlock(sim.current, l),
        };
      },
      deviceTable() {
        const t = new WatchedTable(name, k, cost, mutexes);
        tables.push(t);
        return t;
      },
      deadline(length) {
        const atNs = (sim.current < 0 ? 0 : sim.nowNs[sim.current]) + nanoseconds(length);
        k.watch?.deviceFaultDeadline(sim.current, atNs);
        return {
          // deno-lint-ignore require-yield -- a generator like all that may stop, though it never does
          *expired() {
            const passed = sim.expired(sim.current, atNs);
            if (passed) k.watch?.deviceFaultExpired(sim.current);
            sim.note(sim.current, passed ? 1 : 0);
            return passed;
          },
        };
      },
    };
    const state = spec.state(kernel);
    const ops: NotifierOps = {
      tryInvalidate: () => false,
      waitOn: (): Wait => 0,
      *invalidate(_a: number, e: Invalidation) {
        const seen = { start: e.start, end: e.end, event: e.event, owner: undefined, blockable: e.blockable };
        return yield* told(sim, spec.invalidate(state, sub, seen, e.seq), (done) => done ? 1 : 0);
      },
    };
    sub.sub = k.notifiers.insert(process.mm, 0, VPN_END, ops);
    k.mirrors.push(() =>
      tables.map(({ table }) => ({
        name,
        root: table.root,
        mm: process.mm,
        sub: sub.sub,
        odd: false,
        isAtomic: (vpn) => table.isAtomic(vpn),
      }))
    );
    this.raise = (r) => spec.fault(state, kernel, sub, r);
  }

  /** The table through which the device's own accesses go. */
  private get table(): DeviceTable {
    if (this.tables.length > 0) return this.tables[0].table;
    throw new UsageError(
      `Cannot use driver "${this.name}": it has made no table; one is needed; ` +
        "write for example state: (k) => ({ pt: k.deviceTable() })",
    );
  }

  /** A device fault of pages, with its latency recorded. */
  private *service(start: number, end: number, write: boolean): Proc<number> {
    const { k, k: { sim } } = this.bound, a = sim.current, kind = sim.spans.kind("device fault");
    if (!this.presence.enter()) return -ENODEV;
    sim.spans.begin(a, kind, start);
    sim.spend(a, sim.spans.phase("device fault service"), this.cost.faultNs);
    k.watch?.deviceFaultStarts(a);
    const rc = yield* told(sim, this.raise({ start, end, write }));
    k.watch?.deviceFaultEnds(a);
    sim.spans.end(a, kind, end - start);
    this.presence.exit();
    return rc;
  }

  /**
   * A device fault of a region, resolved by the driver.
   *
   * @param region its pages
   * @param write whether the device wants to write
   * @returns what the driver returns: 0 or a negated errno
   */
  *fault(region: Region, write: boolean = false): Proc<number> {
    checkRegion("fault", region, this.process);
    return yield* this.service(region.vpn, region.vpn + region.pages, write);
  }

  /**
   * Takes the driver from the process for good: waits for faults that are under way, ends the subscription, empties the
   * device's tables. From now on faults are -ENODEV; `drv.bind(process)` makes a new one.
   *
   * @returns 0, or -ENODEV when that was done before, or another actor is at it
   */
  *unplug(): Proc<number> {
    return yield* told(this.bound.k.sim, this.remove());
  }

  /** What {@link unplug} does. */
  private *remove(): Proc<number> {
    const { presence, tables, bound: { k: { sim, notifiers }, sub } } = this, a = sim.current;
    if (sim.due(a)) {
      sim.mark(a, AT_UNPLUG, sub);
      yield DUE;
    }
    if (!presence.leave()) return -ENODEV;
    sim.call(a, AT_UNPLUG, sub);
    yield* presence.drain(a);
    yield* notifiers.remove(a, sub);
    sim.ret(a);
    for (const { table } of tables) table.reset();
    presence.gone();
    return 0;
  }

  /**
   * Stores into the first page of a region as the hardware does: through its TLB and table, with no lock and no fault.
   *
   * @param region where it stores
   * @param value the word
   * @returns whether TLB or table had an entry that may be written
   */
  *walkAndStore(region: Region, value: number): Proc<boolean> {
    checkRegion("store", region, this.process);
    checkWord("store", "value", value);
    const { sim } = this.bound.k, a = sim.current;
    if (sim.due(a)) {
      sim.mark(a, AT_HARDWARE, region.vpn, value);
      yield DUE;
    }
    const stored = this.table.store(region.vpn, value);
    sim.note(a, stored ? 1 : 0);
    return stored;
  }

  /** Whether the hardware ever stored into a page that was free: a use after free by the device. */
  storedToFreed(): boolean {
    return this.table.storedToFreed;
  }

  /**
   * Looks for stale entries of the device's table.
   *
   * @param region where to look
   * @returns whether one names a page that the process no longer has there, or may write what that may not
   */
  stale(region: Region): boolean {
    return this.table.stalePage(this.process.mm, region.vpn, region.pages) >= 0;
  }

  /**
   * The device's table of a region.
   *
   * @param region which pages
   * @returns a character a page: `.` nothing, `r` readable, `w` writable
   */
  text(region: Region): string {
    return this.table.text(region.vpn, region.pages);
  }

  /**
   * Work for `m.run`: the device goes over a region once, faulting in pieces.
   *
   * @param region what it goes over, of the process that the driver is bound to
   * @param options `write` (default false); `granulePages`: pages of one fault (default 16, at most 512)
   * @returns the workload
   * @throws {UsageError} for another region, or an option that is none
   */
  stream(
    region: Region,
    options: { readonly write?: boolean; readonly granulePages?: number } = {},
  ): Workload {
    const act = `stream with driver "${this.name}"`, { cost, bound: { k }, machine } = this;
    checkRegion(act, region, this.process);
    checkOptions(act, options, { write: true, granulePages: true }, "{ write: true }");
    const { write = false, granulePages = 16 } = options;
    wholeNumber(act, "granulePages", granulePages, 1, 512);
    return {
      name: `${this.name} ${write ? "writes" : "reads"} ${region.pages} pages in order`,
      start: (m, a) => {
        if (m !== machine) {
          throw new UsageError(
            `Cannot ${act}: it is bound to a process of another machine; one of the machine that runs is allowed; ` +
              "write for example drv.bind(m.process())",
          );
        }
        const out = new AccessResult();
        const device = {
          granulePages,
          accessNs: cost.accessNs,
          phase: k.sim.spans.phase("device access"),
          link: undefined,
          fault: (start: number, end: number, w: boolean) => this.service(start, end, w),
        };
        const proc = deviceAccess(k, a, this.process.mm, this.table, oneRun(region, write, 1), out, device);
        return { proc, out, total: region.pages, done: () => out.pages };
      },
    };
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `DriverHandle of "${this.name}"`;
  }
}
