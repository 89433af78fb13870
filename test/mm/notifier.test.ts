import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import { EAGAIN } from "../../lib/mm/errno.ts";
import {
  type Invalidation,
  type ListNotifierOps,
  MMU_NOTIFY_CLEAR,
  type NotifierOps,
  Notifiers,
} from "../../lib/mm/notifier.ts";
import { type Actor, complete, resume } from "../../lib/sim/runners.ts";
import { DUE, type Proc, Sim } from "../../lib/sim/sim.ts";
import { draws, interleave } from "../schedule.ts";

const event = (start: number, end: number, more: Partial<Invalidation> = {}): Invalidation => ({
  mm: 0,
  start,
  end,
  event: MMU_NOTIFY_CLEAR,
  owner: 0,
  blockable: true,
  seq: 0,
  ...more,
});

/** Notifiers with a subscriber whose lock a test takes and gives back. */
function made() {
  const sim = new Sim(1, 6), notifiers = new Notifiers(sim, 2, 100), queue = sim.queue("driver lock");
  const log: string[] = [];
  let busy = false;
  /** A subscriber that stores the sequence under its lock, as drivers do. */
  const subscriber = (name: string): NotifierOps & { sub: number } => {
    const ops = {
      sub: -1,
      tryInvalidate(_a: number, e: Invalidation): boolean {
        log.push(`${name} ${busy ? "refuses" : "gives up"} ${e.start}-${e.end}`);
        if (!busy) notifiers.setSeq(ops.sub, e.seq);
        return !busy;
      },
      waitOn: () => queue,
    };
    return ops;
  };
  const insert = (name: string, start: number, end: number, mm = 0) => {
    const ops = subscriber(name);
    return ops.sub = notifiers.insert(mm, start, end, ops);
  };
  const lock = (x: boolean) => {
    busy = x;
    if (!x) sim.wake(queue);
  };
  const run = <R>(proc: Proc<R>, a = 0): R => {
    let result: R | undefined;
    function* keep(): Proc {
      result = yield* proc;
    }
    complete(sim, [{ a, proc: keep() }]);
    return result as R;
  };
  return { sim, notifiers, log, insert, lock, run };
}

/** Starts an actor and lets it go as far as it can. */
function begin(sim: Sim, a: number, proc: Proc<unknown>): { ended: boolean; on: () => boolean } {
  const actor: Actor = { a, proc };
  const state = {
    ended: resume(sim, actor),
    on: () => state.ended || (sim.waitingOn[a] === DUE && (state.ended = resume(sim, actor))),
  };
  return state;
}

describe("interval subscriptions", () => {
  test("hear of the ranges that overlap theirs, in their address space, and of no other", () => {
    const { notifiers, log, insert, run } = made();
    insert("low", 10, 20);
    insert("high", 20, 30);
    insert("other", 10, 20, 1);
    for (const e of [event(0, 10), event(9, 11), event(19, 21), event(29, 100), event(30, 40)]) {
      run(notifiers.start(0, e));
      notifiers.end(0, e);
    }
    expect(log).toEqual([
      "low gives up 9-11",
      "low gives up 19-21",
      "high gives up 19-21",
      "high gives up 29-100",
    ]);
  });

  test("an empty range cannot be subscribed to, and there is an end to subscriptions", () => {
    const { notifiers, insert } = made();
    expect(() => insert("none", 5, 5)).toThrow(UsageError);
    for (let i = 0; i < 256; i++) insert(`s${i}`, 0, 1);
    expect(() => insert("one more", 0, 1)).toThrow("256 subscriptions exist");
    expect(notifiers.any(0)).toBe(true);
  });

  test("a reader begins at once when nothing runs, and is told to retry after an invalidation", () => {
    const { notifiers, insert, run } = made(), s = insert("s", 0, 10);
    const seq = run(notifiers.readBegin(0, s));
    expect(notifiers.readRetry(s, seq)).toBe(false);
    const elsewhere = event(10, 20), here = event(5, 6);
    run(notifiers.start(0, elsewhere));
    expect(notifiers.readRetry(s, seq)).toBe(false);
    notifiers.end(0, elsewhere);
    run(notifiers.start(0, here));
    expect(notifiers.readRetry(s, seq)).toBe(true);
    notifiers.end(0, here);
    const next = run(notifiers.readBegin(0, s));
    expect(next).not.toBe(seq);
    expect(notifiers.readRetry(s, next)).toBe(false);
  });

  test("a reader sleeps while an invalidation of its range runs, and while another one overlaps that", () => {
    const { sim, notifiers, insert, run } = made(),
      s = insert("s", 0, 10),
      first = event(5, 6),
      second = event(7, 8);
    run(notifiers.start(0, first));
    expect(notifiers.seq[0] % 2).toBe(1);
    let seq = -1;
    const reader = begin(
      sim,
      1,
      (function* () {
        seq = yield* notifiers.readBegin(1, s);
      })(),
    );
    run(notifiers.start(0, second));
    notifiers.end(0, first);
    expect([reader.on(), notifiers.seq[0] % 2]).toEqual([false, 1]);
    notifiers.end(0, second);
    expect([reader.on(), notifiers.seq[0] % 2, notifiers.active[0]]).toEqual([true, 0, 0]);
    expect(notifiers.readRetry(s, seq)).toBe(false);
  });

  test("a reader does not sleep for an invalidation that does not reach its range", () => {
    const { sim, notifiers, insert, run } = made(), s = insert("s", 0, 10), t = insert("t", 50, 60);
    const e = event(55, 56);
    run(notifiers.start(0, e));
    expect(begin(sim, 1, notifiers.readBegin(1, s)).ended).toBe(true);
    expect(begin(sim, 2, notifiers.readBegin(2, t)).ended).toBe(false);
    notifiers.end(0, e);
  });

  test("one that is made while an invalidation runs is not valid before that has ended, and hears nothing of it", () => {
    const { sim, notifiers, log, insert, run } = made();
    insert("old", 0, 10);
    const running = event(0, 5);
    run(notifiers.start(0, running));
    const s = insert("new", 0, 10), reader = begin(sim, 1, notifiers.readBegin(1, s));
    expect(reader.ended).toBe(false);
    // Deferred: not yet in the tree, so another invalidation that begins meanwhile does not call it.
    const other = event(0, 5);
    run(notifiers.start(0, other));
    expect(log).toEqual(["old gives up 0-5", "old gives up 0-5"]);
    notifiers.end(0, running);
    expect(reader.on()).toBe(false);
    notifiers.end(0, other);
    expect(reader.on()).toBe(true);
    log.length = 0;
    const e = event(1, 2);
    run(notifiers.start(0, e));
    notifiers.end(0, e);
    expect(log).toEqual(["old gives up 1-2", "new gives up 1-2"]);
  });

  test("one that is made while an invalidation runs that met nobody is live at once", () => {
    const { sim, notifiers, log, insert, run } = made();
    insert("far", 100, 110);
    const running = event(0, 5), more = event(3, 4);
    run(notifiers.start(0, running));
    const s = insert("new", 0, 10), reader = begin(sim, 1, notifiers.readBegin(1, s));
    expect(reader.ended).toBe(false);
    run(notifiers.start(0, more));
    expect(log).toEqual(["new gives up 3-4"]);
    notifiers.end(0, more);
    notifiers.end(0, running);
    expect(reader.on()).toBe(true);
  });

  test("an invalidation that began before anybody subscribed is not counted when it ends", () => {
    const { notifiers, insert, run } = made(), before = event(0, 5), after = event(0, 5);
    run(notifiers.start(0, before));
    insert("s", 0, 10);
    run(notifiers.start(0, after));
    notifiers.end(0, before);
    expect([notifiers.active[0], notifiers.seq[0] % 2]).toEqual([1, 1]);
    notifiers.end(0, after);
    expect([notifiers.active[0], notifiers.seq[0] % 2]).toEqual([0, 0]);
  });
});

describe("a subscriber whose lock is taken", () => {
  test("makes a blockable invalidation wait for it", () => {
    const { sim, notifiers, log, insert, lock } = made(), e = event(1, 2);
    insert("s", 0, 10);
    lock(true);
    const caller = begin(sim, 1, notifiers.start(1, e));
    expect(caller.ended).toBe(false);
    lock(false);
    expect(caller.on()).toBe(true);
    expect(log).toEqual(["s refuses 1-2", "s gives up 1-2"]);
    notifiers.end(1, e);
    expect(notifiers.active[0]).toBe(0);
  });

  test("makes a non-blockable one fail with -EAGAIN; it is closed then, and has no end", () => {
    const { notifiers, log, insert, lock, run } = made(), e = event(1, 2, { blockable: false });
    const s = insert("s", 0, 10), next = insert("next", 0, 10);
    lock(true);
    expect(run(notifiers.start(0, e))).toBe(-EAGAIN);
    expect(log).toEqual(["s refuses 1-2"]);
    expect([notifiers.active[0], notifiers.seq[0] % 2]).toEqual([0, 0]);
    lock(false);
    for (const sub of [s, next]) {
      const seq = run(notifiers.readBegin(0, sub));
      expect(notifiers.readRetry(sub, seq)).toBe(false);
    }
  });

  test("is asked in an atomic context when the range is not blockable", () => {
    const { sim, notifiers, run } = made(), e = event(1, 2, { blockable: false });
    const ops: NotifierOps = {
      tryInvalidate: (a) => (sim.mightSleep(a, "a lock of the driver"), true),
      waitOn: () => DUE,
    };
    notifiers.insert(0, 0, 10, ops);
    expect(() => run(notifiers.start(0, e))).toThrow(
      "would sleep in an atomic context: a lock of the driver",
    );
    const sleeping = made();
    sleeping.notifiers.insert(0, 0, 10, {
      ...ops,
      *invalidate(a): Proc<boolean> {
        if (sleeping.sim.due(a)) yield DUE;
        sleeping.sim.mightSleep(a, "the sleeping form");
        return true;
      },
    });
    expect(() => sleeping.run(sleeping.notifiers.start(0, e))).toThrow("atomic context: the sleeping form");
  });
});

describe("remove", () => {
  test("ends a subscription at once when nothing runs", () => {
    const { notifiers, log, insert, run } = made(), s = insert("s", 0, 10);
    run(notifiers.remove(0, s));
    run(notifiers.start(0, event(1, 2)));
    expect(log).toEqual([]);
    expect(() => run(notifiers.remove(0, s))).toThrow("was not there");
  });

  test("waits for a running invalidation, and hears of what begins meanwhile", () => {
    const { sim, notifiers, log, insert, run } = made(),
      s = insert("s", 0, 10),
      e = event(1, 2),
      later = event(3, 4);
    run(notifiers.start(0, e));
    const remover = begin(sim, 1, notifiers.remove(1, s));
    expect(remover.ended).toBe(false);
    run(notifiers.start(0, later));
    expect(log).toEqual(["s gives up 1-2", "s gives up 3-4"]);
    notifiers.end(0, e);
    expect(remover.on()).toBe(false);
    notifiers.end(0, later);
    expect(remover.on()).toBe(true);
  });

  test("does not let a new subscription take the place of one that is being called", () => {
    const { sim, notifiers, log, insert, lock } = made(), s = insert("old", 0, 10), e = event(1, 2);
    lock(true);
    const caller = begin(sim, 1, notifiers.start(1, e)), remover = begin(sim, 2, notifiers.remove(2, s));
    expect([caller.ended, remover.ended]).toEqual([false, false]);
    const other = insert("new", 500, 600);
    lock(false);
    expect(caller.on()).toBe(true);
    expect(log).toEqual(["old refuses 1-2", "old gives up 1-2"]);
    expect(other).not.toBe(s);
    notifiers.end(1, e);
    expect(remover.on()).toBe(true);
    expect(insert("newest", 0, 10)).toBe(s);
  });

  test("of one that is still deferred does not wait", () => {
    const { sim, notifiers, log, insert, run } = made(), e = event(1, 2);
    insert("old", 0, 10);
    run(notifiers.start(0, e));
    const s = insert("new", 0, 10);
    expect(begin(sim, 1, notifiers.remove(1, s)).ended).toBe(true);
    notifiers.end(0, e);
    run(notifiers.start(0, event(1, 2)));
    expect(log.filter((x) => x.startsWith("new"))).toEqual([]);
  });

  test("is an assertion where nobody may sleep", () => {
    const { sim, notifiers, insert, run } = made(), s = insert("s", 0, 10);
    sim.enterAtomic(0);
    expect(() => run(notifiers.remove(0, s))).toThrow("atomic context: mmu_interval_notifier_remove");
    expect(() => run(notifiers.readBegin(0, s))).toThrow("atomic context: mmu_interval_read_begin");
  });

  test("leaves the state as it was before the subscription", () => {
    const { sim, notifiers, insert, run } = made();
    insert("s", 0, 10);
    run(notifiers.readBegin(0, 0)); // an actor that has ended is another state than one that never began
    const before = sim.state.snapshot();
    run(notifiers.remove(0, insert("t", 5, 6)));
    expect(sim.state.differences(before)).toEqual([]);
  });
});

describe("list notifiers", () => {
  const list = (log: string[], name: string, answer = 0): ListNotifierOps => ({
    // deno-lint-ignore require-yield -- it may sleep, but need not
    *invalidateRangeStart(_a, e) {
      log.push(`${name} starts ${e.start}`);
      return answer;
    },
    invalidateRangeEnd: (_a, e) => void log.push(`${name} ends ${e.start}`),
  });

  test("are called after the interval subscriptions, until they are unregistered", () => {
    const { notifiers, log, insert, run } = made(), e = event(1, 2), again = event(3, 4);
    const unregister = notifiers.register(0, list(log, "list"));
    notifiers.register(1, list(log, "elsewhere"));
    insert("interval", 0, 10);
    run(notifiers.start(0, e));
    notifiers.end(0, e);
    expect(log).toEqual(["interval gives up 1-2", "list starts 1", "list ends 1"]);
    unregister();
    log.length = 0;
    run(notifiers.start(0, again));
    notifiers.end(0, again);
    expect(log).toEqual(["interval gives up 3-4"]);
  });

  test("whoever was told of a range that is then given up hears its end", () => {
    const { notifiers, log, run } = made(), e = event(1, 2, { blockable: false });
    notifiers.register(0, list(log, "first"));
    notifiers.register(0, list(log, "busy", -EAGAIN));
    notifiers.register(0, list(log, "last"));
    expect(run(notifiers.start(0, e))).toBe(-EAGAIN);
    expect(log).toEqual(["first starts 1", "busy starts 1", "last starts 1", "first ends 1", "last ends 1"]);
    expect([notifiers.active[0], notifiers.seq[0] % 2]).toEqual([0, 0]);
  });

  test("may not refuse a range that lets them sleep", () => {
    const { notifiers, log, run } = made();
    notifiers.register(0, list(log, "busy", -EAGAIN));
    expect(() => run(notifiers.start(0, event(1, 2)))).toThrow("refuses a range that lets it sleep");
  });
});

test("no reader ever holds an answer that an invalidation has changed under it", () => {
  let copied = 0, retried = 0;
  const schedule = (seed: number) => {
    const { sim, notifiers, insert } = made(), s = insert("s", 0, 10);
    // The word stands for the page table, the copy for what the device has derived from it.
    let word = 0, copy = -1;
    const zap: NotifierOps = {
      tryInvalidate(_a, e) {
        notifiers.setSeq(s, e.seq);
        copy = -1;
        return true;
      },
      waitOn: () => DUE,
    };
    Object.assign(notifiers["ops"][s]!, zap);
    function* writer(a: number): Proc {
      for (let i = 0; i < 3; i++) {
        const e = event(1, 2);
        yield* notifiers.start(a, e);
        yield DUE;
        expect(copy).toBe(-1);
        word++;
        yield DUE;
        notifiers.end(a, e);
      }
    }
    function* reader(a: number): Proc {
      for (let i = 0; i < 4; i++) {
        const seq = yield* notifiers.readBegin(a, s), seen = word;
        yield DUE;
        if (notifiers.readRetry(s, seq)) {
          retried++;
          continue;
        }
        expect(seen).toBe(word);
        copy = seen;
        copied++;
        yield DUE;
      }
    }
    interleave(sim, [1, 2, 3, 4].map((a) => ({ a, proc: a < 3 ? writer(a) : reader(a) })), draws(seed));
    expect([notifiers.active[0], notifiers.seq[0] % 2]).toEqual([0, 0]);
    if (copy >= 0) expect(copy).toBe(word);
  };
  for (let seed = 0; seed < 400; seed++) schedule(seed);
  expect(copied).toBeGreaterThan(400);
  expect(retried).toBeGreaterThan(400);
});
