/**
 * The ways between a machine's memories, and engines that copy over them: channels of a DMA engine, threads of CPUs.
 *
 * Unlike a device's own engine behind its own link (link.ts), these share what they cross with everybody.
 * @module
 */
import { EIO } from "../mm/errno.ts";
import { type CopyEngine, NO_PAGE } from "../mm/copy_engine.ts";
import { type Pages, PG_LARGE } from "../mm/pages.ts";
import type { Timeline } from "../record/timeline.ts";
import { DUE, type Proc, type Sim, site } from "../sim/sim.ts";
import { PAGE_SIZE } from "../units.ts";
import { keepRows } from "./link.ts";
import { SharedLinks } from "./shared_links.ts";
import type { Descriptor } from "./shares.ts";

const AT_MAP = site("copy engine: before the mapping");
const AT_PAGE = site("copy engine: before a page is copied");
const AT_MOVE = site("copy engine: transfers under way");
const AT_DONE = site("copy engine: copied");

/** The ways between the zones of a machine: from each to each a lane, so each direction has a rate of its own. */
export class Interconnect {
  /** Lanes and what moves over them. */
  readonly links: SharedLinks;
  private readonly lanes = new Map<number, number>();

  /**
   * Makes the ways of a machine, nothing on them.
   *
   * @param sim the machine's contract
   * @param pages its struct pages; each zone is an end
   * @param bytesPerSecond rate of each way and direction, in whole bytes per second
   */
  constructor(readonly sim: Sim, readonly pages: Pages, readonly bytesPerSecond: number) {
    this.links = new SharedLinks(sim);
  }

  /** The lane from one zone to another (or within one), by their numbers. */
  lane(from: number, to: number): number {
    const key = from * 256 + to, known = this.lanes.get(key);
    if (known !== undefined) return known;
    const { zones } = this.pages;
    const lane = this.links.lane(`${zones[from].name} to ${zones[to].name}`, this.bytesPerSecond);
    this.lanes.set(key, lane);
    return lane;
  }

  /** The lane that a copy of a page crosses. */
  laneOf(src: number, dst: number): number {
    return this.lane(this.pages.zoneOf(src).number, this.pages.zoneOf(dst).number);
  }

  /** Bytes that have crossed from one zone to another, over virtual time. */
  bytesOf(from: number, to: number): Timeline {
    return this.links.bytesOf(this.lane(from, to));
  }
}

/** Pages that lie one after the other, in the source as in the destination. */
export interface CopySpan {
  /** The lane that it crosses. */
  readonly lane: number;
  /** Its length in pages. */
  readonly pages: number;
}

/** What engines on an interconnect have in common: take the content over, and let the time of it pass. */
export abstract class InterconnectEngine implements CopyEngine {
  /**
   * For those who extend it.
   *
   * @param bus what it moves over
   */
  protected constructor(protected readonly bus: Interconnect) {}

  /** What is paid before anything moves; 0 or -EIO. */
  protected abstract prepare(a: number, pages: number): number;
  /** Lets the time pass that moving the spans takes. */
  protected abstract move(a: number, spans: readonly CopySpan[]): Proc;

  /** Copies pages; other actors run while they are under way. */
  *copy(a: number, src: Uint32Array, dst: Uint32Array, n: number): Proc<number> {
    const { bus: { sim, pages } } = this;
    if (sim.due(a)) {
      sim.mark(a, AT_MAP, n);
      yield DUE;
    }
    let wanted = 0;
    for (let i = 0; i < n; i++) if (dst[i] !== NO_PAGE) wanted++;
    if (wanted === 0) return 0;
    if (this.prepare(a, wanted) !== 0) {
      dst.fill(NO_PAGE, 0, n);
      return -EIO;
    }
    // An engine can report an error after some of the rows, which then are all that was copied.
    const good = sim.fails(a, "copy") ? sim.choose(a, wanted) : wanted;
    if (good < wanted) keepRows(src, dst, n, good);
    for (let i = 0; i < n; i++) {
      if (dst[i] === NO_PAGE) continue;
      if (sim.grain === 1 && sim.due(a)) {
        sim.mark(a, AT_PAGE, i, n);
        yield DUE;
      }
      if (src[i] === NO_PAGE) pages.clear(dst[i]);
      else pages.copy(dst[i], src[i]);
    }
    sim.call(a, AT_MOVE, n, good);
    yield* this.move(a, this.spans(src, dst, n));
    sim.ret(a);
    if (sim.due(a)) {
      sim.mark(a, AT_DONE, n, good);
      yield DUE;
    }
    return good < wanted ? -EIO : 0;
  }

  /** The rows as spans: the pages of one large folio that go to one large folio are one, any other page is by itself. */
  private spans(src: Uint32Array, dst: Uint32Array, n: number): CopySpan[] {
    const { pages } = this.bus, spans: CopySpan[] = [];
    for (let i = 0; i < n;) {
      const from = i++;
      // Pages of zeros are made where they shall be.
      if (dst[from] === NO_PAGE || src[from] === NO_PAGE) continue;
      const large = pages.flags[src[from]] & pages.flags[dst[from]] & PG_LARGE;
      const head = pages.head(src[from]), to = pages.head(dst[from]);
      while (
        large && i < n && src[i] === src[i - 1] + 1 && dst[i] === dst[i - 1] + 1 &&
        pages.head(src[i]) === head && pages.head(dst[i]) === to
      ) i++;
      spans.push({ lane: this.bus.laneOf(src[from], dst[from]), pages: i - from });
    }
    return spans;
  }
}

/** What a plain DMA engine costs. */
export interface PlainDmaCosts {
  /** Channels that work side by side. */
  readonly channels: number;
  /** Descriptors that the queue of one channel holds. */
  readonly queueDepth: number;
  /** From when a channel takes a descriptor up to its first byte, in ns. */
  readonly setupNs: number;
  /** Most that one channel moves, in whole bytes per second. */
  readonly channelBytesPerSecond: number;
  /** Mapping one page for DMA, in ns. */
  readonly mapPageNs: number;
}

/** A DMA engine that belongs to no device and moves pages between memories, as the I/OAT and PTDMA engines of hosts do. */
export class PlainDma extends InterconnectEngine {
  private readonly workers: number[];
  private readonly phaseMap: number;

  /**
   * Makes an idle engine.
   *
   * @param bus what it moves over
   * @param cost its channels and what they cost
   */
  constructor(bus: Interconnect, readonly cost: PlainDmaCosts) {
    super(bus);
    this.workers = Array.from({ length: cost.channels }, () => bus.links.worker());
    this.phaseMap = bus.sim.spans.phase("dma map");
  }

  /** Maps the pages: dma_map_page(). -EIO at failure point "dma map". */
  protected prepare(a: number, pages: number): number {
    this.bus.sim.spend(a, this.phaseMap, pages * this.cost.mapPageNs);
    return this.bus.sim.fails(a, "dma map") ? -EIO : 0;
  }

  /** A large folio is cut into a descriptor for each channel; each goes to the channel with the least to do. */
  protected *move(a: number, spans: readonly CopySpan[]): Proc {
    const { channels, queueDepth, setupNs, channelBytesPerSecond } = this.cost, list: Descriptor[] = [];
    for (const { lane, pages } of spans) {
      const parts = Math.min(channels, pages);
      for (let i = 0; i < parts; i++) {
        const own = Math.floor((pages * (i + 1)) / parts) - Math.floor((pages * i) / parts);
        list.push({
          lanes: [lane],
          bytes: own * PAGE_SIZE,
          mostBytesPerSecond: channelBytesPerSecond,
          setupNs,
        });
      }
    }
    if (list.length > 0) yield* this.bus.links.spread(a, list, this.workers, queueDepth);
  }
}

/** What a copy by CPU threads costs. */
export interface CpuCopyCosts {
  /** Threads that copy side by side. */
  readonly threads: number;
  /** Most that one thread copies, in whole bytes per second. */
  readonly threadBytesPerSecond: number;
  /** Most that all threads copy together, in whole bytes per second. */
  readonly mostBytesPerSecond: number;
}

/** Threads of CPUs that copy pages side by side: copy_mt of the kernel's page-migration offload patches. */
export class CpuCopy extends InterconnectEngine {
  /**
   * Makes the threads.
   *
   * @param bus what they copy over
   * @param cost how many and what they cost
   */
  constructor(bus: Interconnect, readonly cost: CpuCopyCosts) {
    super(bus);
  }

  /** Nothing is mapped for a CPU. */
  protected prepare(): number {
    return 0;
  }

  /** Each thread copies an equal part of the pages, in their order. */
  protected *move(a: number, spans: readonly CopySpan[]): Proc {
    const { threads, threadBytesPerSecond, mostBytesPerSecond } = this.cost;
    const total = spans.reduce((n, s) => n + s.pages, 0), parts = Math.min(threads, total);
    const most = Math.min(
      threadBytesPerSecond,
      Math.max(1, Math.floor(mostBytesPerSecond / Math.max(1, parts))),
    );
    const lists: Descriptor[][] = Array.from({ length: parts }, () => []);
    let done = 0;
    for (const { lane, pages } of spans) {
      for (let left = pages; left > 0;) {
        const t = Math.floor((done * parts) / total), end = Math.ceil(((t + 1) * total) / parts);
        const own = Math.min(left, end - done), list = lists[t], last = list.at(-1);
        const before = last?.lanes[0] === lane ? list.pop()!.bytes : 0;
        list.push({ lanes: [lane], bytes: before + own * PAGE_SIZE, mostBytesPerSecond: most, setupNs: 0 });
        done += own;
        left -= own;
      }
    }
    if (total > 0) yield* this.bus.links.move(a, lists);
  }
}
