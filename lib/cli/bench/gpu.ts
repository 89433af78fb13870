/** A GPU at work: a small published program, and a working set twice as large as its memory. */
import process from "node:process";
import { machine } from "../../machine/machine.ts";
import { PAGE_SIZE } from "../../units.ts";
import { launch, streamGrid } from "../../workloads/launch.ts";
import { type BenchSizes, type GpuRow, median } from "./report.ts";

/** The pages of hotspot's three arrays, touched for the first time. */
const HOTSPOT_PAGES = 3072;

/** Passes of a kernel over fresh memory, on a GPU with less or more of its own. */
async function once(pages: number, memoryPages: number, prefetch: string, passes: number) {
  const m = machine({
    memory: (pages + 2 ** 15) * PAGE_SIZE,
    devices: { gpu: { kind: "gpu", memory: memoryPages * PAGE_SIZE, prefetch } },
  });
  const p = m.process(), heap = p.mmap(pages * PAGE_SIZE), pass = streamGrid(heap, { write: true });
  const run = await m.run({ gpu: launch(m.gpu, p, Array.from({ length: passes }, () => pass)) });
  if (run.actors[0].pages !== passes * pages || run.actors[0].signals > 0) {
    throw new Error("the GPU did not do what was asked");
  }
  return { seconds: run.wallSeconds, moved: run.pagesToDevice + run.pagesToSystem };
}

/**
 * Times both.
 *
 * @param sizes how often, and how large the working set is
 */
export async function benchGpu(sizes: BenchSizes): Promise<GpuRow[]> {
  const small: number[] = [];
  for (let r = 0; r <= sizes.repeats; r++) {
    const { seconds } = await once(HOTSPOT_PAGES, HOTSPOT_PAGES, "none", 1);
    if (r > 0) small.push(seconds); // the first compiles
  }
  const large = await once(sizes.gpuPages, sizes.gpuPages / 2, "tree51", 3), { rss } = process.memoryUsage();
  // The aim is for the full size: 8,388,608 pages. Smaller ones are asked for their share.
  const share = sizes.gpuPages / 2 ** 23;
  return [
    {
      what: "hotspot's pages on demand",
      pages: HOTSPOT_PAGES,
      movedPages: HOTSPOT_PAGES,
      seconds: median(small),
      aimSeconds: 0.1,
      residentBytes: rss,
    },
    {
      what: "three passes over twice the GPU's memory, tree51",
      pages: sizes.gpuPages,
      movedPages: large.moved,
      seconds: large.seconds,
      aimSeconds: 60 * share,
      residentBytes: rss,
    },
  ];
}
