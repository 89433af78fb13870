import { expect, test } from "vitest";
import uvmSmart from "../../../datasets/published/uvm-smart.json" with { type: "json" };
import { playPolicies } from "../../../lib/devices/gpu/play.ts";
import { gtx1080Tree } from "../../../lib/experiments/figures/gtx1080_tree.ts";
import { uvmSmartHotspot, uvmSmartPcie, uvmSmartTable } from "../../../lib/experiments/figures/uvm_smart.ts";
import {
  backpropOrder,
  bfsOrder,
  fdtdOrder,
  hotspotOrder,
} from "../../../lib/experiments/figures/uvm_smart_orders.ts";

const of = (rows: readonly { figure: string; ours: number }[], figure: string) =>
  rows.find((row) => row.figure === figure)?.ours;

test("the tree of a GTX 1080 moves what was measured, touch by touch", () => {
  const rows = gtx1080Tree();
  expect(rows.map((row) => row.ours)).toEqual([64, 64, 128, 256, 512, 1024, 64, 64, 128, 256, 512, 1024]);
  expect(rows.filter((row) => row.verdict !== "reproduces")).toEqual([]);
});

test("the PCIe curve is UVM Smart's to the cycle", () => {
  const rows = uvmSmartPcie();
  expect(rows.filter((row) => row.verdict !== "reproduces")).toEqual([]);
  expect(rows.map((row) => row.ours)).toEqual([2605, 8240, 8702, 15695, 30723, 60836, 121089, 52118]);
});

test("hotspot faults as often as theirs, six times in every 2 MiB by the tree, and copies for as long", () => {
  const rows = uvmSmartHotspot();
  expect(rows.filter((row) => row.verdict !== "reproduces")).toEqual([]);
  expect(rows.filter((row) => row.figure.endsWith("far faults")).map((row) => row.ours)).toEqual([
    3072,
    192,
    36,
  ]);
  expect(of(rows, "hotspot, on demand: host to device, us")?.toFixed(3)).toBe("5403.484");
});

test("hotspot's pages that faulted in the logs fault here, one after the other, and no others", () => {
  for (const [prefetch, pages] of Object.entries(uvmSmart.hotspot.faultPages)) {
    const refs = {
      rows: 3072 + pages.length,
      page: Uint32Array.from([...pages, ...Array.from({ length: 3072 }, (_, i) => i)]),
      write: new Uint8Array(3072 + pages.length),
      pages: 3072,
      regions: [{ startVpn: 0, pages: 3072, firstPage: 0 }],
    };
    expect(playPolicies(refs, { memory: "1 GiB", prefetch }).farFaults).toBe(pages.length);
  }
});

test("the orders touch as many pages as the logs", () => {
  const touched = (o: { parts: readonly { page: Uint32Array }[] }) =>
    new Set(o.parts.flatMap((p) => [...p.page])).size;
  expect(touched(hotspotOrder())).toBe(3072);
  expect(touched(fdtdOrder())).toBe(4224);
  expect(touched(backpropOrder())).toBe(6785);
  // Their graph is another one, on as many pages with a few in between that nobody touched.
  expect(touched(bfsOrder())).toBeGreaterThan(2480);
  expect(touched(bfsOrder())).toBeLessThanOrEqual(2496);
  expect(bfsOrder(2).parts[0].page).toEqual(bfsOrder(2).parts[0].page);
});

test(
  "the table has every figure, ranked as published and within a factor of 2, or says that it missed",
  () => {
    const rows = uvmSmartTable();
    expect(rows).toHaveLength(43);
    for (const row of rows) {
      const near = row.ratio <= 2 && row.ratio >= 0.5 && !row.note.includes("ranking differs");
      expect([row.figure, row.verdict]).toEqual([row.figure, near ? "trend" : "missed"]);
      expect(row.fittedOn).toBe("");
    }
    // A line that misses is no failure of the command; one that begins to is to be looked at.
    expect(rows.filter((row) => row.verdict === "missed").map((row) => row.figure)).toEqual([]);
  },
  60_000,
);
