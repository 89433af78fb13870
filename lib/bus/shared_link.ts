/**
 * The way between a device and the host: a link of its own and what lies beyond it, shared by all that is in flight, each
 * direction for itself.
 * @module
 */
import type { TransferCurve } from "../profiles/curve.ts";
import type { Timeline } from "../record/timeline.ts";
import type { Proc, Sim } from "../sim/sim.ts";
import { site } from "../sim/sim.ts";
import type { SharedLinks } from "./shared_links.ts";
import type { Descriptor } from "./shares.ts";
import { type DeviceLink, type Direction, TO_DEVICE, TO_HOST } from "./way.ts";

const AT_CHANNEL = site("link: a channel is at work");

/** What a transfer crosses beyond the device's own link: the ways up of switches, the root complex. */
export interface Beyond {
  /** Lanes in each direction: {@link TO_DEVICE}, {@link TO_HOST}. */
  readonly lanes: readonly [readonly number[], readonly number[]];
  /** What they add to the latency of a transfer, in ns. */
  readonly latencyNs: number;
}

/** Nothing: the link ends at the host. */
export const NOTHING_BEYOND: Beyond = { lanes: [[], []], latencyNs: 0 };

/**
 * A full-duplex link: n transfers in flight in one direction get an nth of its rate each. One that is alone takes what the
 * curve says: what that is beyond its bytes at the full rate passes before the first byte, and no other has to wait for it.
 */
export class SharedLink implements DeviceLink {
  private readonly paths: readonly [readonly number[], readonly number[]];
  /** The last size and its setup: transfers come in few sizes. */
  private lastBytes = -1;
  private lastSetupNs = 0;

  /**
   * Makes an idle link.
   *
   * @param links the machine's shared links
   * @param name for charts
   * @param curve what a transfer takes that is alone
   * @param bytesPerSecond rate of each direction, in whole bytes per second
   * @param beyond what a transfer crosses as well
   */
  constructor(
    readonly links: SharedLinks,
    readonly name: string,
    private readonly curve: TransferCurve,
    private readonly bytesPerSecond: number,
    private readonly beyond: Beyond = NOTHING_BEYOND,
  ) {
    const lane = (end: string) => links.lane(`${name} to the ${end}`, bytesPerSecond);
    const own = [lane("device"), lane("host")];
    this.paths = [
      [own[TO_DEVICE], ...beyond.lanes[TO_DEVICE]],
      [own[TO_HOST], ...beyond.lanes[TO_HOST]],
    ];
  }

  /**
   * A transfer over this link, for whoever moves it: a channel, the processors of the device.
   *
   * @param direction {@link TO_DEVICE} or {@link TO_HOST}
   * @param bytes its length, 1 or more
   */
  descriptor(direction: Direction, bytes: number): Descriptor {
    const { bytesPerSecond } = this, lanes = this.paths[direction];
    if (bytes !== this.lastBytes) {
      const crossing = { lanes: [lanes[0]], bytes, mostBytesPerSecond: bytesPerSecond, setupNs: 0 };
      const setupNs = this.curve.ns(bytes) - this.links.aloneNs([[crossing]]);
      this.lastSetupNs = Math.max(0, setupNs) + this.beyond.latencyNs;
      this.lastBytes = bytes;
    }
    return { lanes, bytes, mostBytesPerSecond: bytesPerSecond, setupNs: this.lastSetupNs };
  }

  /** See {@link DeviceLink.tryTransfer}. */
  tryTransfer(a: number, direction: Direction, bytes: number): boolean {
    return this.links.tryMove(a, this.descriptor(direction, bytes));
  }

  /** See {@link DeviceLink.transfer}. */
  *transfer(a: number, direction: Direction, bytes: number): Proc {
    yield* this.links.move(a, [[this.descriptor(direction, bytes)]]);
  }

  /** Moves bytes both ways side by side, for an actor that waits for the last of them. */
  *transferBoth(a: number, toDeviceBytes: number, toHostBytes: number): Proc {
    yield* this.links.move(a, [
      [this.descriptor(TO_DEVICE, toDeviceBytes)],
      [this.descriptor(TO_HOST, toHostBytes)],
    ]);
  }

  /** Bytes over virtual time in this run, by direction. */
  timelines(): readonly Timeline[] {
    return [TO_DEVICE, TO_HOST].map((d) => this.links.bytesNow(this.paths[d][0]));
  }

  /** Bytes over virtual time, by direction: in this run or, between two, in the last in which any crossed. */
  bytesOf(direction: Direction): Timeline {
    return this.links.bytesOf(this.paths[direction][0]);
  }
}

/** Descriptors that wait at a channel of a device's engine: assumed, no source found. */
const QUEUE_DEPTH = 1024;

/** The channels of a device's DMA engine, side by side on its link: a transfer goes to the one with the least to do. */
export class Channels implements DeviceLink {
  private readonly workers: number[];

  /**
   * Makes idle channels.
   *
   * @param sim the machine's contract
   * @param link what they move over
   * @param channels how many
   */
  constructor(private readonly sim: Sim, private readonly link: SharedLink, channels: number) {
    this.workers = Array.from({ length: channels }, () => link.links.worker());
  }

  /** See {@link DeviceLink.tryTransfer}. */
  tryTransfer(a: number, direction: Direction, bytes: number): boolean {
    return this.link.tryTransfer(a, direction, bytes);
  }

  /** See {@link DeviceLink.transfer}. */
  *transfer(a: number, direction: Direction, bytes: number): Proc {
    this.sim.call(a, AT_CHANNEL, direction, bytes);
    yield* this.link.links.spread(a, [this.link.descriptor(direction, bytes)], this.workers, QUEUE_DEPTH);
    this.sim.ret(a);
  }

  /** See {@link DeviceLink.timelines}. */
  timelines(): readonly Timeline[] {
    return this.link.timelines();
  }
}
