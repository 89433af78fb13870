/**
 * Mirrors of patchset v13: who hears that an address space changes (patch 9).
 * @module
 */
import { describe } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import { EINVAL, ENOMEM } from "../../mm/errno.ts";
import { DUE, type Proc, site } from "../../sim/sim.ts";
import { type HmmMirrorOps, HmmSpaces, type MirrorHead } from "./hmm.ts";
import { type MmStruct, tell } from "./mm.ts";

const AT_REGISTER = site("v13 hmm_mirror_register: taking mmap_sem");
const AT_UNREGISTER = site("v13 hmm_mirror_unregister: before it is unlinked");
const AT_ENDS = site("v13 hmm_mirror_unregister: waiting for invalidations");

/**
 * A device's mirror of an address space: v13 `struct hmm_mirror` (patch 9).
 *
 * Removed in Linux 5.5: a duplicate of mmu_notifier, one list for the whole address space where an interval tree now is.
 */
export class HmmMirror implements MirrorHead {
  /** The user's calls. */
  readonly ops: HmmMirrorOps;
  private space: MmStruct | undefined;
  private row = -1;

  /**
   * Makes a mirror of nothing; {@linkcode hmmMirrorRegister} binds it.
   *
   * @param ops the user's calls
   */
  constructor(ops: HmmMirrorOps) {
    this.ops = ops;
  }

  /** The address space that it mirrors, `mirror->hmm->mm`; undefined when it is not registered. */
  get mm(): MmStruct | undefined {
    const { space } = this;
    return space !== undefined && HmmSpaces.of(space.kernel).linked(this.row, this) ? space : undefined;
  }

  /** Notes where it is linked; for {@linkcode hmmMirrorRegister}. */
  bind(space: MmStruct, row: number): void {
    this.space = space;
    this.row = row;
  }

  /** Takes it off its list; for {@linkcode hmmMirrorUnregister}. */
  unlink(): void {
    if (this.space !== undefined) HmmSpaces.of(this.space.kernel).unlink(this.row);
  }
}

/**
 * Registers a mirror: v13 `hmm_mirror_register()` (patch 9), in 4.14 still of that name; 6.12 has
 * `mmu_interval_notifier_insert()`.
 *
 * The first one of an address space takes mmap_sem for writing, so the caller must not hold it.
 *
 * @param mirror the mirror, its `ops` set
 * @param mm the address space
 * @returns 0; -EINVAL without a mirror, its ops, or an address space; -ENOMEM when there is no room (or at failure point
 * "page allocation")
 * @throws {UsageError} for a mirror that is registered already: the list of 2016 would have been destroyed
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process(), heap = p.mmap("8 KiB"), dropped: number[] = [];
 * const mirror = new v13.HmmMirror({
 *   *update(_mirror, _action, start, end) {
 *     dropped.push(end - start);
 *   },
 * });
 * console.log(p.complete(v13.hmmMirrorRegister(mirror, new v13.MmStruct(p)))); // 0
 * p.munmap(heap);
 * console.log(dropped); // [ 2 ]
 * ```
 */
export function* hmmMirrorRegister(mirror: HmmMirror | null, mm: MmStruct | null): Proc<number> {
  if (mm === null) return -EINVAL;
  const { kernel: k } = mm, { sim, locks } = k, a = sim.current, hmm = HmmSpaces.of(k);
  if (mirror === null || typeof mirror.ops?.update !== "function") return tell(k, -EINVAL);
  if (mirror.mm !== undefined) {
    throw new UsageError(
      `Cannot register a mirror: got ${describe(mirror)}, which is registered; one that is not is allowed; ` +
        "call hmmMirrorUnregister(mirror) first",
    );
  }
  if (!hmm.register(a, mm.mm)) return tell(k, -ENOMEM);
  if (!hmm.hears(mm.mm)) {
    sim.call(a, AT_REGISTER, mm.mm);
    yield* locks.lock(a, k.mmapLock(mm.mm));
    sim.ret(a);
    if (!hmm.hears(mm.mm)) hmm.hear(mm.mm);
    locks.unlock(a, k.mmapLock(mm.mm));
  }
  const row = hmm.link(mm.mm, mirror);
  if (row < 0) return tell(k, -ENOMEM);
  mirror.bind(mm, row);
  return tell(k, 0);
}

/**
 * Ends a mirror: v13 `hmm_mirror_unregister()` (patch 9). It is taken off the list, then waited until no invalidation is
 * under way, so that nobody calls it any more. It must not be called from `update`.
 *
 * @param mirror a registered mirror
 * @throws {UsageError} for a mirror that is not registered
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process(), mm = new v13.MmStruct(p);
 * const mirror = new v13.HmmMirror({ *update() {} });
 * p.complete(v13.hmmMirrorRegister(mirror, mm));
 * p.complete(v13.hmmMirrorUnregister(mirror));
 * console.log(mirror.mm); // undefined
 * ```
 */
export function* hmmMirrorUnregister(mirror: HmmMirror): Proc {
  const { mm } = mirror;
  if (mm === undefined) {
    throw new UsageError(
      `Cannot unregister a mirror: got ${
        describe(mirror)
      }, which is not registered; one that is is allowed; ` +
        "call hmmMirrorRegister(mirror, mm) first",
    );
  }
  const { kernel: k } = mm, { sim } = k, a = sim.current, hmm = HmmSpaces.of(k);
  sim.mightSleep(a, "hmm_mirror_unregister");
  if (sim.due(a)) {
    sim.mark(a, AT_UNREGISTER, mm.mm);
    yield DUE;
  }
  mirror.unlink();
  while (hmm.count[mm.mm] !== 0) {
    sim.mark(a, AT_ENDS, mm.mm);
    yield hmm.queue(mm.mm);
  }
}
