/** Arrays of a GPU program in the memory of a process. */
import type { Grid } from "../../devices/gpu/launch.ts";
import { UsageError } from "../../errors.ts";
import { describe } from "../../arguments.ts";
import { checkRegion, Process, Region } from "../../machine/process.ts";
import { formatBytes, PAGE_SIZE } from "../../units.ts";
import { type GpuProgram, layOut, pagesOf } from "./kernel.ts";

/** Refuses what is no program. */
function checkProgram(act: string, program: GpuProgram): void {
  if (Array.isArray(program?.arrays) && typeof program.launches === "function") return;
  throw new UsageError(
    `Cannot ${act}: got ${describe(program)} for the program; a GPU program is allowed; ` +
      "write for example kernels.mapArrays(m.process(), kernels.hotspot())",
  );
}

/**
 * Maps the arrays of a program, each at a multiple of 2 MiB and in an area of its own, as an allocator of managed memory does.
 *
 * @param process in whose memory
 * @param program the program
 * @returns a region for each array, in the program's order, nothing of them in memory yet
 * @throws {UsageError} for what is no process or no program, and as {@linkcode Process.mmap}
 *
 * @example
 * ```ts
 * import { kernels, launch, machine } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: { kind: "gpu", memory: "64 MiB" } } });
 * const p = m.process(), program = kernels.hotspot({ steps: 2 }), arrays = kernels.mapArrays(p, program);
 * const run = await m.run({ gpu: launch(m.gpu, p, kernels.gridsOf(program, arrays)) });
 * console.log(run.pagesToDevice); // 3072
 * ```
 */
export function mapArrays(process: Process, program: GpuProgram): readonly Region[] {
  if (!(process instanceof Process)) {
    throw new UsageError(
      `Cannot map arrays: got ${describe(process)} for the process; a process is allowed; ` +
        "write for example kernels.mapArrays(m.process(), kernels.hotspot())",
    );
  }
  checkProgram("map arrays", program);
  const { first, end } = layOut(program), slack = 511;
  const whole = process.mmap((end + slack) * PAGE_SIZE), base = 512 * Math.ceil(whole.vpn / 512);
  const regions = first.map((vpn, i) => new Region(process, base + vpn, pagesOf(program.arrays[i])));
  // What lies between the arrays goes, so that each is an area of its own.
  let from = whole.vpn;
  const clear = (to: number) => to > from && process.munmap(new Region(process, from, to - from));
  for (const { vpn, pages } of regions) {
    clear(vpn);
    from = vpn + pages;
  }
  clear(whole.vpn + whole.pages);
  return regions;
}

/**
 * The launches of a program over mapped arrays, for {@linkcode launch}.
 *
 * @param program the program
 * @param arrays its arrays, as {@linkcode mapArrays} made them
 * @returns the grids in their order; {@linkcode launch} refuses them in another process
 * @throws {UsageError} for what is no program, or regions that are not one for each of its arrays, large enough and of one
 * process
 *
 * @example
 * ```ts
 * import { kernels, machine } from "hmmlab";
 *
 * const p = machine({ memory: "256 MiB" }).process(), program = kernels.hotspot();
 * console.log(kernels.gridsOf(program, kernels.mapArrays(p, program)).length); // 4
 * ```
 */
export function gridsOf(
  program: GpuProgram,
  arrays: readonly Region[],
): readonly (Grid & { readonly process: Process })[] {
  const act = "make grids";
  checkProgram(act, program);
  if (!Array.isArray(arrays) || arrays.length !== program.arrays.length) {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(arrays)
      } for the arrays; ${program.arrays.length} regions are allowed, one for each ` +
        `array of ${program.name}; write for example kernels.gridsOf(program, kernels.mapArrays(p, program))`,
    );
  }
  const regions = arrays.map((r: unknown) => checkRegion(act, r)), { process } = regions[0];
  for (const [i, array] of program.arrays.entries()) {
    const { pages } = checkRegion(act, regions[i], process), needed = pagesOf(array);
    if (pages >= needed) continue;
    throw new UsageError(
      `Cannot ${act}: got ${formatBytes(PAGE_SIZE * pages)} for array "${array.name}" of ${program.name}; ${
        formatBytes(PAGE_SIZE * needed)
      } or more are allowed; write for example kernels.mapArrays(p, program), which maps them all`,
    );
  }
  return Array.from(program.launches(regions.map((r) => r.vpn)), (grid) => ({
    name: grid.name,
    blocks: grid.blocks,
    threadsPerBlock: grid.threadsPerBlock,
    pages: grid.pages,
    faultsPerBlock: grid.faultsPerBlock,
    fill: (block, part, runs) => grid.fill(block, part, runs),
    process,
  }));
}
