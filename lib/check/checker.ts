/**
 * What a checker is, and how checkers are attached to a kernel.
 * @module
 */
import type { Batches } from "../hmm/batches.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { MirrorView, Watch } from "../mm/watch.ts";
import { Arena } from "../sim/arena.ts";
import { Census } from "./census.ts";
import { type BrokenRule, InvariantError } from "./violation.ts";

/** Where a rule is broken; what is left out is not named. */
export interface Where {
  /** Address space. */
  readonly mm?: number;
  /** Virtual page. */
  readonly vpn?: number;
  /** Frame. */
  readonly pfn?: number;
}

/** What a checker works with. It changes nothing but its own columns. */
export interface Scene {
  /** The machine. */
  readonly kernel: Kernel;
  /** Arrays that migrations take, if the machine has them. */
  readonly batches: Batches | undefined;
  /** What checkers remember: columns beside the machine's state, saved, restored and hashed with it. */
  readonly memory: Arena;
  /** What was counted by walking every table: valid within one check at rest. */
  readonly census: Census;
  /** The mirrors of all devices. */
  mirrors(): MirrorView[];
  /** Reports a broken rule: at rest the check goes on, anywhere else the run ends at once. */
  broken(what: string, where?: Where): void;
}

/** When a checker looks. */
export type Hooks = Partial<Watch> & {
  /** At a stop: cheap, and true whoever is in the middle of what. */
  atStop?(): void;
  /** When every actor has ended: counts from outside. */
  atRest?(): void;
};

/** One rule. */
export interface Checker {
  /** A short name in the kernel's terms. */
  readonly name: string;
  /** The hard case that it stands for, "F3", with the kernel's fix if there is one; "conservation" for counts. */
  readonly fact: string;
  /** What must hold, in one sentence. */
  readonly says: string;
  /** Makes the rule's hooks for a machine, and the columns that it remembers in. */
  make(scene: Scene): Hooks;
}

type Call = (...args: readonly unknown[]) => void;

/** The points of {@link Watch}; the type makes sure that none is forgotten. */
const POINTS: Readonly<Record<keyof Watch, true>> = {
  lockWanted: true,
  lockTaken: true,
  lockDropped: true,
  pageLocked: true,
  pageUnlocked: true,
  pageAwaited: true,
  invalidationStarts: true,
  invalidationRefused: true,
  invalidationEnds: true,
  callbackStarts: true,
  callbackEnds: true,
  rangeFaultStarts: true,
  rangeFaultEnds: true,
  deviceFaultStarts: true,
  deviceFaultDeadline: true,
  deviceFaultExpired: true,
  deviceFaultEnds: true,
  migrationStarts: true,
  migrationCollected: true,
  migrationMoved: true,
  migrationFinalizes: true,
  migrationEnds: true,
  cpuStored: true,
  deviceMapped: true,
  faultBackStarts: true,
  faultBackEnds: true,
  devicePageTaken: true,
  devicePageFreed: true,
  pageCleaned: true,
  pagesTaken: true,
  mmGone: true,
  mirrorLinked13: true,
  mirrorUnlinked13: true,
  invalidationStarts13: true,
  mirrorTold13: true,
  invalidationTold13: true,
  monitorStarts13: true,
  monitorEnds13: true,
  sleepsInAtomic: true,
};

/** Checkers that are attached to one machine. */
export class Checkers {
  /** What they remember; saved, restored and hashed together with the machine's state. */
  readonly memory: Arena = new Arena();
  /** Their names, in order. */
  readonly names: readonly string[];
  private readonly hooks: readonly { readonly checker: Checker; readonly hooks: Hooks }[];
  private readonly census: Census;
  private collected: BrokenRule[] | undefined;

  /**
   * Attaches checkers: from now on they see everything that happens.
   *
   * @param kernel the machine, with nothing under way
   * @param seed the machine's seed, for reports
   * @param checkers the rules
   * @param batches arrays that migrations take
   */
  constructor(
    private readonly kernel: Kernel,
    private readonly seed: number,
    checkers: readonly Checker[],
    batches?: Batches,
  ) {
    const { memory } = this, census = this.census = new Census(kernel);
    this.names = checkers.map((c) => c.name);
    this.hooks = checkers.map((checker) => {
      const scene: Scene = {
        kernel,
        batches,
        memory,
        census,
        mirrors: () => kernel.mirrors.flatMap((list) => list()),
        broken: (what, where) => this.broken(checker, what, where),
      };
      return { checker, hooks: checker.make(scene) };
    });
    kernel.watchWith(this.fanOut());
  }

  /** One watcher that tells each checker what it wants to hear. */
  private fanOut(): Watch {
    const all: Record<string, Call> = {};
    for (const point of Object.keys(POINTS) as (keyof Watch)[]) {
      const calls: Call[] = [];
      for (const { hooks } of this.hooks) {
        const call = hooks[point] as Call | undefined;
        if (call !== undefined) calls.push(call.bind(hooks));
      }
      all[point] = calls.length === 1 ? calls[0] : (...args) => {
        for (const call of calls) call(...args);
      };
    }
    return all as unknown as Watch;
  }

  /** Notes a broken rule; throws it unless a check at rest collects. */
  private broken({ name, fact }: Checker, what: string, { mm, vpn, pfn }: Where = {}): void {
    const { sim } = this.kernel, a = sim.current, page: string[] = [];
    if (vpn !== undefined) {
      page.push(`page 0x${vpn.toString(16)}${mm === undefined ? "" : ` of space ${mm}`}`);
    }
    if (pfn !== undefined) page.push(`frame ${pfn}`);
    const broken: BrokenRule = {
      rule: name,
      fact,
      what,
      actor: a < 0 ? "nobody" : sim.actorName(a),
      atNs: a < 0 ? sim.latestNs : sim.nowNs[a],
      page: page.join(", "),
      seed: this.seed,
    };
    if (this.collected === undefined) throw new InvariantError([broken]);
    this.collected.push(broken);
  }

  /**
   * Looks at a stop.
   *
   * @throws {InvariantError} for the first rule that is broken
   */
  atStop(): void {
    for (const { hooks } of this.hooks) hooks.atStop?.();
  }

  /**
   * Counts everything when every actor has ended.
   *
   * @param outside references that somebody outside the machine holds, by frame
   * @returns what is broken; empty when all is well
   */
  brokenAtRest(outside?: ReadonlyMap<number, number>): readonly BrokenRule[] {
    const found: BrokenRule[] = this.collected = [];
    this.census.forget();
    this.census.outside = outside;
    try {
      for (const { hooks } of this.hooks) {
        hooks.atStop?.();
        hooks.atRest?.();
      }
    } finally {
      this.collected = undefined;
    }
    return found;
  }

  /**
   * As {@link brokenAtRest}.
   *
   * @throws {InvariantError} naming all that is broken
   */
  atRest(): void {
    const found = this.brokenAtRest();
    if (found.length > 0) throw new InvariantError(found);
  }
}
