/**
 * What a GPU keeps of its work on request: one row a batch of faults, one row a range that came or went.
 * @module
 */
import type { Columns } from "../../record/columns.ts";

/** A batch of faults while it is serviced, and as a row of its table: times in ns, the parts after `evictedPages` add up. */
export interface BatchRow {
  /** When its fetch began. */
  startNs: number;
  /** From then to the end of its replay. */
  durationNs: number;
  /** Faults that were fetched. */
  faults: number;
  /** Of those, faults on a page that another of the batch is on too. */
  duplicates: number;
  /** VA blocks that they fell into. */
  blocks: number;
  /** Pages that went to the GPU. */
  migratedPages: number;
  /** Pages that left it to make room. */
  evictedPages: number;
  /** Time until the batch was fetched and sorted. */
  fetchNs: number;
  /** Time of making room. */
  evictNs: number;
  /** Time of migrating. */
  migrateNs: number;
  /** Time of hmm_range_fault() and of writing the GPU's page table. */
  mapNs: number;
  /** Time of the replay. */
  replayNs: number;
  /** The rest: the blocks' locks and state. */
  otherNs: number;
}

/** A batch in which nothing has happened yet; its keys are the columns, in their order. */
export function emptyBatch(): BatchRow {
  return {
    startNs: 0,
    durationNs: 0,
    faults: 0,
    duplicates: 0,
    blocks: 0,
    migratedPages: 0,
    evictedPages: 0,
    fetchNs: 0,
    evictNs: 0,
    migrateNs: 0,
    mapNs: 0,
    replayNs: 0,
    otherNs: 0,
  };
}

const BATCH_COLUMNS = Object.keys(emptyBatch());
/** Columns of the residency. */
const RESIDENCY_COLUMNS = ["timeNs", "firstVpn", "pages", "onDevice"] as const;

/** A bounded table of numbers that grows while it is filled; beyond the bound it counts what it drops. */
class Table {
  private readonly data: Float64Array[];
  private rows = 0;
  private dropped = 0;

  constructor(
    private readonly title: string,
    private readonly names: readonly string[],
    private readonly most: number,
    private readonly units: Readonly<Record<string, string>>,
  ) {
    this.data = names.map(() => new Float64Array(Math.min(most, 256)));
  }

  add(row: Readonly<Record<string, number>>): void {
    if (this.rows === this.most) {
      this.dropped++;
      return;
    }
    if (this.rows === this.data[0].length) {
      this.data.forEach((old, c) => {
        this.data[c] = new Float64Array(Math.min(this.most, 2 * old.length));
        this.data[c].set(old);
      });
    }
    this.names.forEach((name, c) => this.data[c][this.rows] = row[name]);
    this.rows++;
  }

  columns(): Columns {
    const columns = Object.fromEntries(this.names.map((name, c) => [name, this.data[c].slice(0, this.rows)]));
    const title = this.dropped > 0 ? `${this.title} (${this.dropped} more did not fit)` : this.title;
    return { title, numRows: this.rows, columns, units: this.units };
  }
}

/** The tables of one GPU during one run. */
export class GpuRecords {
  /** Whether rows are kept. */
  readonly on: boolean;
  private readonly batches: Table;
  private readonly residency: Table;

  /**
   * Makes empty tables.
   *
   * @param most most rows of each; 0 keeps none
   */
  constructor(most: number) {
    this.on = most > 0;
    const ns = BATCH_COLUMNS.filter((name) => name.endsWith("Ns"));
    const units = { ...Object.fromEntries(ns.map((name) => [name, "ns"])), migratedPages: "pages" };
    this.batches = new Table("Fault batches", BATCH_COLUMNS, most, { ...units, evictedPages: "pages" });
    this.residency = new Table("Residency", RESIDENCY_COLUMNS, most, { timeNs: "ns", pages: "pages" });
  }

  /** Keeps a batch. */
  batch(row: BatchRow): void {
    if (this.on) this.batches.add({ ...row });
  }

  /** Keeps that pages are on the GPU from now on, or no longer. */
  moved(timeNs: number, firstVpn: number, pages: number, onDevice: boolean): void {
    if (this.on) this.residency.add({ timeNs, firstVpn, pages, onDevice: onDevice ? 1 : 0 });
  }

  /** The tables: batches, residency. */
  tables(): Record<string, Columns> {
    return { batches: this.batches.columns(), residency: this.residency.columns() };
  }
}
