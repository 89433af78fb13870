import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import { PARAMETERS } from "../../lib/profiles/parameters.ts";
import { checkProfile, profile, profileNames, withParameters } from "../../lib/profiles/profile.ts";
import { DISPLAY, isDisplayable } from "../../lib/record/display.ts";

type Json = Record<string, unknown>;
type Raw = Json & { parameters: Record<string, Json> };

/** The Titan V as its file holds it, to be spoilt. */
function raw(change: (p: Raw) => void = () => {}): Raw {
  const copy = JSON.parse(JSON.stringify(profile("titan-v"))) as Raw;
  change(copy);
  return copy;
}

function refusal(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as UsageError).message;
  }
  throw new Error("it was not refused");
}

describe("profile()", () => {
  test("finds a built-in profile by name", () => {
    expect(profile("titan-v").kind).toBe("gpu");
    expect(profile("titan-v", "device").kind).toBe("gpu");
    expect(profile("epyc-7551p", "host").kind).toBe("host");
  });

  test("lists the names of the wanted kind and the nearest one", () => {
    expect(refusal(() => profile("titanv"))).toBe(
      'Cannot find a profile: got "titanv"; allowed is one of ' +
        `${
          profileNames().join(", ")
        }, or a profile of your own through checkProfile(); did you mean titan-v?`,
    );
    const host = refusal(() => profile("epyc", "host"));
    expect(host).toContain("Cannot find a host profile");
    expect(host).toContain("did you mean epyc-7551p?");
    expect(host).not.toContain("titan-v");
  });

  test("refuses a name of the other kind, and what is no name", () => {
    expect(refusal(() => profile("titan-v", "host"))).toContain('got "titan-v", which is a gpu');
    expect(refusal(() => profile(undefined as never))).toContain("got undefined");
  });
});

test("profileNames() lists all, or those of a kind", () => {
  expect(profileNames("host")).toEqual(["epyc-7551p", "zen3-2s"]);
  expect(profileNames("nic")).toEqual(["connectx"]);
  expect(profileNames("device")).toEqual(profileNames("gpu"));
  const kinds = (["host", "gpu", "nic"] as const).flatMap((kind) => profileNames(kind));
  expect(kinds.sort()).toEqual([...profileNames()]);
});

describe("checkProfile()", () => {
  test("takes what JSON brings back, and gives an equal profile", () => {
    expect(JSON.stringify(checkProfile(raw()))).toBe(JSON.stringify(profile("titan-v")));
  });

  test("freezes the profile and leaves its input as it was", () => {
    const input = raw();
    const checked = checkProfile(input);
    input.parameters.fault.value = 1;
    expect(checked.parameters.fault.value).toBe(45);
    for (const part of [checked, checked.parameters, checked.parameters.fault]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  test("fills in what a profile inherits, and keeps what it says itself", () => {
    const link = { value: 6.5, unit: "GB/s", hardware: "PCIe 2.0 x16", source: "half", certainty: "assumed" };
    const heir = checkProfile({
      name: "titan-v-pcie2",
      kind: "device",
      title: "Titan V, half the link",
      extends: "titan-v",
      parameters: { link },
    });
    const names = Object.keys(PARAMETERS.device);
    const inherited = Object.entries(profile("titan-v").parameters).filter(([key]) => names.includes(key));
    expect(heir.parameters).toEqual({ ...Object.fromEntries(inherited), link });
    expect(Object.keys(heir.parameters)).toEqual(names);
    expect(heir[DISPLAY]().text).toContain("extends titan-v");
  });

  test("refuses to inherit from nothing or from another kind", () => {
    expect(refusal(() => checkProfile(raw((p) => p.extends = "titan-x")))).toContain("did you mean titan-v?");
    expect(refusal(() => checkProfile(raw((p) => p.extends = "epyc-7551p")))).toContain("which is a host");
  });

  const cases: [string, (p: Raw) => void, string][] = [
    [
      "a negative time",
      (p) => p.parameters.fault.value = -3,
      "fault.value: got -3 us (-3000 ns); allowed is a whole number in 1 .. 1000000000 ns",
    ],
    [
      "a time that rounds to nothing",
      (p) => p.parameters.fault.value = 1e-5,
      "fault.value: got 0.00001 us (0 ns)",
    ],
    [
      "zero where time must pass",
      (p) => p.parameters.access.value = 0,
      "access.value: got 0 ns; allowed is a whole number in 1 ..",
    ],
    [
      "no memory",
      (p) => p.parameters.memory.value = 0,
      "memory.value: got 0 GiB (0 B); allowed is a multiple of 4096 in 4096 ..",
    ],
    ["a fraction of a page", (p) => p.parameters.memory.value = 1.0001, "allowed is a multiple of 4096"],
    [
      "more memory than frame numbers",
      (p) => p.parameters.memory.value = 20000,
      "memory.value: got 20000 GiB",
    ],
    ["a dead link", (p) => p.parameters.link.value = 0, "link.value: got 0 GB/s (0 B/s)"],
    [
      "half a fault",
      (p) => p.parameters.faultBatch.value = 1.2,
      "faultBatch.value: got 1.2 faults; allowed is a whole number in 1 .. 65536 faults",
    ],
    [
      "a chunk of three pages",
      (p) => Object.assign(p.parameters.chunk, { value: 12, unit: "KiB" }),
      "chunk.value",
    ],
    ["a granule of three pages", (p) => Object.assign(p.parameters.granule, { value: 12 }), "a power of two"],
    [
      "a granule larger than the memory",
      (p) => p.parameters.memory = { ...p.parameters.granule, value: 32 },
      "at most the memory, 32768 B",
    ],
    ["NaN", (p) => p.parameters.fault.value = NaN, "fault.value: got NaN; allowed is a number"],
    [
      "infinity",
      (p) => p.parameters.fault.value = Infinity,
      "fault.value: got Infinity; allowed is a finite number",
    ],
    [
      "a text for a number",
      (p) => p.parameters.fault.value = "45",
      'fault.value: got "45"; allowed is a number',
    ],
    [
      "a length for a time",
      (p) => p.parameters.fault.unit = "GiB",
      'fault.unit: got "GiB"; allowed is one of ns, us, ms',
    ],
    [
      "a slip of the unit",
      (p) => Object.assign(p.parameters.fault, { value: 45e3, unit: "ms" }),
      "got 45000 ms",
    ],
    [
      "an unknown unit",
      (p) => p.parameters.link.unit = "Gb/s",
      'link.unit: got "Gb/s"; allowed is one of B/s',
    ],
    [
      "a parameter that does not exist",
      (p) => p.parameters.fautl = p.parameters.fault,
      "fautl: no such parameter of a gpu; allowed is one of memory, linkLatency",
    ],
    [
      "a missing parameter",
      (p) => delete p.parameters.granule,
      "granule: missing; allowed is a multiple of 4096",
    ],
    ["a missing value", (p) => delete p.parameters.fault.value, "fault.value: missing"],
    ["a missing unit", (p) => delete p.parameters.fault.unit, "fault.unit: missing"],
    ["missing hardware", (p) => delete p.parameters.fault.hardware, "fault.hardware: missing"],
    [
      "a missing source",
      (p) => delete p.parameters.fault.source,
      "fault.source: missing; a parameter has value, unit",
    ],
    ["a missing certainty", (p) => delete p.parameters.fault.certainty, "fault.certainty: missing"],
    [
      "an empty source",
      (p) => p.parameters.fault.source = " ",
      'fault.source: got " "; allowed is a text with words',
    ],
    [
      "an unknown certainty",
      (p) => p.parameters.fault.certainty = "sure",
      'fault.certainty: got "sure"; allowed is ("measured" | "published"',
    ],
    ["a key that nobody reads", (p) => p.parameters.fault.vaule = 3, "fault.vaule: no such key"],
    ["a profile's key that nobody reads", (p) => p.author = "me", "author: no such key"],
    [
      "what is only recalled, sold as published",
      (p) => p.parameters.fault.source = "recalled from a talk",
      'fault.certainty: got "published"; what is only recalled is allowed as "assumed"',
    ],
    [
      "an unknown kind",
      (p) => p.kind = "fpga",
      'kind: got "fpga"; allowed is ("host" | "device" | "gpu" | "nic")',
    ],
    [
      "a name with a blank",
      (p) => p.name = "Titan V",
      'name: got "Titan V"; allowed is a name in lower case',
    ],
    ["no title", (p) => delete p.title, "title: missing; a profile has name, kind, title, parameters"],
    [
      "parameters that are a list",
      (p) => p.parameters = null as never,
      "parameters: got null; allowed is an object",
    ],
  ];

  test.each(cases)("names %s", (_, spoil, says) => {
    const message = refusal(() => checkProfile(raw(spoil)));
    expect(message).toMatch(/^Cannot use profile "(titan-v|Titan V)":/);
    expect(message).toContain(says);
  });

  test("refuses what is no object", () => {
    for (const x of [undefined, null, 4, "titan-v", []]) {
      expect(refusal(() => checkProfile(x))).toMatch(/^Cannot use profile:/);
    }
  });

  test("names every fault at once", () => {
    const message = refusal(() =>
      checkProfile(raw((p) => {
        p.parameters.fault.value = -1;
        delete p.parameters.granule;
      }))
    );
    expect(message.split("\n- ")).toHaveLength(3);
  });

  test("allows what is recalled when it is called assumed", () => {
    const p = checkProfile(
      raw((p) => Object.assign(p.parameters.fault, { source: "recalled", certainty: "assumed" })),
    );
    expect(p.parameters.fault.certainty).toBe("assumed");
  });
});

describe("withParameters()", () => {
  test("refuses a name in place of a profile", () => {
    expect(refusal(() => withParameters("titan-v" as never, { fault: "20 us" }))).toMatch(
      /got "titan-v"; a profile/,
    );
  });

  test("changes what is asked for and says that the user did it", () => {
    const before = profile("titan-v");
    const after = withParameters(before, { fault: "20 us", link: 25_000_000_000, faultBatch: 512 });
    expect(after.parameters.fault).toEqual({
      value: 20_000,
      unit: "ns",
      hardware: "GTX 1080 Ti as UVM Smart models it",
      source: "set by the user",
      certainty: "assumed",
      note: "in place of 45 us (published)",
    });
    expect(after.parameters.link).toMatchObject({ value: 25e9, unit: "B/s", certainty: "assumed" });
    expect(after.parameters.faultBatch).toMatchObject({ value: 512, unit: "faults" });
    expect(after.parameters.memory).toEqual(before.parameters.memory);
    expect(before.parameters.fault.value).toBe(45);
    expect(after[DISPLAY]().text).toContain("set by the user: link, fault, faultBatch");
  });

  test.each([
    [{ fautl: 1 }, 'Cannot change profile "titan-v": got fautl; no such parameter of a gpu'],
    [{ toString: 1 }, "no such parameter"],
    [{ fault: "20 GiB" }, 'Cannot change profile "titan-v": fault: Cannot read a time: got "20 GiB"'],
    [{ fault: 0 }, "fault.value: got 0 ns"],
    [{ fault: "2 s" }, "fault.value: got 2000000000 ns"],
    [{ faultBatch: "many" }, 'Cannot read a count: got "many"; a whole number of faults is allowed'],
    [{ granule: "12 KiB" }, "a power of two"],
  ])("refuses %j", (values, says) => {
    expect(refusal(() => withParameters(profile("titan-v"), values as Record<string, number | string>)))
      .toContain(says);
  });
});

test("a profile shows each parameter with unit, certainty and source", () => {
  const p = profile("titan-v");
  expect(isDisplayable(p)).toBe(true);
  const { text, tables } = p[DISPLAY]();
  expect(text).toContain("titan-v: NVIDIA Titan V");
  expect(text).toContain("27 parameters: 10 published, 6 derived, 1 calibrated, 10 assumed");
  const table = tables?.[0];
  expect(table?.numRows).toBe(27);
  expect(Object.keys(table?.columns ?? {})).toEqual([
    "parameter",
    "value",
    "unit",
    "certainty",
    "hardware",
    "source",
    "note",
  ]);
  const row = (table?.columns.parameter as readonly string[]).indexOf("fault");
  expect(table?.columns.value[row]).toBe(45);
  expect(table?.columns.source[row]).toBe(p.parameters.fault.source);
});
