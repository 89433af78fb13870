/**
 * Whether a device is there, and who is at work in its driver: drm_dev_enter(), drm_dev_exit(), drm_dev_unplug().
 *
 * Whoever works on the device enters and leaves. Once its removal has begun nobody enters any more, and the removal waits
 * until all have left. A device that vanishes is lost at once, with whoever is inside.
 * @module
 */
import { type Proc, type Sim, site, type Wait } from "../sim/sim.ts";

const THERE = 0, LEAVING = 1, AWAY = 2;

const AT_DRAIN = site("device removal: waiting for those at work on it");

/** Whether one device is there. */
export class Presence {
  private readonly phase: Uint8Array;
  private readonly lostFlag: Uint8Array;
  private readonly inside: Uint16Array;
  private readonly left: Wait;
  private readonly settled: Wait;
  private readonly sim: Sim;

  /**
   * Makes a device that is there.
   *
   * @param sim the machine's contract
   * @param name names its columns
   * @param there whether it is there to begin with
   */
  constructor(sim: Sim, name: string, there = true) {
    this.sim = sim;
    this.phase = sim.state.u8(`presence.${name}.phase`, 1);
    this.lostFlag = sim.state.u8(`presence.${name}.lost`, 1);
    this.inside = sim.state.u16(`presence.${name}.inside`, 1);
    this.left = sim.queue(`those at work on ${name}`, () => `${this.inside[0]} operations`);
    this.settled = sim.queue(`the removal of ${name}`);
    if (!there) this.phase[0] = AWAY;
  }

  /** Whether it can be worked with: there, not about to go, not lost. */
  get usable(): boolean {
    return this.phase[0] === THERE && this.lostFlag[0] === 0;
  }

  /** Whether it has vanished from its slot, and nobody has removed it yet. */
  get lost(): boolean {
    return this.lostFlag[0] !== 0;
  }

  /** Whether it is not in the machine. */
  get away(): boolean {
    return this.phase[0] === AWAY;
  }

  /** Begins to work on the device. Returns false, and then must not be left, when the device cannot be worked with. */
  enter(): boolean {
    if (!this.usable) return false;
    this.inside[0]++;
    return true;
  }

  /** Ends what {@link enter} began. */
  exit(): void {
    if (--this.inside[0] === 0) this.sim.wake(this.left);
  }

  /**
   * Waits until no removal is under way; then enters if the device is there, lost or not.
   *
   * @returns whether it entered
   */
  *enterSettled(a: number): Proc<boolean> {
    while (this.phase[0] === LEAVING) {
      this.sim.mark(a, AT_DRAIN, -1);
      yield this.settled;
    }
    if (this.phase[0] !== THERE) return false;
    this.inside[0]++;
    return true;
  }

  /** Marks the device as vanished. */
  lose(): void {
    if (this.phase[0] !== AWAY) this.lostFlag[0] = 1;
  }

  /** Begins its removal; nobody enters from now on. Returns false when it is away or another removal is under way. */
  leave(): boolean {
    if (this.phase[0] !== THERE) return false;
    this.phase[0] = LEAVING;
    return true;
  }

  /** Waits until all who entered have left. */
  *drain(a: number): Proc {
    this.sim.mightSleep(a, "device removal");
    while (this.inside[0] > 0) {
      this.sim.mark(a, AT_DRAIN, this.inside[0]);
      yield this.left;
    }
  }

  /** Ends the removal. */
  gone(): void {
    this.phase[0] = AWAY;
    this.lostFlag[0] = 0;
    this.sim.wake(this.settled);
  }

  /** Takes {@link leave} or {@link gone} back: the device can be worked with again. */
  stay(): void {
    this.phase[0] = THERE;
    this.sim.wake(this.settled);
  }
}
