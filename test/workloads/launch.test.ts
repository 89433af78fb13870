/** Work on a GPU that cannot be is refused before it runs. */
import { describe, expect, test } from "vitest";
import { machine } from "../../lib/machine/machine.ts";
import { hotspot } from "../../lib/workloads/kernels/hotspot.ts";
import { gridsOf, mapArrays } from "../../lib/workloads/kernels/place.ts";
import {
  adviseStep,
  launch,
  prefetchBackStep,
  prefetchStep,
  streamGrid,
} from "../../lib/workloads/launch.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { refuses, wrong } from "../refusal.ts";

function small() {
  const m = machine({ memory: "64 MiB", devices: { gpu: { kind: "gpu", memory: "4 MiB" } } });
  const p = m.process();
  return { m, p, heap: p.mmap("64 KiB") };
}

const here = small(), there = small(), child = here.p.fork();

describe("launch()", () => {
  const go = (steps: unknown, options: unknown = {}) => () =>
    launch(here.m.gpu, here.p, wrong(steps), wrong(options));
  const program = hotspot({ size: 64 });
  refuses([
    ["no steps", go(undefined), "got undefined for the steps", "[streamGrid(heap)]"],
    ["a grid without its array", go(streamGrid(here.heap)), "for the steps", "an array of grids"],
    ["an undefined step", go([streamGrid(here.heap), undefined]), "got undefined for a step"],
    ["an unknown option", go([streamGrid(here.heap)], { chek: true }), "did you mean check?"],
    ["a grid over another machine's memory", go([streamGrid(there.heap)]), "memory of another machine"],
    ["a prefetch of another machine's memory", go([prefetchStep(there.heap)]), "memory of another machine"],
    ["a prefetch back of another's", go([prefetchBackStep(there.heap)]), "memory of another machine"],
    ["advice on another's", go([adviseStep(there.heap, "prefer-gpu")]), "memory of another machine"],
    ["a grid over a child's memory", go([streamGrid(child.here(here.heap))]), "memory of another process"],
    [
      "a program over another's arrays",
      go(gridsOf(program, mapArrays(there.p, program))),
      'got "calculate_temp"',
      "another machine",
    ],
  ]);
  test("takes a step that does not say in whose memory it works", async () => {
    const { m, p, heap } = small(), { process: _, ...grid } = streamGrid(heap);
    const run = await m.run({ gpu: launch(m.gpu, p, [grid]) });
    expect([run.end, run.actors[0].pages]).toEqual(["done", 16]);
  });
});

describe("others", () => {
  refuses([
    ["streamGrid() with an unknown option", () => streamGrid(here.heap, wrong({ blocks: 0 })), '"blocks"'],
    [
      "stream() on a GPU",
      () => stream(wrong(here.m.gpu), here.heap),
      "Cannot stream: got a GPU",
      "launch(m.gpu, p, [streamGrid(heap)])",
    ],
  ]);
});
