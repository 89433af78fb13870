/** The shipped profiles against what their sources printed. */
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compileDevice, compileGpu, compileHost } from "../../lib/profiles/costs.ts";
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
        /\w\.(com|org|net)\/|doi 10\.|arXiv \d{4}\.|message \S+@|linux-mm 20\d\d|'\d\d\b|AnandTech \d+/,
      );
    }
    if (p.certainty === "derived") expect(p.source).toMatch(/\d/);
  });

  test("rests on at least three parameters from a named source", () => {
    expect(parameters.filter(([, p]) => p.certainty !== "assumed").length).toBeGreaterThanOrEqual(3);
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
  test.each([
    ["UVM Smart's far fault", gpu.faultNs, 66_645 / 1.481],
    ["a page at the Titan V's bandwidth", gpu.accessNs, 4096 / 653],
    ["Xe's bind over 512 pages", gpu.pteUpdateNs, 10_000 / 512],
    ["clearing a page at 13.7 GB/s", host.pageClearNs, 4096 / 13.7],
    ["mprotect per page", host.protectPageNs, (172_613 - 1713) / (10_000 - 1)],
  ])("%s", (_, compiled, exact) => {
    expect(Math.abs(compiled - exact)).toBeLessThanOrEqual(0.5);
  });
});
