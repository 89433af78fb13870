/** Reads a trace in Chrome's JSON format back, as strictly as a viewer can. */

/** One slice of a trace, its times in ns again. */
export interface Slice {
  readonly track: string;
  readonly cat: string;
  readonly name: string;
  readonly startNs: number;
  readonly endNs: number;
  readonly depth: number;
  readonly args: Readonly<Record<string, unknown>>;
}

/** A trace as a viewer has it. */
export interface ReadTrace {
  readonly tracks: readonly string[];
  readonly slices: readonly Slice[];
  /** Of each counter its points. */
  readonly counters: ReadonlyMap<string, readonly { startNs: number; value: number }[]>;
}

interface Entry {
  ph: string;
  pid: number;
  tid?: number;
  ts?: number;
  dur?: number;
  name: string;
  cat?: string;
  args?: Record<string, unknown>;
}

function nanoseconds(us: unknown): number {
  if (typeof us !== "number" || !Number.isFinite(us) || us < 0) throw new Error(`no time: ${us}`);
  const ns = Math.round(us * 1000);
  if (Math.abs(ns - us * 1000) > 1e-3) throw new Error(`a part of a nanosecond: ${us} us`);
  return ns;
}

/**
 * Reads a trace.
 *
 * @throws for what is no JSON, an unknown kind of entry, a slice on a track without a name, slices that are out of order
 * or cross each other's end
 */
export function readTrace(text: string): ReadTrace {
  const { traceEvents } = JSON.parse(text) as { traceEvents: Entry[] };
  const tracks = new Map<number, string>(),
    open = new Map<number, Slice[]>(),
    last = new Map<number, number>();
  const slices: Slice[] = [], counters = new Map<string, { startNs: number; value: number }[]>();
  for (const e of traceEvents) {
    if (e.pid !== 1 || typeof e.name !== "string") {
      throw new Error(`not of the process: ${JSON.stringify(e)}`);
    }
    if (e.ph === "M") {
      if (e.name === "thread_name") {
        if (tracks.has(e.tid!)) throw new Error(`track ${e.tid} is named twice`);
        tracks.set(e.tid!, String(e.args!.name));
      }
    } else if (e.ph === "C") {
      const points = counters.get(e.name) ?? [], startNs = nanoseconds(e.ts);
      if (points.length > 0 && points[points.length - 1].startNs >= startNs) {
        throw new Error(`${e.name} goes back`);
      }
      points.push({ startNs, value: Number(Object.values(e.args!)[0]) });
      counters.set(e.name, points);
    } else if (e.ph === "X") {
      const track = tracks.get(e.tid!), startNs = nanoseconds(e.ts), endNs = startNs + nanoseconds(e.dur);
      if (track === undefined) throw new Error(`track ${e.tid} has no name`);
      if (startNs < (last.get(e.tid!) ?? 0)) throw new Error(`${e.name} on ${track} is out of order`);
      last.set(e.tid!, startNs);
      const stack = open.get(e.tid!) ?? [];
      while (stack.length > 0 && stack[stack.length - 1].endNs <= startNs) stack.pop();
      const outer = stack.at(-1);
      if (outer !== undefined && endNs > outer.endNs) {
        throw new Error(`${e.name} on ${track} crosses the end of ${outer.name}`);
      }
      const { cat = "", name, args = {} } = e;
      const slice = { track, cat, name, startNs, endNs, depth: stack.length, args };
      stack.push(slice);
      open.set(e.tid!, stack);
      slices.push(slice);
    } else throw new Error(`an unknown kind of entry: ${e.ph}`);
  }
  return { tracks: [...tracks.values()], slices, counters };
}
