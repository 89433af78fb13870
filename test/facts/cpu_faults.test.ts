/** Fact 8: several CPU threads on one page of device memory. */
import { test } from "vitest";
import { litmus } from "../../lib/explore/litmus.ts";
import { breaks, holds } from "./facts.ts";

/** The page is on the device, which mirrors nothing any more: no sequence runs, so that states can come back. */
const touched = (threads: number) =>
  litmus(`${threads} CPU threads on one device page`, { written: 5 }, ({ m, t, dev, A }) => {
    m.complete(dev.migrate(A));
    m.complete(dev.device.close(0, dev.device.mirror(t.process.mm)));
    const said: unknown[] = [], actors: Record<string, () => Generator<number>> = {};
    for (let i = 0; i < threads; i++) {
      actors[`P${i}`] = function* () {
        said[i] = yield* t.read(A);
      };
    }
    return { ...actors, finally: { read: () => said.every((word) => word === 5) } };
  });

test("8 (1afaeb8293c9): of several CPU threads that touch a device page one gets it back, and all go on", async () => {
  await holds(touched(2), { fair: true });
  await holds(touched(3), { fair: true });
});

test("8: without the page lock of the fault, as in Linux 6.12, they can keep each other from it for ever", async () => {
  await breaks(touched(2), /^livelock: everyone goes on for ever/, {
    fair: true,
    revert: ["fault page lock"],
  });
});

test("8: which needs luck: other schedules end", async () => {
  await holds(touched(2), { revert: ["fault page lock"] });
});
