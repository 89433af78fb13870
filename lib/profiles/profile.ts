/**
 * Hardware profiles: found by name, checked, changed for a sensitivity study, shown with their sources.
 *
 * @module
 */

import a100 from "../../datasets/profiles/a100.json" with { type: "json" };
import connectx from "../../datasets/profiles/connectx.json" with { type: "json" };
import epyc7551p from "../../datasets/profiles/epyc-7551p.json" with { type: "json" };
import gh200 from "../../datasets/profiles/gh200.json" with { type: "json" };
import gtx1080Ti from "../../datasets/profiles/gtx-1080-ti.json" with { type: "json" };
import h100 from "../../datasets/profiles/h100.json" with { type: "json" };
import mi300a from "../../datasets/profiles/mi300a.json" with { type: "json" };
import rtx5080 from "../../datasets/profiles/rtx-5080.json" with { type: "json" };
import titanV from "../../datasets/profiles/titan-v.json" with { type: "json" };
import xeDiscrete from "../../datasets/profiles/xe-discrete.json" with { type: "json" };
import zen32s from "../../datasets/profiles/zen3-2s.json" with { type: "json" };
import { UsageError } from "../errors.ts";
import { columnsOf } from "../record/columns.ts";
import { DISPLAY, type Display, type Displayable } from "../record/display.ts";
import { INSPECT } from "../record/inspect.ts";
import { checkData, type Parameter, type ProfileData, unknownParameter } from "./check.ts";
import { describe, didYouMean } from "../arguments.ts";
import { CERTAINTIES, isKind, PARAMETERS, type ProfileKind } from "./parameters.ts";

/** A checked profile: it has every parameter of its kind, and `show` prints it with its sources. */
export interface Profile extends ProfileData, Displayable {
  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string;
}

const BUILT_IN: readonly (Pick<ProfileData, "name"> & { readonly kind: string })[] = [
  a100,
  connectx,
  epyc7551p,
  gh200,
  gtx1080Ti,
  h100,
  mi300a,
  rtx5080,
  titanV,
  xeDiscrete,
  zen32s,
];
const SET_BY_THE_USER = "set by the user";

/**
 * The names of the profiles that come with the library.
 *
 * @param kind Only those of this kind, a GPU being a device; without it, all.
 * @returns The names in alphabetical order.
 *
 * @example
 * ```ts
 * console.log(profileNames("gpu").includes("titan-v")); // true
 * ```
 */
export function profileNames(kind?: ProfileKind): readonly string[] {
  return BUILT_IN.filter((p) => kind === undefined || isKind(p.kind as ProfileKind, kind)).map((p) => p.name)
    .sort();
}

/**
 * Finds a profile that comes with the library.
 *
 * @param name Its name.
 * @param kind The kind that is wanted; without it, any.
 * @returns The profile.
 * @throws {UsageError} If there is none of that name and kind; the message lists those there are.
 *
 * @example
 * ```ts
 * console.log(profile("titan-v").parameters.fault.source);
 * ```
 */
export function profile(name: string, kind?: ProfileKind): Profile {
  const found = BUILT_IN.find((p) => p.name === name);
  if (found !== undefined && (kind === undefined || isKind(found.kind as ProfileKind, kind))) {
    return checkProfile(found);
  }
  const names = profileNames(kind);
  const wanted = kind === undefined ? "profile" : `${kind} profile`;
  const got = found === undefined ? JSON.stringify(name) : `"${name}", which is a ${found.kind}`;
  throw new UsageError(
    `Cannot find a ${wanted}: got ${got}; allowed is one of ${
      names.join(", ")
    }, or a profile of your own through ` +
      `checkProfile()${didYouMean(String(name), names)}`,
  );
}

/**
 * Checks a profile of one's own: an object as a JSON file of `datasets/profiles/` holds it.
 *
 * @param x The object: name, kind, title, parameters, and `extends` to inherit from a profile of the library.
 * @returns The profile, frozen, with what it inherits filled in.
 * @throws {UsageError} If anything is missing, unknown, in a wrong unit or senseless; the message names the profile,
 * and of each fault the key, what was given and what is allowed.
 *
 * @example
 * ```ts
 * const slower = checkProfile({
 *   name: "titan-v-on-pcie-2",
 *   kind: "device",
 *   title: "Titan V on half the link",
 *   extends: "titan-v",
 *   parameters: {
 *     link: { value: 6.5, unit: "GB/s", hardware: "PCIe 2.0 x16", source: "half of PCIe 3.0", certainty: "assumed" },
 *   },
 * });
 * console.log(slower.parameters.fault.value); // 45
 * ```
 */
export function checkProfile(x: unknown): Profile {
  const data = checkData(x, profile);
  for (const p of Object.values(data.parameters)) Object.freeze(p);
  Object.freeze(data.parameters);
  return Object.freeze({ ...data, [DISPLAY]: () => display(data), [INSPECT]: () => line(data) });
}

/**
 * Changes parameters of a profile, for a what-if: each is marked as assumed and set by the user.
 *
 * @param from The profile, which stays as it is.
 * @param values New amounts by parameter: a text with a unit ("20 us", "25 GB/s"), or a number that counts
 * nanoseconds, bytes, bytes per second, or pieces.
 * @returns The changed profile, under the same name.
 * @throws {UsageError} If the kind has no such parameter, or an amount cannot be read or makes no sense.
 *
 * @example
 * ```ts
 * const fast = withParameters(profile("titan-v"), { fault: "20 us", link: "25 GB/s" });
 * console.log(fast.parameters.fault.certainty); // assumed
 * ```
 */
export function withParameters(from: Profile, values: Readonly<Record<string, number | string>>): Profile {
  if (typeof from !== "object" || from === null || typeof from.parameters !== "object") {
    throw new UsageError(
      `Cannot change a profile: got ${describe(from)}; a profile is allowed; ` +
        'write for example withParameters(profile("titan-v"), { fault: "20 us" })',
    );
  }
  const parameters: Record<string, Parameter> = { ...from.parameters };
  const specs = PARAMETERS[from.kind];
  for (const [key, value] of Object.entries(values)) {
    if (!Object.hasOwn(specs, key)) {
      throw new UsageError(
        `Cannot change profile "${from.name}": got ${key}; ${unknownParameter(from.kind, key)}`,
      );
    }
    const old = from.parameters[key];
    parameters[key] = {
      value: readAmount(from.name, key, value),
      unit: specs[key].units[0],
      hardware: old.hardware,
      source: SET_BY_THE_USER,
      certainty: "assumed",
      note: `in place of ${old.value} ${old.unit} (${old.certainty})`,
    };
  }
  const { name, kind, title } = from;
  return checkProfile({ name, kind, title, ...(from.extends && { extends: from.extends }), parameters });

  function readAmount(name: string, key: string, value: number | string): number {
    try {
      return specs[key].read(value);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(`Cannot change profile "${name}": ${key}: ${error.message}`);
    }
  }
}

function line({ name, kind, title, parameters }: ProfileData): string {
  const n = Object.keys(parameters).length;
  return `Profile ${name} (${kind}, ${n} parameters): ${title}; await show(profile) prints them with their sources`;
}

function display(data: ProfileData): Display {
  const rows = Object.entries(data.parameters).map(([parameter, p]) => ({
    parameter,
    value: p.value,
    unit: p.unit,
    certainty: p.certainty,
    hardware: p.hardware,
    source: p.source,
    note: p.note ?? "",
  }));
  const counts = CERTAINTIES.map((c) => [rows.filter((r) => r.certainty === c).length, c] as const);
  const trust = counts.filter(([n]) => n > 0).map(([n, c]) => `${n} ${c}`).join(", ");
  const changed = rows.filter((r) => r.source === SET_BY_THE_USER).map((r) => r.parameter);
  const lines = [`${data.name}: ${data.title} (${data.kind})`, `${rows.length} parameters: ${trust}`];
  if (data.extends !== undefined) lines.push(`extends ${data.extends}`);
  if (changed.length > 0) lines.push(`set by the user: ${changed.join(", ")}`);
  return { text: lines.join("\n"), tables: [columnsOf(`profile ${data.name}`, rows)] };
}
