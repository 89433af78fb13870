import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { profileNames } from "../../lib/profiles/profile.ts";
import { profileSchema } from "../../lib/profiles/schema.ts";
import { faults } from "./json_schema.ts";

type File = Record<string, unknown> & { parameters: Record<string, Record<string, unknown>> };

const folder = new URL("../../datasets/profiles/", import.meta.url);
const read = (name: string): File => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
const schema = profileSchema();

test("profileSchema() is what schema.json holds (`task test -- profiles/schema -u` writes it anew)", async () => {
  const text = JSON.stringify(schema, null, 2) + "\n";
  await expect(text).toMatchFileSnapshot("../../datasets/profiles/schema.json");
});

describe("profileSchema()", () => {
  test.each(profileNames())("is named and met by %s", (name) => {
    const file = read(name);
    expect(file.$schema).toBe("./schema.json");
    expect(faults(file, schema)).toEqual([]);
  });

  const cases: [string, (file: File) => void, string][] = [
    ["an unknown kind", (file) => file.kind = "fpga", ".kind: not one of host,device,gpu,nic"],
    [
      "a wrong unit",
      (file) => file.parameters.fault.unit = "GiB",
      ".parameters.fault.unit: not one of ns,us,ms",
    ],
    ["a missing source", (file) => delete file.parameters.fault.source, ".parameters.fault.source: missing"],
    [
      "an empty source",
      (file) => file.parameters.fault.source = " ",
      ".parameters.fault.source: does not match",
    ],
    [
      "an unknown certainty",
      (file) => file.parameters.fault.certainty = "sure",
      "certainty: not one of measured",
    ],
    ["a negative value", (file) => file.parameters.fault.value = -1, ".parameters.fault.value: too small"],
    ["a text for a number", (file) => file.parameters.fault.value = "45", "value: not of type number"],
    ["a missing parameter", (file) => delete file.parameters.sms, ".parameters.sms: missing"],
    [
      "a parameter of another kind",
      (file) => file.parameters.cores = file.parameters.sms,
      "cores: not allowed",
    ],
    ["a key that nobody reads", (file) => file.author = "me", ".author: not allowed"],
  ];

  test.each(cases)("refuses %s", (_, spoil, says) => {
    const file = read("titan-v");
    spoil(file);
    expect(faults(file, schema).join("\n")).toContain(says);
  });

  test("lets a profile that extends another leave out what it inherits", () => {
    const file = read("titan-v");
    delete file.parameters.sms;
    expect(faults({ ...file, extends: "a100" }, schema)).toEqual([]);
  });
});
