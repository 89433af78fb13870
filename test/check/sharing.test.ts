import { expect, test } from "vitest";
import { explore, litmus, replay } from "../../lib/explore/litmus.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { machine } from "../../lib/machine/machine.ts";
import { HMM_PFN_VALID } from "../../lib/hmm/range.ts";
import { PTE_DEVICE } from "../../lib/mm/pagetable.ts";

const device = { memory: "64 KiB", granule: "4 KiB", onFault: "map" } as const;

/** A page of device `b`'s memory, and one of system memory. */
function scene(checkers: readonly string[]) {
  const m = machine({ memory: "256 KiB", devices: { a: device, b: device }, processes: 2, checkers });
  const p = m.process(), r = p.mmap("8 KiB"), { kernel: k } = m;
  p.write(r, 1);
  m.complete(new DeviceThread(m.b, p).migrate(r.slice(0, "4 KiB")));
  const e = k.tables.entry(k.root[p.mm], r.vpn);
  return { m, k, p, r, e, pfn: k.tables.pfn[e] };
}

test("a device that maps another's private page is named", () => {
  const { m, p, r, pfn } = scene(["foreign device page"]), mirror = m.a.mirror(p.mm);
  const map = () => mirror.map(0, r.vpn, Uint32Array.of((HMM_PFN_VALID | pfn) >>> 0), 1);
  expect(map).toThrow(/foreign device page.*F6.*a maps a page of b's private memory/s);
});

test("a writable device entry of a page that two share is named, and the explorer finds it", async () => {
  const race = litmus("fork of a page on the device", { written: 5 }, ({ m, t, dev, A }) => {
    m.complete(dev.migrate(A));
    return { P0: () => t.fork(), P1: () => dev.read(A) };
  });
  const checkers = ["shared device entry"];
  expect((await explore(race, { checkers })).found).toMatchObject({ exhaustive: true, violations: [] });
  const found = await explore(race, { checkers, revert: ["fork write protection"] });
  expect(found.violated).toMatch(
    /^shared device entry: a writable device entry names a page that 2 entries map/,
  );
  expect(replay(race, found).violated).toBe(found.violated);
});

test("who locks a page that is free is named", () => {
  const { k } = scene(["lock of a free page"]);
  expect(() => k.pages.trylock(60)).toThrow(/lock of a free page.*F24.*without a reference is locked/s);
});

test("a device entry that outlives its device's memory is named", () => {
  const { m, k, e } = scene(["removed device memory"]);
  expect(m.checkers!.brokenAtRest()).toEqual([]);
  k.tables.set(e, PTE_DEVICE, 60);
  expect(m.checkers!.brokenAtRest()).toMatchObject([
    { rule: "removed device memory", what: "a device entry names a frame that no device has" },
  ]);
});
