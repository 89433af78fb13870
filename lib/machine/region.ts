/**
 * Regions: parts of a process's address space as a user handles them, and what a mapping allows.
 * @module
 */
import { describe, during, wholeNumber } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { VPN_END } from "../mm/pagetable.ts";
import { VM_READ, VM_WRITE } from "../mm/vma.ts";
import { INSPECT } from "../record/inspect.ts";
import { formatBytes, PAGE_SIZE, pages } from "../units.ts";
import type { Process } from "./process.ts";

/** What a mapping allows: nothing, reading, writing, both. */
export type Protection = "none" | "r" | "w" | "rw";

/**
 * The VM_ flags of a protection.
 *
 * @param p what a mapping shall allow
 * @returns VM_READ, VM_WRITE, both or 0
 * @throws {UsageError} for what is no protection
 */
export function protectionFlags(p: Protection): number {
  switch (p) {
    case "none":
      return 0;
    case "r":
      return VM_READ;
    case "w":
      return VM_WRITE;
    case "rw":
      return VM_READ | VM_WRITE;
    default:
      throw new UsageError(
        `Cannot set a protection: got ${
          describe(p)
        }; "none", "r", "w" and "rw" are allowed; write for example "r"`,
      );
  }
}

/** A range of a process's address space, in whole pages: what `mmap` returns, or a part of it. */
export class Region {
  /** The process whose memory it is. */
  readonly process: Process;
  /** First virtual page number. */
  readonly vpn: number;
  /** Length in pages. */
  readonly pages: number;

  /**
   * Names a range by hand; {@linkcode Process.mmap} and {@linkcode Region.slice} do it for you.
   *
   * @param process whose memory it is
   * @param vpn first virtual page number
   * @param pages length in pages, 1 or more
   * @throws {UsageError} for what is no range of pages
   */
  constructor(process: Process, vpn: number, pages: number) {
    wholeNumber("name a region", "its first page", vpn, 0, VPN_END - 1);
    wholeNumber("name a region", "its pages", pages, 1, VPN_END - vpn);
    this.process = process;
    this.vpn = vpn;
    this.pages = pages;
  }

  /** Length in bytes. */
  get lengthBytes(): number {
    return this.pages * PAGE_SIZE;
  }

  /**
   * A part of the region.
   *
   * @param offset from its start, in whole pages, for example "1 MiB"
   * @param length in whole pages, for example "64 KiB"; up to the region's end if left out
   * @returns the part; nothing is mapped or unmapped
   * @throws {UsageError} for a part that is empty or reaches beyond the region
   *
   * @example
   * ```ts
   * import { machine } from "hmmlab";
   *
   * const heap = machine({ memory: "64 MiB" }).process().mmap("1 MiB");
   * console.log(heap.slice("64 KiB").pages, heap.slice(0, "4 KiB").pages); // 240 1
   * ```
   */
  slice(offset: string | number, length?: string | number): Region {
    const act = "take a part of a region", from = during(act, () => pages(offset));
    const n = length === undefined ? this.pages - from : during(act, () => pages(length));
    if (from + n > this.pages || n < 1) {
      throw new UsageError(
        `Cannot ${act}: got offset ${describe(offset)}` +
          `${length === undefined ? "" : ` and length ${describe(length)}`}; ` +
          `one page or more within ${
            formatBytes(this.lengthBytes)
          } is allowed; write for example slice(0, "4 KiB")`,
      );
    }
    return new Region(this.process, this.vpn + from, n);
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `Region: ${formatBytes(this.lengthBytes)} of process ${this.process.mm} from page ${this.vpn} on`;
  }
}

/**
 * Refuses what is no region, and a region of another process.
 *
 * @param act what was to be done, as it follows "Cannot" in the message
 * @param region what was given
 * @param process the process that must own it; any, if left out
 * @returns the region
 * @throws {UsageError} saying what was given
 */
export function checkRegion(act: string, region: unknown, process?: Process): Region {
  if (!(region instanceof Region)) {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(region)
      } for a region; what mmap returned, or a slice of it, is allowed; ` +
        `write for example const heap = m.process().mmap("1 MiB")`,
    );
  }
  if (process !== undefined && region.process !== process) {
    const where = region.process.machine === process.machine ? "process" : "machine";
    throw new UsageError(
      `Cannot ${act}: got a region of another ${where}; one of this process is allowed; ` +
        "use the process that mapped it (region.process)",
    );
  }
  return region;
}
