import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { profileNames } from "../../lib/profiles/profile.ts";
import { profileSchema } from "../../lib/profiles/schema.ts";

const folder = new URL("../../datasets/profiles/", import.meta.url);

describe("profileSchema()", () => {
  test("is what schema.json holds (`task test -- profiles/schema -u` writes it anew)", async () => {
    const text = JSON.stringify(profileSchema(), null, 2) + "\n";
    await expect(text).toMatchFileSnapshot("../../datasets/profiles/schema.json");
  });

  test.each(profileNames())("is named by %s", (name) => {
    const file = JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
    expect(file.$schema).toBe("./schema.json");
  });
});
