/**
 * A parameter of a profile where an option was expected.
 * @module
 */
import { nearestName } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { PARAMETERS, type ProfileKind } from "./parameters.ts";

/**
 * Refuses an unknown option that is a parameter of the profile, or like one and like no option, and says where it goes.
 *
 * @param act what was to be done, as it follows "Cannot" in the message
 * @param options what was given; anything but an object is left for others to refuse
 * @param known the options there are, as keys
 * @param kind the profile's kind
 * @param place the option that takes parameters
 * @throws {UsageError} naming the parameter
 *
 * @example
 * ```ts
 * try {
 *   refuseMisplaced("build the machine", { cores: 4 }, { hostParameters: true }, "host", "hostParameters");
 * } catch (e) {
 *   console.log((e as Error).message.split("; ")[1]); // write hostParameters: { cores: … }
 * }
 * ```
 */
export function refuseMisplaced(
  act: string,
  options: unknown,
  known: Readonly<Record<string, unknown>>,
  kind: ProfileKind,
  place: string,
): void {
  if (typeof options !== "object" || options === null) return;
  const names = Object.keys(PARAMETERS[kind]);
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(known, key)) continue;
    if (names.includes(key)) {
      throw new UsageError(
        `Cannot ${act}: got option "${key}", which is a parameter of the profile; write ${place}: { ${key}: … }`,
      );
    }
    const meant = nearestName(key, names);
    if (meant === undefined || nearestName(key, Object.keys(known)) !== undefined) continue;
    throw new UsageError(
      `Cannot ${act}: got option "${key}"; allowed are ${Object.keys(known).join(", ")}; ` +
        `did you mean ${place}: { ${meant}: … }?`,
    );
  }
}
