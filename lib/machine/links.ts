/**
 * Links that devices of a machine share, as a user says it, checked.
 * @module
 */
import { checkOptions, describe, didYouMean, during, wholeNumber } from "../arguments.ts";
import { HOST, type LinkSpec } from "../bus/topology.ts";
import type { AnyDeviceSpec } from "../devices/kinds.ts";
import { UsageError } from "../errors.ts";
import { bytesPerSecond, nanoseconds } from "../units.ts";

/**
 * A link between devices and host that all of its devices share: what a switch has upwards, what a root complex lets
 * through. It is crossed after each device's own link, and each direction has the rate for itself.
 *
 * @example
 * ```ts
 * import { machine } from "hmmlab";
 *
 * const gpu = { kind: "gpu", profile: "titan-v", memory: "64 MiB" } as const;
 * const m = machine({
 *   memory: "64 MiB",
 *   devices: { gpu0: gpu, gpu1: gpu },
 *   links: [
 *     { name: "root complex", rate: "16 GB/s" },
 *     { name: "switch", from: ["gpu0", "gpu1"], to: "root complex", rate: "13 GB/s", latency: "150 ns" },
 *   ],
 * });
 * console.log(m.spec.links[1].bytesPerSecond); // 13000000000
 * ```
 */
export interface LinkOptions {
  /** Its name in charts, and for other links to lead to. */
  readonly name: string;
  /** GPUs that it leads from, by name; each is in one list. None (default) if other links alone lead to it. */
  readonly from?: readonly string[];
  /** Where it leads: "host" (default) or the name of another link. */
  readonly to?: string;
  /** Rate of each direction, for example "13 GB/s". */
  readonly rate: string | number;
  /** What it adds to the latency of a transfer (default 0). */
  readonly latency?: string | number;
}

const OPTIONS: Readonly<Record<keyof LinkOptions, true>> = {
  name: true,
  from: true,
  to: true,
  rate: true,
  latency: true,
};
const EXAMPLE = '{ name: "switch", from: ["gpu0", "gpu1"], rate: "13 GB/s" }';
const BUILD = "build the machine";

/** Names in quotes, with commas; "none" without any. */
function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.map((n) => JSON.stringify(n)).join(", ");
}

/** Refuses a name that is no allowed end. */
function checkEnd(act: string, end: unknown, allowed: readonly string[], what: string): string {
  if (typeof end === "string" && allowed.includes(end)) return end;
  throw new UsageError(
    `Cannot ${act}: got ${describe(end)}, which is no ${what}; allowed are ${
      list(allowed)
    }; write for example ${EXAMPLE}` +
      (typeof end === "string" ? didYouMean(end, allowed) : ""),
  );
}

/** Checks one link but for where it leads. */
function checkLink(options: unknown, gpus: readonly string[], devices: readonly string[]): LinkSpec {
  checkOptions(`${BUILD}: links`, options, OPTIONS, EXAMPLE);
  const o = options as LinkOptions, act = `${BUILD}: link ${describe(o.name)}`;
  if (typeof o.name !== "string" || o.name === "" || o.name === HOST || devices.includes(o.name)) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${
        describe(o.name)
      } as a link's name; a text is allowed that is not "${HOST}" and no ` +
        `device's name; write for example ${EXAMPLE}`,
    );
  }
  const from: unknown = o.from ?? [];
  if (!Array.isArray(from)) {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(from)
      } for from; an array of names is allowed; write for example ${EXAMPLE}`,
    );
  }
  for (const end of from) {
    if (devices.includes(end) && !gpus.includes(end)) {
      throw new UsageError(
        `Cannot ${act}: got ${describe(end)}, a dummy device, whose link is its own; GPUs are allowed: ${
          list(gpus)
        }; ` + 'write for example devices: { gpu: { kind: "gpu", profile: "titan-v" } }',
      );
    }
    checkEnd(act, end, gpus, "GPU of this machine");
  }
  const rate = during(`${act}: rate`, () => bytesPerSecond(o.rate));
  return {
    name: o.name,
    from: [...from],
    to: o.to ?? HOST,
    bytesPerSecond: wholeNumber(act, "rate", rate, 1_000_000, 10_000_000_000_000),
    latencyNs: during(`${act}: latency`, () => nanoseconds(o.latency ?? 0)),
  };
}

/**
 * Checks the links of a machine: known ends, each device below one of them, every way to the host.
 *
 * @param given what a user said
 * @param devices the machine's devices by name
 * @returns the full descriptions
 * @throws {UsageError} naming the link and the end, what was given and what is allowed
 */
export function checkLinks(
  given: unknown,
  devices: Readonly<Record<string, AnyDeviceSpec>>,
): readonly LinkSpec[] {
  if (!Array.isArray(given)) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${
        describe(given)
      } for links; an array is allowed; write for example links: [${EXAMPLE}]`,
    );
  }
  const all = Object.keys(devices), gpus = all.filter((name) => devices[name].kind === "gpu");
  const links = given.map((o) => checkLink(o, gpus, all)), names = links.map((l) => l.name);
  const above = new Map<string, string>();
  for (const { name, from, to } of links) {
    const act = `${BUILD}: link ${JSON.stringify(name)}`;
    if (names.indexOf(name) !== names.lastIndexOf(name)) {
      throw new UsageError(
        `Cannot ${act}: got two links of that name; one is allowed; name the other otherwise`,
      );
    }
    if (all.includes(to)) {
      throw new UsageError(
        `Cannot ${act}: got device ${
          JSON.stringify(to)
        } as the end to which it leads; "${HOST}" or another link is ` +
          "allowed: pages migrate between devices through system memory, as in Linux 6.12, so a link between two of " +
          `them would carry nothing; write for example ${EXAMPLE}`,
      );
    }
    checkEnd(act, to, [HOST, ...names.filter((n) => n !== name)], "link of this machine");
    for (const device of from) {
      const other = above.get(device);
      if (other !== undefined) {
        throw new UsageError(
          `Cannot ${act}: got ${JSON.stringify(device)}, from which link ${
            JSON.stringify(other)
          } leads; one link from ` +
            `each device is allowed; write to: ${JSON.stringify(name)} at the other link to go through both`,
        );
      }
      above.set(device, name);
    }
  }
  for (const { name } of links) {
    let at = name;
    for (let steps = 0; at !== HOST; steps++) {
      if (steps > links.length) {
        throw new UsageError(
          `Cannot ${BUILD}: link ${
            JSON.stringify(name)
          } leads round in a circle; a way to "${HOST}" is allowed; ` +
            `write to: "${HOST}" at one of ${list(names)}`,
        );
      }
      at = links.find((l) => l.name === at)!.to;
    }
  }
  return links;
}
