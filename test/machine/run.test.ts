/** What a run says went wrong. */
import { expect, test } from "vitest";
import { machine } from "../../lib/machine/machine.ts";
import { DISPLAY } from "../../lib/record/display.ts";
import { vanish } from "../../lib/workloads/hotplug.ts";
import { launch, streamGrid } from "../../lib/workloads/launch.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { refusal } from "../refusal.ts";

const small = () => {
  const m = machine({
    memory: "64 MiB",
    devices: { gpu: { kind: "gpu", memory: "4 MiB" }, nic: { memory: "8 MiB" } },
  });
  return { m, p: m.process() };
};

test("accesses that failed are counted, with what the first ended in", async () => {
  const { m, p } = small(), gone = p.mmap("8 MiB"), readOnly = p.mmap("64 KiB", "r");
  p.munmap(gone);
  const run = await m.run({
    cpu: touch(gone),
    other: touch(readOnly),
    gpu: launch(m.gpu, p, [streamGrid(gone)]),
  });
  expect(run.actors.map((a) => [a.signals, a.firstSignal])).toEqual([
    [2048, "SEGV_MAPERR"],
    [16, "SEGV_ACCERR"],
    [2048, "EFAULT"],
  ]);
  const { text } = run[DISPLAY]();
  expect(text).toContain("cpu: 2,048 accesses failed, the first with SEGV_MAPERR\n");
  expect(text).toContain("gpu: 2,048 accesses failed, the first with EFAULT\n");
  expect(text).not.toContain("another word");
  m.unplug(m.nic);
  const heap = p.mmap("64 KiB"), late = await m.run({ nic: stream(m.nic, heap) });
  expect(late.actors[0]).toMatchObject({ signals: 16, firstSignal: "ENODEV" });
});

test("words that are not what was written are counted; a run in which all went well says neither", async () => {
  const { m, p } = small(), heap = p.mmap("64 KiB");
  const well = await m.run({ cpu: touch(heap, { value: 1 }) });
  expect(well.actors[0].firstSignal).toBe("");
  expect(well[DISPLAY]().text).not.toMatch(/failed|another word/);
  const { text } = (await m.run({ cpu: touch(heap, { write: false, check: true, value: 9 }) }))[DISPLAY]();
  expect(text).toContain("cpu: 16 reads found another word than was written");
  expect(text).not.toContain("failed");
});

test("a GPU that shall vanish is told what can", async () => {
  const { m } = small();
  expect(await refusal(() => m.run({ v: vanish(m.gpu) }))).toMatch(
    /its kind does not do that; .*unplug\(device\)/,
  );
});
