/**
 * Named counters, as /proc/vmstat has them.
 * @module
 */
import { type Columns, columnsOf } from "./columns.ts";

const MAX_COUNTERS = 128;

/** Counters by number on the hot path, by name for readers. */
export class Counters {
  /** Values by number. */
  readonly values: Float64Array = new Float64Array(MAX_COUNTERS);
  /** Names by number. */
  readonly names: string[] = [];

  /**
   * Names a counter; the same name gives the same number.
   *
   * @param name as /proc/vmstat or a driver names it, for example "pgfault"
   * @returns its index in {@link values}
   */
  define(name: string): number {
    const known = this.names.indexOf(name);
    if (known >= 0) return known;
    if (this.names.length === MAX_COUNTERS) throw new RangeError(`more than ${MAX_COUNTERS} counters`);
    return this.names.push(name) - 1;
  }

  /**
   * The value of a counter.
   *
   * @param name its name
   * @returns the count; 0 for a name that nobody defined
   */
  get(name: string): number {
    const i = this.names.indexOf(name);
    return i < 0 ? 0 : this.values[i];
  }

  /** All counters that are not zero, as columns counter and count. */
  columns(): Columns {
    const rows = this.names.map((counter, i) => ({ counter, count: this.values[i] })).filter((r) =>
      r.count !== 0
    );
    return columnsOf("Counters", rows);
  }
}
