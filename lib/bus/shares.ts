/**
 * Bandwidth that transfers in flight share: lanes with a rate, and workers that move one descriptor after the other.
 *
 * A lane gives each transfer in flight the same share of its rate, or what the transfer can use if that is less (its own
 * most, its share of another lane that it crosses), and what such a one leaves to the others (max-min fairness). Shares are
 * whole bytes per second, rounded down, and a transfer ends with the nanosecond in which its last byte crosses: so a lane
 * never moves more than its rate allows, and a transfer alone takes exactly as long as transferNs() says (for more than
 * 8 MiB up to 1 ns longer for each 8 MiB).
 * @module
 */

/** Most bytes whose product with 1e9 is exact; longer descriptors are moved in pieces of this length. */
const PIECE_BYTES = 1 << 23;
const NS_PER_SECOND = 1e9;

/** One piece of work of a worker. */
export interface Descriptor {
  /** The lanes that it crosses, all of them at once; each once. */
  readonly lanes: readonly number[];
  /** Its length, 1 or more. */
  readonly bytes: number;
  /** Most that this transfer moves, in whole bytes per second. */
  readonly mostBytesPerSecond: number;
  /** Time from when the worker takes it up to its first byte. */
  readonly setupNs: number;
}

/** Where everything is at one time; copied to look ahead. */
interface Progress {
  nowNs: number;
  /** By worker: the descriptor it is at. */
  head: number[];
  /** By worker: when its descriptor's first byte can go. */
  readyNs: number[];
  /** By worker: what of the piece has not crossed, in bytes times 1e9; 0 while it is being set up. */
  left: number[];
  /** By worker: bytes of its descriptor after this piece. */
  rest: number[];
  /** By worker: when its descriptor's first byte went. */
  startNs: number[];
  /** Descriptors that have not ended. */
  pending: number;
  /** By job: descriptors that have not ended. */
  open: number[];
  /** By job: when the last of them ended. */
  endNs: number[];
}

function copyOf(p: Progress): Progress {
  return {
    nowNs: p.nowNs,
    head: p.head.slice(),
    readyNs: p.readyNs.slice(),
    left: p.left.slice(),
    rest: p.rest.slice(),
    startNs: p.startNs.slice(),
    pending: p.pending,
    open: p.open.slice(),
    endNs: p.endNs.slice(),
  };
}

/** x / y, rounded up, for whole numbers. */
function divideUp(x: number, y: number): number {
  const rest = x % y;
  return (x - rest) / y + (rest > 0 ? 1 : 0);
}

/** What `bytes` take at a rate, piece by piece. */
function piecesNs(bytes: number, rate: number): number {
  let ns = 0;
  for (let left = bytes; left > 0; left -= PIECE_BYTES) {
    ns += divideUp(Math.min(left, PIECE_BYTES) * NS_PER_SECOND, rate);
  }
  return ns;
}

/** Told of each descriptor that has crossed: its lane, when its first and last byte did, its length. */
export type Crossed = (lane: number, startNs: number, endNs: number, bytes: number) => void;

/** Lanes and workers with a time of their own, which only goes on when it is told to. */
export class Shares {
  /** Rates of the lanes, in whole bytes per second. */
  readonly lanes: number[] = [];
  private readonly queues: { readonly d: Descriptor; readonly job: number }[][] = [];
  private readonly freeJobs: number[] = [];
  // Scratch of run() and shareOut(): workers with something to do, and of those that move; rates by worker; what is left of
  // each lane and for how many.
  private readonly busy: number[] = [];
  private readonly flows: number[] = [];
  private readonly rate: number[] = [];
  private readonly restOf: number[] = [];
  private readonly crossing: number[] = [];
  private now: Progress = {
    nowNs: 0,
    head: [],
    readyNs: [],
    left: [],
    rest: [],
    startNs: [],
    pending: 0,
    open: [],
    endNs: [],
  };

  /**
   * Makes no lanes and no workers, at time 0.
   *
   * @param crossed told of what has crossed
   */
  constructor(private readonly crossed: Crossed = () => {}) {}

  /** Its time, in ns. */
  get nowNs(): number {
    return this.now.nowNs;
  }

  /** Whether every descriptor has ended by its time. */
  get idle(): boolean {
    return this.now.pending === 0;
  }

  /** What a descriptor takes if nothing else is under way, in ns. */
  aloneNs(d: Descriptor): number {
    return d.setupNs + piecesNs(d.bytes, this.mostOf(d));
  }

  /** Lets a descriptor cross while nothing else is under way. Returns when it ends, in ns. */
  pass(atNs: number, d: Descriptor): number {
    const { now } = this, ns = this.aloneNs(d);
    now.nowNs = Math.max(now.nowNs, atNs) + ns;
    for (const lane of d.lanes) this.crossed(lane, now.nowNs - ns + d.setupNs, now.nowNs, d.bytes);
    return now.nowNs;
  }

  /** The rate of a descriptor that has its lanes for itself. */
  private mostOf(d: Descriptor): number {
    let rate = d.mostBytesPerSecond;
    for (const lane of d.lanes) rate = Math.min(rate, this.lanes[lane]);
    return Math.max(1, rate);
  }

  /** Makes a worker, with nothing to do. */
  worker(): number {
    const { now } = this;
    now.head.push(0);
    for (const column of [now.readyNs, now.left, now.rest, now.startNs, this.rate]) column.push(0);
    return this.queues.push([]) - 1;
  }

  /** Makes a job, to which descriptors then belong. */
  job(): number {
    const { open, endNs } = this.now, j = this.freeJobs.pop() ?? open.length;
    open[j] = endNs[j] = 0;
    return j;
  }

  /** Forgets a job that has ended. */
  freeJob(job: number): void {
    this.freeJobs.push(job);
  }

  /** Descriptors of a job that have not ended. */
  open(job: number): number {
    return this.now.open[job];
  }

  /** Descriptors that a worker has not finished. */
  queued(worker: number): number {
    return this.queues[worker].length - this.now.head[worker];
  }

  /** Bytes of the descriptors that a worker has not finished. */
  backlogBytes(worker: number): number {
    let bytes = 0;
    for (let i = this.now.head[worker]; i < this.queues[worker].length; i++) {
      bytes += this.queues[worker][i].d.bytes;
    }
    return bytes;
  }

  /**
   * Puts a descriptor at the end of a worker's queue.
   *
   * @param atNs when; if its own time is later than that, then
   */
  submit(atNs: number, worker: number, job: number, d: Descriptor): void {
    const { now } = this, queue = this.queues[worker];
    if (now.head[worker] === queue.length) {
      queue.length = now.head[worker] = 0;
      now.readyNs[worker] = Math.max(now.nowNs, atNs) + d.setupNs;
      now.left[worker] = now.rest[worker] = 0;
    }
    queue.push({ d, job });
    now.open[job]++;
    now.pending++;
  }

  /** Goes on to a time, if it is not there yet. */
  advance(toNs: number): void {
    this.run(this.now, toNs, () => false, this.crossed);
  }

  /** When a job ends, or would end if nothing else came, in ns. */
  endNs(job: number): number {
    const { now } = this;
    if (now.open[job] === 0) return now.endNs[job];
    if (now.pending === 1) return this.onlyEndNs();
    const s = copyOf(now);
    this.run(s, Infinity, () => s.open[job] === 0, undefined);
    return s.endNs[job];
  }

  /** When the only descriptor that is under way ends. */
  private onlyEndNs(): number {
    const { now, queues } = this;
    let w = 0;
    while (now.head[w] >= queues[w].length) w++;
    const { d } = queues[w][now.head[w]], rate = this.mostOf(d);
    if (now.left[w] === 0) return Math.max(now.nowNs, now.readyNs[w]) + piecesNs(d.bytes, rate);
    return now.nowNs + divideUp(now.left[w], rate) + piecesNs(now.rest[w], rate);
  }

  /** When a busy worker would end the descriptor that it is at, if nothing else came, in ns. */
  nextEndNs(worker: number): number {
    const s = copyOf(this.now), was = s.head[worker];
    this.run(s, Infinity, () => s.head[worker] > was, undefined);
    return s.nowNs;
  }

  /** Gives each worker's transfer its rate: again and again the one that can use the least gets what it can. */
  private shareOut(s: Progress): void {
    const { busy, flows, rate, restOf, crossing } = this;
    const of = (w: number) => this.queues[w][s.head[w]].d;
    flows.length = 0;
    for (const w of busy) {
      rate[w] = 0;
      if (s.left[w] > 0) flows.push(w);
    }
    if (flows.length === 1) {
      rate[flows[0]] = this.mostOf(of(flows[0]));
      return;
    }
    for (let lane = 0; lane < this.lanes.length; lane++) {
      restOf[lane] = this.lanes[lane];
      crossing[lane] = 0;
    }
    for (const w of flows) for (const lane of of(w).lanes) crossing[lane]++;
    while (flows.length > 0) {
      let at = 0, least = Infinity, most = Infinity;
      for (let i = 0; i < flows.length; i++) {
        const { lanes, mostBytesPerSecond: own } = of(flows[i]);
        let share = own;
        for (const lane of lanes) share = Math.min(share, Math.floor(restOf[lane] / crossing[lane]));
        if (share < least || (share === least && own < most)) [at, least, most] = [i, share, own];
      }
      const w = flows[at], got = rate[w] = Math.max(1, least);
      for (const lane of of(w).lanes) {
        restOf[lane] -= got;
        crossing[lane]--;
      }
      flows.splice(at, 1);
    }
  }

  /** Goes on to a time, or until `done`. */
  private run(s: Progress, toNs: number, done: () => boolean, crossed: Crossed | undefined): void {
    const { busy, rate } = this;
    while (s.pending > 0) {
      busy.length = 0;
      for (let w = 0; w < s.head.length; w++) if (s.head[w] < this.queues[w].length) busy.push(w);
      for (const w of busy) if (s.left[w] === 0 && s.readyNs[w] <= s.nowNs) this.begin(s, w);
      if (done()) break;
      this.shareOut(s);
      let next = Infinity;
      for (const w of busy) {
        next = Math.min(next, s.left[w] > 0 ? s.nowNs + divideUp(s.left[w], rate[w]) : s.readyNs[w]);
      }
      const at = Math.min(next, toNs), ns = at - s.nowNs;
      if (ns > 0) {
        for (const w of busy) if (s.left[w] > 0) s.left[w] = Math.max(0, s.left[w] - rate[w] * ns);
        s.nowNs = at;
      }
      if (at < next) return;
      for (const w of busy) if (rate[w] > 0 && s.left[w] === 0) this.finish(s, w, crossed);
    }
    if (toNs < Infinity) s.nowNs = Math.max(s.nowNs, toNs);
  }

  /** The first byte of a worker's descriptor goes. */
  private begin(s: Progress, w: number): void {
    const { bytes } = this.queues[w][s.head[w]].d, piece = Math.min(bytes, PIECE_BYTES);
    s.left[w] = piece * NS_PER_SECOND;
    s.rest[w] = bytes - piece;
    s.startNs[w] = s.nowNs;
  }

  /** The last byte of a worker's piece has crossed. */
  private finish(s: Progress, w: number, crossed: Crossed | undefined): void {
    const { d, job } = this.queues[w][s.head[w]];
    if (s.rest[w] > 0) {
      const piece = Math.min(s.rest[w], PIECE_BYTES);
      s.left[w] = piece * NS_PER_SECOND;
      s.rest[w] -= piece;
      return;
    }
    if (crossed !== undefined) { for (const lane of d.lanes) crossed(lane, s.startNs[w], s.nowNs, d.bytes); }
    s.head[w]++;
    s.pending--;
    if (--s.open[job] === 0) s.endNs[job] = s.nowNs;
    if (s.head[w] < this.queues[w].length) {
      s.readyNs[w] = s.nowNs + this.queues[w][s.head[w]].d.setupNs;
    }
  }
}
