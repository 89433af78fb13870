/**
 * Sleeping locks: mutexes and reader-writer semaphores as rows of typed columns.
 *
 * A stop precedes every acquisition: another actor may come first there. Locks that are never held across a stop
 * (page-table locks on the clock) need no row: {@link Sim.hold} gives them their time.
 * @module
 */
import { DUE, type Proc, type Sim, site, type Wait } from "./sim.ts";

const AT_LOCK = site("before a lock");
const AT_WAIT = site("waiting for a lock");

const classNames: string[] = [];

/**
 * The class of the locks of one name, for the order in which locks are taken.
 *
 * @param name what locks of this class are called in reports
 * @returns its number, the same for the same name within this process
 */
export function lockClass(name: string): number {
  const known = classNames.indexOf(name);
  return known >= 0 ? known : classNames.push(name) - 1;
}

/** The name of a class of locks. */
export function lockClassName(c: number): string {
  return classNames[c];
}

/** Watches who takes which class of locks; for checkers. */
export interface LockWatch {
  /** Actor `a` is about to take a lock of a class and will sleep until it has it. */
  lockWanted(a: number, c: number): void;
  /** Actor `a` has a lock of a class; `tried` if it did not wait. */
  lockTaken(a: number, c: number, tried: boolean): void;
  /** Actor `a` gives a lock of a class back. */
  lockDropped(a: number, c: number): void;
}

/** All sleeping locks of a machine. Lock `l` is a number; `l` to `l + n - 1` are made together. */
export class Locks {
  private readonly sim: Sim;
  /** Writer: actor + 1, or 0. */
  readonly owner: Int32Array;
  /** Number of readers inside. */
  readonly readers: Int32Array;
  /** Writers that wait; readers let them go first, as rwsem does. */
  readonly writersWaiting: Int32Array;
  /** Told of every lock that is taken and given back. */
  watch: LockWatch | undefined = undefined;
  private readonly queues: Wait[] = [];
  private readonly classes: number[] = [];

  /**
   * Makes room for locks.
   *
   * @param sim the machine's contract
   * @param capacity how many locks there can be
   */
  constructor(sim: Sim, capacity: number) {
    this.sim = sim;
    const used = () => this.queues.length;
    this.owner = sim.state.i32("lock.owner", capacity, used);
    this.readers = sim.state.i32("lock.readers", capacity, used);
    this.writersWaiting = sim.state.i32("lock.writersWaiting", capacity, used);
  }

  /**
   * Makes `n` locks of one kind.
   *
   * @returns the number of the first
   */
  make(name: string, n = 1): number {
    const first = this.queues.length;
    if (first + n > this.owner.length) throw new RangeError(`no room for ${n} more locks of kind "${name}"`);
    for (let i = 0; i < n; i++) {
      const l = first + i;
      this.classes.push(lockClass(name));
      this.queues.push(this.sim.queue(n > 1 ? `${name} ${i}` : name, () => this.holderText(l)));
    }
    return first;
  }

  /** Who has the lock, for reports. */
  private holderText(l: number): string {
    if (this.owner[l] !== 0) return this.sim.actorName(this.owner[l] - 1);
    return this.readers[l] > 0 ? `${this.readers[l]} reader(s)` : "";
  }

  /** What lock `l` is called. */
  nameOf(l: number): string {
    return lockClassName(this.classes[l]);
  }

  /** The queue on which those sleep who wait for lock `l`. */
  queue(l: number): Wait {
    return this.queues[l];
  }

  /**
   * Takes the lock alone if no stop is due and nobody has it: on the hot path
   * `if (!locks.lockNow(a, l)) yield* locks.lock(a, l)` makes no generator.
   */
  lockNow(a: number, l: number): boolean {
    this.sim.mightSleep(a, "lock");
    if (this.sim.due(a) || this.owner[l] !== 0 || this.readers[l] !== 0) return false;
    this.owner[l] = a + 1;
    if (this.watch !== undefined) this.taken(a, l);
    return true;
  }

  /** Takes the lock alone: mutex_lock(), down_write(). */
  *lock(a: number, l: number): Proc {
    const { sim, owner, readers } = this;
    sim.mightSleep(a, "lock");
    this.watch?.lockWanted(a, this.classes[l]);
    if (sim.due(a)) {
      sim.mark(a, AT_LOCK, l);
      yield DUE;
    }
    while (owner[l] !== 0 || readers[l] !== 0) {
      this.writersWaiting[l]++;
      sim.mark(a, AT_WAIT, l);
      yield this.queues[l];
      this.writersWaiting[l]--;
    }
    owner[l] = a + 1;
    this.watch?.lockTaken(a, this.classes[l], false);
  }

  /** Tells the watcher of a lock that was had without waiting, but would have been waited for. */
  private taken(a: number, l: number): void {
    this.watch?.lockWanted(a, this.classes[l]);
    this.watch?.lockTaken(a, this.classes[l], false);
  }

  /** Takes the lock alone if nobody has it: mutex_trylock(). */
  trylock(a: number, l: number): boolean {
    if (this.owner[l] !== 0 || this.readers[l] !== 0) return false;
    this.owner[l] = a + 1;
    this.watch?.lockTaken(a, this.classes[l], true);
    return true;
  }

  /** Gives back what {@link lock} took. */
  unlock(a: number, l: number): void {
    if (this.owner[l] !== a + 1) {
      throw new Error(`${this.sim.actorName(a)} unlocks a lock that it does not hold`);
    }
    this.owner[l] = 0;
    this.watch?.lockDropped(a, this.classes[l]);
    this.sim.wake(this.queues[l]);
  }

  /** Turns a lock taken alone into one of many readers: downgrade_write(). */
  downgrade(a: number, l: number): void {
    this.unlock(a, l);
    this.readers[l] = 1;
    this.watch?.lockTaken(a, this.classes[l], true);
  }

  /** Takes the lock beside other readers if no stop is due and no writer has it or waits for it; as {@link lockNow}. */
  readNow(a: number, l: number): boolean {
    this.sim.mightSleep(a, "read lock");
    if (this.sim.due(a) || this.owner[l] !== 0 || this.writersWaiting[l] !== 0) return false;
    this.readers[l]++;
    if (this.watch !== undefined) this.taken(a, l);
    return true;
  }

  /** Takes the lock beside other readers: down_read(). */
  *read(a: number, l: number): Proc {
    const { sim, owner, writersWaiting } = this;
    sim.mightSleep(a, "read lock");
    this.watch?.lockWanted(a, this.classes[l]);
    if (sim.due(a)) {
      sim.mark(a, AT_LOCK, l, 1);
      yield DUE;
    }
    while (owner[l] !== 0 || writersWaiting[l] !== 0) {
      sim.mark(a, AT_WAIT, l, 1);
      yield this.queues[l];
    }
    this.readers[l]++;
    this.watch?.lockTaken(a, this.classes[l], false);
  }

  /** Takes the lock beside other readers if no writer has it or waits for it: down_read_trylock(). */
  tryRead(l: number): boolean {
    if (this.owner[l] !== 0 || this.writersWaiting[l] !== 0) return false;
    this.readers[l]++;
    this.watch?.lockTaken(this.sim.current, this.classes[l], true);
    return true;
  }

  /** Gives back what {@link read} took. */
  readUnlock(a: number, l: number): void {
    if (this.readers[l] === 0) throw new Error(`${this.sim.actorName(a)} ends a read lock that nobody holds`);
    this.watch?.lockDropped(a, this.classes[l]);
    if (--this.readers[l] === 0) this.sim.wake(this.queues[l]);
  }
}
