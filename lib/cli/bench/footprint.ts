/**
 * How much memory of this computer simulated pages take; run as a process of its own, with `--expose-gc`, so that
 * nothing else grows meanwhile.
 */
import process from "node:process";
import { machine } from "../../machine/machine.ts";
import { PAGE_SIZE } from "../../units.ts";
import { stream } from "../../workloads/stream.ts";
import { touch } from "../../workloads/touch.ts";
import type { MemoryRow } from "./report.ts";

function residentBytes(): number {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error("run this with --v8-flags=--expose-gc");
  gc();
  gc();
  return process.memoryUsage().rss;
}

function build(bytes: number) {
  return machine({ devices: { device: { memory: 0, onFault: "map" } }, memory: bytes });
}

/**
 * Maps, touches and mirrors pages, and looks at the process after each.
 *
 * @param touched pages to touch
 * @param untouched pages to map beside them
 */
async function footprint(touched: number, untouched: number): Promise<MemoryRow[]> {
  // Compile everything first: code takes memory too.
  const warm = build(2 ** 26), small = warm.process().mmap("16 MiB");
  await warm.run({ cpu: touch(small) });
  await warm.run({ device: stream(warm.device, small) });

  const bytes = (touched + untouched) * PAGE_SIZE;
  const empty = residentBytes();
  const m = build(bytes + 2 ** 26), process = m.process(), { state } = m.kernel.sim;
  const built = state.usedBytes, heap = process.mmap(touched * PAGE_SIZE);
  process.mmap(untouched * PAGE_SIZE);
  const rows: MemoryRow[] = [];
  const before = residentBytes(), used = state.usedBytes;
  rows.push({
    what: "mapped, never touched",
    pages: touched + untouched,
    stateBytesPerPage: (used - built) / (touched + untouched),
    residentBytesPerPage: Math.max(0, before - empty) / (touched + untouched),
    aimBytesPerPage: 1,
  });
  const look = (what: string, aimBytesPerPage: number | null) => {
    const now = residentBytes(), usedNow = state.usedBytes;
    rows.push({
      what,
      pages: touched,
      stateBytesPerPage: (usedNow - used) / touched,
      residentBytesPerPage: Math.max(0, now - before) / touched,
      aimBytesPerPage,
    });
  };
  await m.run({ cpu: touch(heap) });
  look("touched by a CPU", 48);
  await m.run({ device: stream(m.device, heap) });
  look("touched by a CPU, mirrored by a device", 48);
  return rows;
}

if (import.meta.main) {
  const [touched, untouched] = process.argv.slice(2).map(Number);
  console.log(JSON.stringify(await footprint(touched, untouched)));
}
