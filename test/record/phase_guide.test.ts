import { expect, test } from "vitest";
import { machine } from "../../lib/machine/machine.ts";
import { guideName, phaseGuide } from "../../lib/record/phase_guide.ts";
import { repeat } from "../../lib/workloads/repeat.ts";
import { touch } from "../../lib/workloads/touch.ts";

test("phaseGuide() knows every span and phase that a machine can have", async () => {
  const m = machine({ memory: "64 MiB", devices: { d: "titan-v", gpu: { kind: "gpu" } } }),
    heap = m.process().mmap("64 KiB");
  await m.run({ a: repeat(touch(heap), 2, { pause: "1 us" }) });
  const { spans } = m.kernel.sim, names = phaseGuide().columns.name as readonly string[];
  expect(spans.phaseNames.length).toBeGreaterThan(20);
  expect(spans.phaseNames.map(guideName).filter((name) => !names.includes(name))).toEqual([]);
  expect(spans.kinds.map((h) => h.name).filter((name) => !names.includes(name))).toEqual([]);
  expect(new Set(names).size).toBe(names.length);
});
