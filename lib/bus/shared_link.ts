/**
 * A point-to-point link that transfers in flight share, each direction for itself.
 * @module
 */
import type { Timeline } from "../record/timeline.ts";
import type { Proc } from "../sim/sim.ts";
import type { SharedLinks } from "./shared_links.ts";

/** A full-duplex link: n transfers in flight in one direction get an nth of its rate each. */
export class SharedLink {
  /** Lanes by direction: 0 there, 1 back. */
  private readonly lanes: readonly [number, number];

  /**
   * Makes an idle link.
   *
   * @param links the machine's shared links
   * @param name for charts
   * @param latencyNs from the start of a transfer up to its first byte
   * @param bytesPerSecond rate of each direction, in whole bytes per second
   */
  constructor(
    private readonly links: SharedLinks,
    name: string,
    private readonly latencyNs: number,
    private readonly bytesPerSecond: number,
  ) {
    this.lanes = [links.lane(`${name}, there`, bytesPerSecond), links.lane(`${name}, back`, bytesPerSecond)];
  }

  /**
   * Moves bytes for an actor, which waits until the last of them is there.
   *
   * @param a actor
   * @param direction 0 there, 1 back
   * @param bytes how many, 1 or more
   */
  *transfer(a: number, direction: 0 | 1, bytes: number): Proc {
    const { latencyNs, bytesPerSecond } = this;
    yield* this.links.move(a, [[{
      lane: this.lanes[direction],
      bytes,
      mostBytesPerSecond: bytesPerSecond,
      setupNs: latencyNs,
    }]]);
  }

  /** Bytes over virtual time, by direction. */
  bytesOf(direction: 0 | 1): Timeline {
    return this.links.bytesOf(this.lanes[direction]);
  }
}
