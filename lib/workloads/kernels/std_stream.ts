/** The five loops of BabelStream as algorithms of the C++ standard library. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import type { Grid } from "../../devices/gpu/launch.ts";
import { PAGE_SIZE } from "../../units.ts";
import { type GpuProgram, gridOf } from "./kernel.ts";

const ELEMENT_BYTES = 8;
/** Thrust's parallel_for: 256 threads a block, two elements a thread (PtxPolicy<256, 2>). */
const THREADS = 256, BLOCK_BYTES = 2 * THREADS * ELEMENT_BYTES;
/** Words of two arrays never meet: one is so far from the next. */
const FAR_APART = 0x0100_0000;

/** How large the arrays are, and how often the loops run. */
export interface StdStreamOptions {
  /** Elements of each array (default 33,554,432: 256 MiB). */
  readonly elements?: number;
  /** How often the five loops run (default 1). */
  readonly passes?: number;
}

const OPTIONS: Readonly<Record<keyof StdStreamOptions, true>> = { elements: true, passes: true };

/** The program, and the words by which a host can tell that each side saw what the other wrote. */
export interface StdStream extends GpuProgram {
  /** By array: the word that the host writes to its first page before; the next page's is one more. */
  readonly before: readonly number[];
  /** By array: the word that the host must find in its first page afterwards. */
  readonly after: readonly number[];
}

/**
 * Copy, mul, add, triad and dot over three vectors, each a call of an algorithm with `std::execution::par_unseq`.
 *
 * It stands for the std-data variant of BabelStream (src/std-data/STDDataStream.cpp in github.com/UoB-HPC/BabelStream):
 * `std::copy`, three times `std::transform`, `std::transform_reduce`, built by a compiler that runs standard algorithms on
 * a GPU. The host side is an ordinary program: it fills vectors that the heap gave it, calls the algorithms, and reads
 * the vectors; there is no copy and no registration. A block goes over 512 elements, as in Thrust's parallel_for;
 * transform_reduce is taken to read in blocks of the same size.
 *
 * @param options sizes
 * @returns the program
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * import { kernels, launch, machine, touch } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: { kind: "gpu", memory: "64 MiB" } } });
 * const p = m.process(), program = kernels.stdStream({ elements: 131072 });
 * const vectors = program.arrays.map((v) => p.mmap(v.lengthBytes));
 * for (const [i, v] of vectors.entries()) await m.run({ host: touch(v, { value: program.before[i] }) });
 * await m.run({ gpu: launch(m.gpu, p, kernels.gridsOf(program, vectors), { check: true }) });
 * const back = touch(vectors[0], { write: false, check: true, value: program.after[0] });
 * console.log((await m.run({ host: back })).mismatches); // 0
 * ```
 */
export function stdStream(options: StdStreamOptions = {}): StdStream {
  const { elements = 33_554_432, passes = 1 } = options;
  checkOptions("make a stream", options, OPTIONS, "{ elements: 131072 }");
  wholeNumber("make a stream", "elements", elements, 1, 2 ** 33);
  wholeNumber("make a stream", "passes", passes, 1, 40);
  const lengthBytes = ELEMENT_BYTES * elements, blocks = Math.ceil(lengthBytes / BLOCK_BYTES);
  const before = [0, 1, 2].map((i) => FAR_APART * i), after = [...before];
  type Loop = readonly [name: string, from: readonly number[], to: number];
  const [a, b, c] = [0, 1, 2];
  const loops: readonly Loop[] = [
    ["std::copy", [a], c],
    ["std::transform (mul)", [c], b],
    ["std::transform (add)", [a, b], c],
    ["std::transform (triad)", [b, c], a],
    ["std::transform_reduce (dot)", [a, b], -1],
  ];
  // Which words each call finds and leaves: a copy leaves those of its source, every other call words of its own.
  const calls: { name: string; reads: [number, number][]; write: [number, number] | undefined }[] = [];
  for (let pass = 0, word = before.length; pass < passes; pass++) {
    for (const [name, from, to] of loops) {
      const reads = from.map((i): [number, number] => [i, after[i]]);
      if (to >= 0) after[to] = name === "std::copy" ? after[from[0]] : FAR_APART * word++;
      calls.push({ name, reads, write: to < 0 ? undefined : [to, after[to]] });
    }
  }
  return {
    name: "std-data",
    source: "BabelStream std-data: github.com/UoB-HPC/BabelStream, src/std-data/STDDataStream.cpp",
    arrays: ["a", "b", "c"].map((name) => ({ name, lengthBytes })),
    before,
    after,
    *launches(first): Iterable<Grid> {
      for (const { name, reads, write } of calls) {
        yield gridOf(name, blocks, THREADS, (block, out) => {
          const page = Math.floor((block * BLOCK_BYTES) / PAGE_SIZE);
          for (const [i, word] of reads) out.add(first[i] + page, 1, false, word + page);
          if (write !== undefined) out.add(first[write[0]] + page, 1, true, write[1] + page, true);
        });
      }
    },
  };
}
