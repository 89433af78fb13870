/** migrate_vma_setup(): what each MIGRATE_VMA_SELECT_ flag collects; migrate_device_range() beside it. */
import { expect, test } from "vitest";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT as COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE as PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM as SYSTEM,
  migratePfn,
  migratePfnToPage,
  type MigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from "../../lib/hmm/migrate.ts";
import { migrateDeviceRange } from "../../lib/hmm/migrate_device.ts";
import { machine } from "../../lib/machine/machine.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { allocPage } from "../../lib/mm/alloc.ts";
import { EINVAL } from "../../lib/mm/errno.ts";
import { entryOf } from "../facts/facts.ts";

const device = { memory: "64 KiB", granule: "4 KiB", onFault: "map" } as const;

/**
 * Pages of every kind, one each: 0 written, 1 zero page, 2 hole, 3 on `own`, 4 on the other private device, 5 on `ownCoherent`, 6 on the other coherent
 * device, 7 read-only after a fork's write protection.
 */
function scene() {
  const m = machine({
    memory: "512 KiB",
    devices: {
      own: device,
      other: device,
      ownCoherent: { ...device, coherent: true },
      otherCoherent: { ...device, coherent: true },
    },
    checkers: "all",
  });
  const p = m.process(), r = p.mmap("32 KiB"), k = m.kernel, page = (i: number) => r.slice(i * 4096, 4096);
  for (const i of [0, 3, 4, 5, 6, 7]) p.write(page(i), 10 + i);
  p.read(page(1));
  for (const [i, d] of [[3, m.own], [4, m.other], [5, m.ownCoherent], [6, m.otherCoherent]] as const) {
    expect(m.complete(new DeviceThread(d, p).migrate(page(i)))).toBe(1);
  }
  /** Collects the region for `owner` and gives everything back: by page, what was collected. */
  const collect = (flags: number, owner: number): string => {
    const n = 8, src = new Uint32Array(n), dst = new Uint32Array(n);
    const vma = k.vmas.lookup(p.mm, r.vpn);
    const mig: MigrateVma = {
      mm: p.mm,
      vma,
      start: r.vpn,
      end: r.vpn + n,
      src,
      dst,
      flags,
      owner,
      faultPage: -1,
      cpages: 0,
    };
    const before = Array.from({ length: n }, (_, i) => entryOf(k, p.mm, r.vpn + i));
    let text = "";
    function* proc() {
      expect(yield* migrateVmaSetup(k, 0, mig)).toBe(0);
      text = [...src].map((e) =>
        !(e & MIGRATE_PFN_MIGRATE) ? "." : !(e & MIGRATE_PFN_VALID) ? "h" : e & MIGRATE_PFN_WRITE ? "w" : "r"
      ).join("");
      yield* migrateVmaPages(k, 0, mig);
      yield* migrateVmaFinalize(k, 0, mig);
    }
    m.complete(proc());
    expect(mig.cpages).toBe([...text].filter((c) => c !== ".").length);
    // No destinations: all is as it was.
    before.forEach(({ kind, pfn }, i) => expect(entryOf(k, p.mm, r.vpn + i)).toMatchObject({ kind, pfn }));
    expect(m.checkers!.brokenAtRest()).toEqual([]);
    return text;
  };
  return { m, p, r, k, page, collect };
}

test.each([
  // flags, whose pages, what is collected of: written, zero, hole, own, other's, own coherent, other's coherent, written
  ["system", SYSTEM, "own", "whh....w"],
  ["private", PRIVATE, "own", "..hw...."],
  ["private, of another", PRIVATE, "other", "..h.w..."],
  ["private, of a coherent owner", PRIVATE, "ownCoherent", "..h....."],
  ["coherent", COHERENT, "ownCoherent", "..h..w.."],
  ["coherent, of another", COHERENT, "otherCoherent", "..h...w."],
  ["coherent, of a private owner", COHERENT, "own", "..h....."],
  ["system and private", SYSTEM | PRIVATE, "own", "whhw...w"],
  ["system and coherent", SYSTEM | COHERENT, "ownCoherent", "whh..w.w"],
  ["all three", SYSTEM | PRIVATE | COHERENT, "own", "whhw...w"],
  ["none", 0, "own", "..h....."],
])("selecting %s collects what is so, and holes", (_what, flags, name, collected) => {
  const { m, collect } = scene();
  expect(collect(flags, m.devices[name].owner)).toBe(collected);
});

test("what a page may is told: writable or not", () => {
  const { m, p, page, collect } = scene();
  m.complete(new Thread(p).fork());
  expect(p.read(page(0))).toEqual([10]);
  expect(collect(SYSTEM | PRIVATE, m.own.owner)).toBe("rhhr...r");
});

test("a range that is none, leaves its vma, or names a fault page of system memory is refused", () => {
  const { m, p, r, k } = scene(), src = new Uint32Array(9), dst = new Uint32Array(9);
  const vma = k.vmas.lookup(p.mm, r.vpn),
    common = { mm: p.mm, vma, src, dst, flags: SYSTEM, owner: 0, cpages: 0 };
  const setup = (start: number, end: number, faultPage = -1) =>
    m.complete(migrateVmaSetup(k, 0, { ...common, start, end, faultPage }));
  expect([setup(r.vpn, r.vpn), setup(r.vpn, r.vpn + 9), setup(r.vpn, r.vpn + 1, 1)]).toEqual([
    -EINVAL,
    -EINVAL,
    -EINVAL,
  ]);
  expect(setup(r.vpn + 2, r.vpn + 3)).toBe(0);
});

test("migrate_device_range() takes pages by frame, whoever maps them; free and locked ones it leaves", () => {
  const { m, p, r, k, page } = scene(), { zone } = m.own.memory!, { pages } = k;
  m.complete(new DeviceThread(m.own, p).migrate(page(0)));
  const child = m.complete(new Thread(p).fork());
  const [first, second] = [entryOf(k, p.mm, r.vpn + 3).pfn, entryOf(k, p.mm, r.vpn).pfn];
  expect([first, second]).toEqual([zone.start, zone.start + 1]);
  const src = new Uint32Array(4), dst = new Uint32Array(4);
  pages.trylock(second);
  let cpages = -1;
  function* proc() {
    const mig = yield* migrateDeviceRange(k, 0, zone.start, src, dst, 4);
    cpages = mig.cpages;
    const to = allocPage(k, 0);
    pages.trylock(to);
    pages.copy(to, first);
    dst[0] = migratePfn(to);
    yield* migrateVmaPages(k, 0, mig);
    yield* migrateVmaFinalize(k, 0, mig);
  }
  m.complete(proc());
  pages.unlock(second);
  // In use and not locked; in use and locked; never in use.
  expect([cpages, [...src].map((e) => migratePfnToPage(e))]).toEqual([1, [first, -1, -1, -1]]);
  // Both address spaces now have it in system memory, the locked one where it was.
  for (const mm of [p.mm, child]) {
    expect(pages.isZoneDevice(entryOf(k, mm, r.vpn + 3).pfn)).toBe(false);
    expect(entryOf(k, mm, r.vpn).pfn).toBe(second);
  }
  expect([pages.isFree(first), m.own.memory!.used, p.read(page(3))]).toEqual([true, 1, [13]]);
  expect(m.checkers!.brokenAtRest()).toEqual([]);
});
