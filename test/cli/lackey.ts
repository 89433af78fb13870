/** What lackey prints, made up, and what a trace of it must say. */
import fc from "fast-check";
import { LackeyParser } from "../../lib/cli/trace/lackey.ts";
import { type FoldedRuns, PageRuns } from "../../lib/cli/trace/runs.ts";
import { PAGE_SIZE } from "../../lib/units.ts";

/** One line of the log. */
export type LogLine =
  | { readonly kind: "L" | "S" | "M"; readonly address: number; readonly size: number }
  | { readonly kind: "text"; readonly text: string };

/** One reference: a page, and 1 for a write. */
export type Reference = readonly [vpn: number, write: number];

/** Addresses that cluster on few pages, near their ends too, all over an address space of 47 bits. */
const address = fc.tuple(
  fc.constantFrom(0, 0x400, 0x4a3c, 0x1fff000, 0x7ffffffff - 0x200),
  fc.integer({ min: 0, max: 3 }),
  fc.oneof(fc.constantFrom(0, 8, PAGE_SIZE - 8, PAGE_SIZE - 1), fc.integer({ min: 0, max: PAGE_SIZE - 1 })),
).map(([base, page, offset]) => (base + page) * PAGE_SIZE + offset);

const access = fc.record({
  kind: fc.constantFrom("L" as const, "S" as const, "M" as const),
  address,
  size: fc.constantFrom(1, 2, 4, 8, 16, 32, 512),
});

const between = fc.constantFrom(
  "I  0401ab70,3",
  "I  1fff000668,15",
  "==4184== Command: /bin/true",
  "==4184== ",
  "--4184-- WARNING: unhandled syscall: 999",
  "**4184** S 00001000,8",
  "==4184==  L 00002000,4",
  "",
).map((text) => ({ kind: "text" as const, text }));

/** Logs of up to 300 lines. */
export const logs: fc.Arbitrary<LogLine[]> = fc.array(fc.oneof({ weight: 3, arbitrary: access }, between), {
  maxLength: 300,
});

/** The log as lackey prints it. */
export function textOf(log: readonly LogLine[]): string {
  return log.map((line) =>
    line.kind === "text"
      ? `${line.text}\n`
      : ` ${line.kind} ${line.address.toString(16).padStart(8, "0")},${line.size}\n`
  ).join("");
}

/** The references of a log, one by one, by the rule of the documentation and nothing clever. */
export function referencesOf(log: readonly LogLine[]): Reference[] {
  const references: Reference[] = [];
  for (const line of log) {
    if (line.kind === "text") continue;
    const first = Math.floor(line.address / PAGE_SIZE);
    const last = Math.floor((line.address + line.size - 1) / PAGE_SIZE);
    for (const write of line.kind === "M" ? [0, 1] : [line.kind === "S" ? 1 : 0]) {
      for (let vpn = first; vpn <= last; vpn++) references.push([vpn, write]);
    }
  }
  return references;
}

/** Parses a text handed over in pieces that end at `cuts`. */
export function parse(
  text: string,
  { cuts = [], filter = 1, limit, window }: {
    cuts?: readonly number[];
    filter?: number;
    limit?: number;
    window?: number;
  } = {},
): { parser: LackeyParser; runs: PageRuns; folded: FoldedRuns } {
  const runs = new PageRuns(filter, { window });
  const parser = new LackeyParser(runs, limit);
  const bytes = new TextEncoder().encode(text);
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  for (let i = 1; i < edges.length; i++) {
    // The pipe's buffer is used again for the next piece, so the parser must not lean on it.
    const piece = bytes.slice(edges[i - 1], edges[i]);
    const more = parser.push(piece);
    piece.fill(0);
    if (!more) break;
  }
  parser.end();
  return { parser, runs, folded: runs.finish() };
}

/** The page number of each row in the traced program, found through the regions. */
export function vpnsOf({ page, regions }: FoldedRuns): number[] {
  return Array.from(page, (p) => {
    const region = regions.find(({ firstPage, pages }) => p >= firstPage && p < firstPage + pages);
    if (region === undefined) throw new Error(`page ${p} lies in no region`);
    return region.startVpn + p - region.firstPage;
  });
}

/** Every reference that the rows stand for, row by row. */
export function expand(folded: FoldedRuns): Reference[] {
  return vpnsOf(folded).flatMap((vpn, row) =>
    Array.from({ length: folded.count[row] }, (): Reference => [vpn, folded.write[row]])
  );
}
