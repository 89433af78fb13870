import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import { compileDevice, compileGpu, compileHost, compileNic } from "../../lib/profiles/costs.ts";
import { PARAMETERS, type ProfileKind } from "../../lib/profiles/parameters.ts";
import { checkProfile, profile, withParameters } from "../../lib/profiles/profile.ts";

describe("compileHost(), compileDevice(), compileGpu() and compileNic()", () => {
  test("give one integer for each parameter, the unit in its name", () => {
    const all = {
      host: compileHost("epyc-7551p"),
      device: compileDevice("titan-v"),
      gpu: compileGpu("titan-v"),
      nic: compileNic("connectx"),
    };
    for (const [kind, costs] of Object.entries(all)) {
      const entries = Object.entries(costs);
      expect(entries).toHaveLength(Object.keys(PARAMETERS[kind as ProfileKind]).length);
      for (const [field, value] of entries) {
        expect(Number.isSafeInteger(value), field).toBe(true);
        const { suffix } = PARAMETERS[kind as ProfileKind][field.replace(/(Ns|Bytes|BytesPerSecond)$/, "")];
        expect(field.endsWith(suffix)).toBe(true);
      }
    }
  });

  test("convert units and round to what the model counts", () => {
    const titan = compileDevice("titan-v");
    expect(titan.faultNs).toBe(45_000);
    expect(titan.memoryBytes).toBe(12 * 2 ** 30);
    expect(titan.linkLatencyNs).toBe(1444);
    expect(titan.linkBytesPerSecond).toBe(13_004_361_000);
    expect(titan.accessNs).toBe(6);
    expect(titan.faultBatch).toBe(256);
    expect(compileHost("epyc-7551p").cores).toBe(32);
  });

  test("take a name, a profile, and amounts in place of its own", () => {
    const changed = withParameters(profile("titan-v"), { fault: "20 us", granule: "2 MiB" });
    const expected = { ...compileDevice("titan-v"), faultNs: 20_000, granuleBytes: 2 ** 21 };
    expect(compileDevice(changed)).toEqual(expected);
    expect(compileDevice("titan-v", { fault: "20 us", granule: "2 MiB" })).toEqual(expected);
    expect(compileDevice(changed, { fault: "45 us", granule: 65536 })).toEqual(compileDevice("titan-v"));
    expect(compileDevice(checkProfile(JSON.parse(JSON.stringify(changed))))).toEqual(expected);
  });

  test("let a study switch a cost off", () => {
    expect(compileHost("epyc-7551p", { ipiBase: 0, ipiPerCpu: 0 })).toMatchObject({
      ipiBaseNs: 0,
      ipiPerCpuNs: 0,
    });
  });

  test("refuse the other kind, unknown names and what is no profile", () => {
    expect(() => compileHost("titan-v")).toThrow(
      'Cannot find a host profile: got "titan-v", which is a gpu',
    );
    expect(() => compileDevice(profile("epyc-7551p"))).toThrow(
      "Cannot compile the costs of a device: got epyc-7551p (host)",
    );
    expect(() =>
      compileGpu(checkProfile({ ...profile("titan-v"), kind: "device", parameters: {}, extends: "titan-v" }))
    )
      .toThrow("Cannot compile the costs of a gpu: got titan-v (device)");
    expect(() => compileDevice("titan-x")).toThrow("did you mean titan-v?");
    expect(() => compileDevice("titan-v", { fautl: 1 })).toThrow("did you mean fault?");
    for (const x of [undefined, null, 3, {}]) {
      expect(() => compileHost(x as never)).toThrow(UsageError);
      expect(() => compileHost(x as never)).toThrow("a name or a profile of a host is allowed");
    }
  });
});
