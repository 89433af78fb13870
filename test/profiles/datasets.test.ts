/** The shipped profiles against what their sources printed. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compileDevice, compileGpu, compileHost, compileNic } from "../../lib/profiles/costs.ts";
import type { DeviceCosts, HostCosts } from "../../lib/profiles/parameters.ts";
import { profile, profileNames } from "../../lib/profiles/profile.ts";
import { transferNs } from "../../lib/profiles/transfer.ts";

const host = compileHost("epyc-7551p");
const gpu = compileDevice("titan-v");
const folder = new URL("../../datasets/profiles/", import.meta.url);

test("every file of datasets/profiles is built in under its own name", () => {
  const files = readdirSync(folder).filter((f) => /^(?!schema).*\.json$/.test(f)).map((f) =>
    f.replace(/\.json$/, "")
  );
  expect(files.sort()).toEqual([...profileNames()]);
});

describe.each([...profileNames()])("%s", (name) => {
  const parameters = Object.entries(profile(name).parameters);

  test.each(parameters)("%s says where it comes from or that it is assumed", (_, p) => {
    if (p.certainty === "assumed") {
      expect(p.source).toMatch(/^(no source found; chosen|the split is assumed:)/);
    } else {
      // Something that can be looked up: an address, a doi, an arXiv number, a message, or a venue with its year.
      expect(p.source).toMatch(
        /\w\.(com|org|net|io|edu)\/|doi 10\.|arXiv \d{4}\.|message \S+@|linux-mm 20\d\d|'\d\d\b|AnandTech \d+/,
      );
    }
    if (p.certainty === "derived") expect(p.source).toMatch(/\d/);
  });

  test("rests on at least three parameters of its own from a named source", () => {
    const { parameters: own } = JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
    const named = Object.keys(own).filter((key) => own[key].certainty !== "assumed");
    expect(named.length).toBeGreaterThanOrEqual(3);
  });
});

describe("what was split adds up", () => {
  test("a CPU fault to the published mean of 1.27 us", () => {
    expect(host.faultEntryNs + host.pageAllocNs + host.pageClearNs + host.pteInstallNs).toBe(1270);
  });

  test("a CPU migration of 4 KiB to the published 1.72 GB/s", () => {
    const copyNs = transferNs(4096, 0, host.copyBytesPerSecond);
    const totalNs = host.collectPageNs + host.unmapPageNs + host.finalizePageNs + copyNs;
    expect(totalNs).toBe(Math.round(4096 / 1.72));
  });
});

test.each(profileNames("gpu"))("the service of a batch of one fault on %s adds up to its fault", (name) => {
  const gpu = compileGpu(name);
  expect(gpu.batchServiceNs + gpu.blockServiceNs + gpu.faultServiceNs + gpu.replayNs).toBe(gpu.faultNs);
});

describe("what was fitted meets its points", () => {
  test("a CPU migration of 2 MiB the published 10.73 GB/s, and misses 64 KiB as its note says", () => {
    const fixedNs = host.collectPageNs + host.unmapPageNs + host.finalizePageNs;
    const rate = (lengthBytes: number) =>
      lengthBytes / (fixedNs + transferNs(lengthBytes, 0, host.copyBytesPerSecond));
    expect(rate(2 ** 21)).toBeCloseTo(10.73, 2);
    expect(rate(2 ** 16)).toBeCloseTo(8.14, 2);
    expect(profile("epyc-7551p").parameters.copy.note).toContain("8.14 GB/s, published is 5.19");
  });

  // UVM Smart, cycles at 1481 MHz by KiB, as logged.
  const curve = [[4, 2605], [60, 8240], [64, 8702], [124, 15695], [252, 30723], [508, 60836], [1020, 121089]];
  const linkNs = (kib: number) => transferNs(kib * 1024, gpu.linkLatencyNs, gpu.linkBytesPerSecond);

  test("the link its two points of UVM Smart's curve, to the nanosecond", () => {
    expect(Math.abs(linkNs(4) - 1758.947)).toBeLessThan(1);
    expect(Math.abs(linkNs(1020) - 81_761.65)).toBeLessThan(1);
  });

  test.each(curve)(
    "the link at %d KiB lies at most 11 %% above the curve, and nowhere below",
    (kib, cycles) => {
      const published = cycles / 1.481;
      expect(linkNs(kib)).toBeGreaterThanOrEqual(published - 1);
      expect(linkNs(kib)).toBeLessThanOrEqual(published * 1.11);
    },
  );
});

describe("what was derived comes out", () => {
  const rtx = compileGpu("rtx-5080"), xe = compileGpu("xe-discrete"), nic = compileNic("connectx");
  const milan = compileHost("zen3-2s");
  test.each([
    ["UVM Smart's far fault", gpu.faultNs, 66_645 / 1.481],
    ["a page at the Titan V's bandwidth", gpu.accessNs, 4096 / 653],
    ["Xe's bind over 512 pages", gpu.pteUpdateNs, 10_000 / 512],
    ["clearing a page at 13.7 GB/s", host.pageClearNs, 4096 / 13.7],
    ["mprotect per page", host.protectPageNs, (172_613 - 1713) / (10_000 - 1)],
    ["UVM Smart's page walk", compileGpu("gtx-1080-ti").pageWalkNs, 100 / 1.481],
    ["a page at the GTX 1080 Ti's bandwidth", compileGpu("gtx-1080-ti").accessNs, 4096 / (11 * 352 / 8)],
    ["a fault of the RTX 5080 with its transfer", rtx.faultNs + linkOf(rtx, 4096), 31_790],
    ["its transfer alone", linkOf(rtx, 4096), 1350],
    ["what Xe's 2 MiB fault has beside its parts", xe.faultNs, (966 - 942 - 9 - 10) * 1000],
    ["Xe's copy of a folio of 2 MiB", linkOf(xe, 2 ** 21), 106_000],
    [
      "Xe's copy of 512 pages, a transfer each but one start",
      linkOf(xe, 2 ** 21) + 511 * xe.dmaSetupNs,
      223_000,
    ],
    ["a network fault of 4 KiB", nic.faultNs + nic.dmaMapPageNs + nic.pteUpdateNs, 220_000],
    ["a network fault of 4 MiB", nic.faultNs + 1024 * (nic.dmaMapPageNs + nic.pteUpdateNs), 350_000],
    ["the rate of faults that move a page each", 4096 / (rtx.faultNs + linkOf(rtx, 4096)) * 1000, 129],
    ["a page of the A100", compileGpu("a100").accessNs, 4096 / 1555],
    ["a page of the H100", compileGpu("h100").accessNs, 4096 / 3350],
    ["a page of the GH200", compileGpu("gh200").accessNs, 4096 / 3400],
    ["a migration on the second Zen 3 host", migrationNs(milan), 4096 / 1.72],
  ])("%s", (_, compiled, exact) => {
    // Whole nanoseconds: what many pages add up to is off by half a nanosecond for each.
    const pages = exact === 350_000 || exact === 223_000 ? 1024 : 1;
    expect(Math.abs(compiled - exact)).toBeLessThanOrEqual(0.5 * pages + 1);
  });

  test.each([["a100", 24], ["h100", 48]])("the link of %s is UVM Smart's curve with A = %d", (name, a) => {
    const costs = compileGpu(name);
    for (const kib of [4, 1020]) {
      const gigabytesPerSecond = 2 * a / Math.PI * Math.atan(0.07292 * kib);
      const curveNs = kib * 1024 / (gigabytesPerSecond * 2 ** 30) * 1e9;
      expect(Math.abs(linkOf(costs, kib * 1024) - curveNs)).toBeLessThan(2);
    }
  });
});

function linkOf(costs: DeviceCosts, lengthBytes: number): number {
  return transferNs(lengthBytes, costs.linkLatencyNs, costs.linkBytesPerSecond);
}

function migrationNs(costs: HostCosts): number {
  return costs.collectPageNs + costs.unmapPageNs + costs.finalizePageNs +
    transferNs(4096, 0, costs.copyBytesPerSecond);
}
