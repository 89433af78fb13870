/**
 * Device faults: however often one begins again, it ends.
 * @module
 */
import { EFAULT, EPERM } from "../mm/errno.ts";
import type { Checker } from "./checker.ts";

/** How often in a row a driver may be refused the same range, with nothing changed in between. */
const MOST_REFUSED = 8;

const refusedFault: Checker = {
  name: "refused device fault",
  fact: "F5",
  says:
    "A device fault whose range hmm_range_fault() refuses with -EPERM or -EFAULT ends, unless an invalidation came since.",
  make({ kernel: { notifiers, sim: { maxActors } }, memory, broken }) {
    // By actor: whether it resolves a device fault, refusals in a row, and of what range at what sequence.
    const inside = memory.u8("refused.inside", maxActors), times = memory.u8("refused.times", maxActors);
    const start = memory.f64("refused.start", maxActors), end = memory.f64("refused.end", maxActors);
    const seq = memory.u32("refused.seq", maxActors);
    const forget = (a: number) => {
      times[a] =
        start[a] =
        end[a] =
        seq[a] =
          0;
    };
    return {
      deviceFaultStarts(a) {
        inside[a] = 1;
        forget(a);
      },
      rangeFaultEnds(a, r, rc) {
        if (inside[a] === 0) return;
        const now = notifiers.seq[r.mm];
        if (start[a] !== r.start || end[a] !== r.end || seq[a] !== now) forget(a);
        if (rc !== -EPERM && rc !== -EFAULT) return forget(a);
        [start[a], end[a], seq[a]] = [r.start, r.end, now];
        if (++times[a] <= MOST_REFUSED) return;
        broken(
          `a device fault is refused with ${rc} for the ${times[a]}th time, with no invalidation in between`,
          { mm: r.mm, vpn: r.start },
        );
      },
      deviceFaultEnds(a) {
        inside[a] = 0;
        forget(a);
      },
    };
  },
};

const faultDeadline: Checker = {
  name: "device fault deadline",
  fact: "F7",
  says: "A device fault calls hmm_range_fault() no more once its deadline has passed: it ends with -EBUSY.",
  make({ kernel: { sim }, memory, broken }) {
    // By actor: deadlines of its device fault, the last of them, and whether it has passed.
    const deadlines = memory.u8("fault deadlines", sim.maxActors);
    const lastNs = memory.f64("fault deadline.last", sim.maxActors);
    const inside = memory.u8("fault deadline.inside", sim.maxActors);
    const passed = memory.u8("fault deadline.passed", sim.maxActors);
    const forget = (a: number) => {
      deadlines[a] = lastNs[a] = passed[a] = 0;
    };
    return {
      deviceFaultStarts(a) {
        inside[a] = 1;
        forget(a);
      },
      deviceFaultDeadline(a, deadlineNs) {
        if (a < 0 || inside[a] === 0) return;
        if (deadlines[a] < 2) deadlines[a]++;
        // The explorer has no time, and times would make equal states differ.
        if (sim.horizonNs >= 0) lastNs[a] = Math.max(lastNs[a], deadlineNs);
      },
      deviceFaultExpired(a) {
        // Which of several has passed is not said: then only the clock tells.
        if (a >= 0 && deadlines[a] === 1) passed[a] = 1;
      },
      rangeFaultStarts(a, { mm, start }) {
        if (passed[a] !== 0) {
          broken("a device fault begins another round though its deadline has passed", { mm, vpn: start });
        }
      },
      rangeFaultEnds(a) {
        // Noted at the end of a round: a driver that looked in time may wait past its deadline for the next to begin.
        if (deadlines[a] > 0 && sim.horizonNs >= 0 && sim.nowNs[a] >= lastNs[a]) passed[a] = 1;
      },
      deviceFaultEnds(a) {
        inside[a] = 0;
        forget(a);
      },
    };
  },
};

/** The rules of device faults. */
export const DEVICE_FAULT: readonly Checker[] = [refusedFault, faultDeadline];
