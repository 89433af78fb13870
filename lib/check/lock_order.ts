/**
 * Lock order: nobody takes locks in an order that some other one turns round.
 * @module
 */
import { LOCK_NOTIFIER, LOCK_PAGE, LOCK_RECLAIM, LOCK_VMA } from "../mm/watch.ts";
import { lockClass, lockClassName } from "../sim/locks.ts";
import type { Checker } from "./checker.ts";
import { isKnown, MOST_CLASSES, noteOrder } from "./lock_graph.ts";

/** Classes that one actor holds at once. */
const MOST_HELD = 32;

/** Classes of which an actor may take a second lock: a fork takes the child's mmap lock and vmas under the parent's. */
const NESTABLE: ReadonlySet<number> = new Set([lockClass("mmap lock"), LOCK_VMA]);

const lockOrder: Checker = {
  name: "lock order",
  fact: "F18 (a6283010e290), F21 (ec6abe831a84)",
  says:
    "The classes of locks are taken in one order, none twice, an allocation counting as reclaim and reclaim as notifiers.",
  make({ kernel: { sim }, memory, broken }) {
    // By actor: how many classes are held, which, and how many locks of each.
    const depth = memory.u8("held.depth", sim.maxActors);
    const held = memory.u16("held.class", sim.maxActors * MOST_HELD);
    const count = memory.u16("held.count", sim.maxActors * MOST_HELD);
    // Whether an actor is in a callback that is tried again until its lock is had: a trylock there is a wait.
    const insistent = memory.u8("held.insistent", sim.maxActors);

    const wants = (a: number, c: number) => {
      if (a < 0 || c >= MOST_CLASSES || depth[a] === 0) return;
      for (let i = a * MOST_HELD, end = i + depth[a]; i < end; i++) {
        const h = held[i] - 1;
        if (h === c) {
          if (NESTABLE.has(c)) continue;
          broken(`${sim.actorName(a)} wants a second ${lockClassName(c)}: ${chain(a, c)}`);
          continue;
        }
        if (isKnown(h, c)) continue;
        const now = chain(a, c), back = noteOrder(h, c, now);
        if (back === undefined) continue;
        broken(
          `${lockClassName(c)} is wanted under ${lockClassName(h)}, and elsewhere the other way round:\n` +
            `  now:   ${now}\n${back.map((text) => `  first: ${text}`).join("\n")}\n` +
            "  (after a change of the driver: forgetLockOrder())",
        );
      }
    };
    const chain = (a: number, c: number): string => {
      const names = [...held.subarray(a * MOST_HELD, a * MOST_HELD + depth[a])].map((h) =>
        lockClassName(h - 1)
      );
      return `${sim.actorName(a)} holds ${names.join(", ")} and wants ${lockClassName(c)}, at ${
        sim.where(a).map((at) => at.replace(/ \([^)]*\)$/, "")).join(" > ")
      }`;
    };
    const takes = (a: number, c: number) => {
      if (a < 0 || c >= MOST_CLASSES) return;
      const from = a * MOST_HELD;
      for (let i = from; i < from + depth[a]; i++) {
        if (held[i] === c + 1) {
          count[i]++;
          return;
        }
      }
      if (depth[a] === MOST_HELD) return;
      held[from + depth[a]] = c + 1;
      count[from + depth[a]] = 1;
      depth[a]++;
    };
    const drops = (a: number, c: number) => {
      if (a < 0 || depth[a] === 0) return;
      const from = a * MOST_HELD, end = from + depth[a];
      let i = from;
      while (i < end && held[i] !== c + 1) i++;
      // Of vmas a writer gives all back at once; a fault holds one.
      if (i === end || c !== LOCK_VMA && --count[i] > 0) return;
      held.copyWithin(i, i + 1, end);
      count.copyWithin(i, i + 1, end);
      held[end - 1] = count[end - 1] = 0;
      depth[a]--;
    };
    return {
      lockWanted: wants,
      lockTaken(a, c, tried) {
        if (tried && a >= 0 && insistent[a]) wants(a, c);
        takes(a, c);
      },
      lockDropped: drops,
      pageLocked: () => takes(sim.current, LOCK_PAGE),
      pageUnlocked: () => drops(sim.current, LOCK_PAGE),
      pageAwaited: (a) => wants(a, LOCK_PAGE),
      pagesTaken: (a) => wants(a, LOCK_RECLAIM),
      invalidationStarts: (a) => wants(a, LOCK_NOTIFIER),
      callbackStarts(a, _sub, e, sleeping) {
        if (!e.blockable) return;
        takes(a, LOCK_NOTIFIER);
        if (!sleeping) insistent[a] = 1;
      },
      callbackEnds(a, _sub, e) {
        if (!e.blockable) return;
        drops(a, LOCK_NOTIFIER);
        insistent[a] = 0;
      },
    };
  },
};

/** The rules of locks. */
export const LOCKS: readonly Checker[] = [lockOrder];
