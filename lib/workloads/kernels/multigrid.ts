/** A multigrid solver: smoothing on ever coarser grids and back. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import { addBytes, type GpuProgram, gridOf } from "./kernel.ts";

/** How large the solver is. */
export interface MultigridOptions {
  /** Cells along a side of a box, a power of two (default 128: HPGMG's log2_box_dim 7). */
  readonly boxCells?: number;
  /** Boxes (default 7). */
  readonly boxes?: number;
  /** Cycles from the finest to the coarsest grid and back (default 1). */
  readonly cycles?: number;
}

const OPTIONS: Readonly<Record<keyof MultigridOptions, true>> = { boxCells: true, boxes: true, cycles: true };

const ELEMENT_BYTES = 8;
/** Cells along a side at which the recursion ends. */
const COARSEST = 4;

/**
 * V-cycles over boxes of cells: smooth, restrict to half the cells a side, …, and interpolate back.
 *
 * It stands for HPGMG-FV as Allen and Ge ran it (SC'21, Table 4, "7 7": hpgmg/ in github.com/tallendev/uvm-eval). Taken
 * from there: boxes of 2^7 cells a side, 7 of them, halved from level to level. Ours: two arrays a level (solution and
 * right-hand side), one thread block a plane of a box, one smoothing before and after.
 *
 * @param options sizes
 * @returns the program
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * console.log(multigrid({ boxCells: 16, boxes: 1 }).arrays.length); // 6
 * ```
 */
export function multigrid(options: MultigridOptions = {}): GpuProgram {
  const { boxCells = 128, boxes = 7, cycles = 1 } = options, act = "make multigrid";
  checkOptions(act, options, OPTIONS, "{ boxes: 7 }");
  wholeNumber(act, "boxCells", boxCells, COARSEST, 1024);
  wholeNumber(act, "boxes", boxes, 1, 4096);
  wholeNumber(act, "cycles", cycles, 1, 1_000_000);
  const sides: number[] = [];
  for (let side = boxCells; side >= COARSEST; side = Math.floor(side / 2)) sides.push(side);
  const planeBytes = (level: number) => ELEMENT_BYTES * sides[level] ** 2;
  return {
    name: "multigrid",
    source:
      "after HPGMG-FV in Allen and Ge, SC'21: github.com/tallendev/uvm-eval, hpgmg; arrays and blocks assumed",
    arrays: sides.flatMap((side, level) =>
      ["x", "b"].map((name) => ({ name: `${name}${level}`, lengthBytes: boxes * side * planeBytes(level) }))
    ),
    *launches(first) {
      const x = (level: number) => first[2 * level], b = (level: number) => first[2 * level + 1];
      /** One thread block a plane of a box; `reads` and `writes` are arrays of a level, the planes beside it too if `near`. */
      const kernel = (
        name: string,
        level: number,
        reads: readonly { readonly array: number; readonly level: number; readonly near?: boolean }[],
        writes: number,
      ) =>
        gridOf(`${name} ${level}`, boxes * sides[level], 256, (block, out) => {
          const side = sides[level], box = Math.floor(block / side), plane = block % side;
          for (const { array, level: from, near } of reads) {
            const scale = sides[from] / side, bytes = planeBytes(from), last = sides[from] - 1;
            const low = Math.max(0, Math.floor(plane * scale) - (near ? 1 : 0));
            const high = Math.min(last, Math.floor((plane + 1) * scale - 0.5) + (near ? 1 : 0));
            const base = box * sides[from];
            addBytes(out, array, (base + low) * bytes, (base + Math.max(low, high) + 1) * bytes, false);
          }
          const bytes = planeBytes(level);
          addBytes(out, writes, (box * side + plane) * bytes, (box * side + plane + 1) * bytes, true);
        });
      const smooth = (level: number) =>
        kernel(
          "smooth",
          level,
          [{ array: b(level), level }, { array: x(level), level, near: true }],
          x(level),
        );
      for (let cycle = 0; cycle < cycles; cycle++) {
        for (let level = 0; level + 1 < sides.length; level++) {
          yield smooth(level);
          yield kernel(
            "restrict",
            level + 1,
            [{ array: x(level), level, near: true }, { array: b(level), level }],
            b(level + 1),
          );
        }
        yield smooth(sides.length - 1);
        for (let level = sides.length - 2; level >= 0; level--) {
          yield kernel("interpolate", level, [{ array: x(level + 1), level: level + 1 }], x(level));
          yield smooth(level);
        }
      }
    },
  };
}
