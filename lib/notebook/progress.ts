/** How far long work is, in one place that is rewritten. */
import process from "node:process";
import { jupyterKernel } from "../sim/interrupt.ts";
import { escapeHtml } from "../tables/html.ts";
import { formatCount, formatNs } from "../units.ts";
import { send } from "./emit.ts";

/** How far something is; `m.run` tells all of it, a loop of one's own `done` and `total`. */
export interface Advance {
  /** What has been done, in any unit. */
  readonly done: number;
  /** What there is to do in the same unit; 0 or left out where nobody knows. */
  readonly total?: number;
  /** Wall time since the start. */
  readonly wallSeconds?: number;
  /** Virtual time since the start. */
  readonly virtualNs?: number;
}

/** Redrawn at most so often: more cannot be read. */
const EVERY_MS = 100;
let displays = 0;

/**
 * Shows how far long work is: in a notebook one display that is updated in place, on a terminal one line of standard
 * error, elsewhere nothing.
 *
 * @param label what is being done
 * @returns a function for `m.run(…, { progress })`, `explore(…, { progress })` or a loop of one's own: it takes how far
 * the work is, or a bare count where the end is not known. The display comes with the first call.
 *
 * @example
 * ```ts
 * import { machine, progress, touch } from "hmmlab";
 *
 * const m = machine();
 * await m.run({ cpu: touch(m.process().mmap("1 GiB")) }, { progress: progress("touching") });
 * ```
 */
export function progress(label: string = ""): (advance: Advance | number) => void {
  const kernel = jupyterKernel(), displayId = `hmmlab-progress-${process.pid}-${displays++}`;
  let shown = false, lastMs = -Infinity;
  return (advance) => {
    const now = performance.now(), state = typeof advance === "number" ? { done: advance } : advance;
    const ended = state.total !== undefined && state.total > 0 && state.done >= state.total;
    if (!ended && now - lastMs < EVERY_MS) return;
    lastMs = now;
    const line = describe(label, state);
    if (kernel !== undefined) {
      const data = { "text/html": barOf(line, state), "text/plain": line };
      // A display that cannot be drawn must not end the work that it is about.
      send(data, { displayId, update: shown }).catch(() => {});
      shown = true;
    } else if (process.stderr.isTTY) {
      process.stderr.write(`\r${line}\x1b[K${ended ? "\n" : ""}`);
    }
  };
}

function describe(label: string, { done, total, wallSeconds, virtualNs }: Advance): string {
  const parts: string[] = [];
  if (total !== undefined && total > 0) {
    const percent = Math.min(100, Math.floor((100 * done) / total));
    parts.push(`${percent} %`, `${formatCount(done)} of ${formatCount(total)}`);
  } else parts.push(formatCount(done));
  if (virtualNs !== undefined) parts.push(`${formatNs(virtualNs)} of virtual time`);
  if (wallSeconds !== undefined) parts.push(`${wallSeconds.toFixed(1)} s`);
  return (label === "" ? "" : `${label}: `) + parts.join(", ");
}

function barOf(line: string, { done, total }: Advance): string {
  const known = total !== undefined && total > 0 ? ` value="${Math.min(done, total)}" max="${total}"` : "";
  return `<progress${known} style="width:16em;vertical-align:middle"></progress> ${escapeHtml(line)}`;
}
