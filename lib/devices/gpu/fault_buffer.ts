/**
 * The replayable fault buffer: a ring that the hardware writes and the driver reads.
 *
 * A fault that finds it full is dropped: the access stays where it is and faults again at the next replay.
 * @module
 */
import type { Sim } from "../../sim/sim.ts";

/** One GPU's ring of faults. */
export class FaultBuffer {
  /** Faulting page. */
  readonly vpn: Float64Array;
  /** Whether it is a read (0), a write (1), or an atomic access (2). */
  readonly write: Uint8Array;
  /** Row of the outstanding access in its uTLB. */
  readonly row: Uint16Array;
  /** Most faults that it holds. */
  readonly capacity: number;
  /** [0] GET: where the driver reads next; [1] faults in it. */
  private readonly ring: Uint32Array;
  private readonly dropped: number;
  private readonly sim: Sim;

  /**
   * Makes an empty buffer.
   *
   * @param sim the machine's contract
   * @param name the GPU's name
   * @param capacity most faults that it holds
   */
  constructor(sim: Sim, name: string, capacity: number) {
    const { state } = sim;
    this.sim = sim;
    this.capacity = capacity;
    this.vpn = state.f64(`gpu.${name}.faultVpn`, capacity);
    this.write = state.u8(`gpu.${name}.faultWrite`, capacity);
    this.row = state.u16(`gpu.${name}.faultRow`, capacity);
    this.ring = state.u32(`gpu.${name}.faultRing`, 2);
    this.dropped = sim.counters.define("gpu_faults_dropped");
  }

  /** Faults in it. */
  get length(): number {
    return this.ring[1];
  }

  /** Writes a fault, unless the buffer is full. */
  put(vpn: number, access: number, row: number): void {
    const { ring, capacity } = this;
    if (ring[1] === capacity) {
      this.sim.counters.values[this.dropped]++;
      return;
    }
    const i = (ring[0] + ring[1]++) % capacity;
    this.vpn[i] = vpn;
    this.write[i] = access;
    this.row[i] = row;
  }

  /** Reads the oldest fault's place in the columns and takes it out; there must be one. */
  take(): number {
    const { ring, capacity } = this, i = ring[0];
    ring[1]--;
    ring[0] = ring[1] === 0 ? 0 : (i + 1) % capacity;
    return i;
  }

  /** Throws all faults away: what still waits will fault again. */
  flush(): void {
    this.ring.fill(0);
  }
}
