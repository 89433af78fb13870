/**
 * A link between host and device, and the engine that moves pages over it.
 * @module
 */
import type { TransferCurve } from "../profiles/curve.ts";
import { Timeline } from "../record/timeline.ts";
import { DUE, type Proc, type Sim, site } from "../sim/sim.ts";
import { EIO } from "../mm/errno.ts";
import { type CopyEngine, NO_PAGE } from "../mm/copy_engine.ts";
import type { Pages } from "../mm/pages.ts";
import { PAGE_SIZE } from "../units.ts";
import { type DeviceLink, type Direction, TO_DEVICE, TO_HOST } from "./way.ts";

export { type CopyEngine, NO_PAGE };

const AT_TRANSFER = site("link: before a transfer");

/**
 * The plain link of a dummy device: a cost by length, one transfer at a time in each call's order, both ways together. It is
 * one time stamp, so that a transfer never stops anybody. A GPU's link is a {@link SharedLink}.
 */
export class Link implements DeviceLink {
  /** Bytes over virtual time since the last {@link reset}. */
  bytes: Timeline;
  /** The link's name in charts. */
  readonly name: string;
  private readonly sim: Sim;
  private readonly channel: number;
  private readonly phase: number;
  private readonly curve: TransferCurve;
  /** The last size and its time: transfers come in few sizes, and an exact division is slow. */
  private lastBytes = 0;
  private lastNs: number;

  /**
   * Makes an idle link.
   *
   * @param sim the machine's contract
   * @param name for charts and reports
   * @param curve what a transfer takes, for example `lineCurve(latencyNs, bytesPerSecond)`
   */
  constructor(sim: Sim, name: string, curve: TransferCurve) {
    this.sim = sim;
    this.name = name;
    this.curve = curve;
    this.lastNs = curve.ns(0);
    this.bytes = new Timeline(name, "bytes");
    this.channel = sim.resource("link");
    this.phase = sim.spans.phase("copy over the link");
    // Each run has a timeline of its own; readers keep the old one.
    sim.onReset.push(() => {
      this.bytes = new Timeline(this.name, "bytes");
    });
  }

  /** Bytes over virtual time in this run, both directions together. */
  timelines(): readonly Timeline[] {
    return [this.bytes];
  }

  /** Moves `bytes` after whoever is due has run; {@link Link.tryTransfer}, which never refuses, does not wait for them. */
  *transfer(a: number, direction: Direction, bytes: number): Proc {
    if (this.sim.due(a)) {
      this.sim.mark(a, AT_TRANSFER, direction, bytes);
      yield DUE;
    }
    this.tryTransfer(a, direction, bytes);
  }

  /** Moves `bytes` for actor `a`, after the transfers before it. */
  tryTransfer(a: number, _direction: Direction, bytes: number): true {
    if (bytes !== this.lastBytes) {
      this.lastNs = this.curve.ns(bytes);
      this.lastBytes = bytes;
    }
    const ns = this.lastNs;
    const from = this.sim.hold(a, this.channel, this.phase, ns);
    this.bytes.addSpan(from, from + ns, bytes);
    return true;
  }
}

const AT_MAP = site("dma: before the mapping");
const AT_PAGE = site("dma: before a page is copied");
const AT_LINK = site("dma: pages cross the link");
const AT_DONE = site("dma: copied");

/** Leaves the first `keep` rows to copy and no other. Returns how many of those have a source. */
export function keepRows(src: Uint32Array, dst: Uint32Array, n: number, keep: number): number {
  let kept = 0, sources = 0;
  for (let i = 0; i < n; i++) {
    if (dst[i] === NO_PAGE) continue;
    if (kept++ >= keep) dst[i] = NO_PAGE;
    else if (src[i] !== NO_PAGE) sources++;
  }
  return sources;
}

/** A device's DMA engine: over a plain {@link Link} one transfer after the other, over {@link Channels} side by side. */
export class DmaEngine implements CopyEngine {
  private readonly phaseMap: number;
  private readonly phaseUnmap: number;
  private readonly phaseSetup: number;

  /**
   * @param sim the machine's contract
   * @param pages struct pages, whose content it moves
   * @param link the way to the host, or channels on it
   * @param mapPageNs cost of mapping one page for DMA
   * @param unmapPageNs cost of taking that back
   * @param setupNs cost of submitting a transfer
   */
  constructor(
    private readonly sim: Sim,
    private readonly pages: Pages,
    private readonly link: DeviceLink,
    private readonly mapPageNs: number,
    private readonly unmapPageNs: number,
    private readonly setupNs: number,
  ) {
    this.phaseMap = sim.spans.phase("dma map");
    this.phaseUnmap = sim.spans.phase("dma unmap");
    this.phaseSetup = sim.spans.phase("dma submit");
  }

  /**
   * Maps system pages for the device: dma_map_page().
   *
   * @returns 0, or -EIO when the mapping fails (failure point "dma map")
   */
  map(a: number, n: number): number {
    this.sim.spend(a, this.phaseMap, n * this.mapPageNs);
    return this.sim.fails(a, "dma map") ? -EIO : 0;
  }

  /** Maps, submits, copies, waits, unmaps. Other actors run while pages are under way. */
  *copy(a: number, src: Uint32Array, dst: Uint32Array, n: number): Proc<number> {
    const { sim, pages } = this;
    if (sim.due(a)) {
      sim.mark(a, AT_MAP, n);
      yield DUE;
    }
    let copied = 0, mapped = 0, direction: Direction = TO_DEVICE;
    for (let i = 0; i < n; i++) {
      if (dst[i] === NO_PAGE) continue;
      if (copied++ === 0 && dst[i] < pages.ramEnd) direction = TO_HOST;
      if (src[i] !== NO_PAGE) mapped++;
    }
    if (copied === 0) return 0;
    const rc = this.map(a, copied);
    if (rc !== 0) {
      dst.fill(NO_PAGE, 0, n);
      return rc;
    }
    // The engine can report an error after some of the rows, which then are all that was copied.
    const good = sim.fails(a, "copy") ? sim.choose(a, copied) : copied;
    if (good < copied) mapped = keepRows(src, dst, n, good);
    for (let i = 0; i < n; i++) {
      if (dst[i] === NO_PAGE) continue;
      if (sim.grain === 1 && sim.due(a)) {
        sim.mark(a, AT_PAGE, i, n);
        yield DUE;
      }
      if (src[i] === NO_PAGE) pages.clear(dst[i]);
      else pages.copy(dst[i], src[i]);
    }
    sim.spend(a, this.phaseSetup, this.setupNs);
    // Pages of zeros are filled where they are and do not cross the link.
    if (mapped > 0 && !this.link.tryTransfer(a, direction, mapped * PAGE_SIZE)) {
      sim.call(a, AT_LINK, n, good, copied);
      yield* this.link.transfer(a, direction, mapped * PAGE_SIZE);
      sim.ret(a);
    }
    sim.spend(a, this.phaseUnmap, copied * this.unmapPageNs);
    if (sim.due(a)) {
      sim.mark(a, AT_DONE, n, good);
      yield DUE;
    }
    return good < copied ? -EIO : 0;
  }
}
