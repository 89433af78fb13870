/**
 * The profiles' JSON Schema: what an editor or another program needs to check a file of `datasets/profiles/`.
 *
 * @module
 */

import { CERTAINTIES, PARAMETERS, type ParameterSpec, type ProfileKind } from "./parameters.ts";

/** A JSON value, as deep as a schema is. */
export type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

const TEXT: Json = { type: "string", pattern: "\\S" };
const NAME: Json = { type: "string", pattern: "^[a-z0-9]+([.-][a-z0-9]+)*$" };

const PARAMETER: Json = {
  type: "object",
  additionalProperties: false,
  required: ["value", "unit", "hardware", "source", "certainty"],
  properties: {
    value: { type: "number", minimum: 0 },
    unit: TEXT,
    hardware: TEXT,
    source: TEXT,
    certainty: { enum: CERTAINTIES },
    note: TEXT,
  },
};

function parameterSchema(spec: ParameterSpec): Json {
  const multiple = spec.multipleOf === 1 ? "a whole number" : `a multiple of ${spec.multipleOf}`;
  return {
    $ref: "#/$defs/parameter",
    description: `converted, ${multiple} in ${spec.least} .. ${spec.most} ${spec.units[0]}`,
    properties: { unit: { enum: spec.units } },
  };
}

function kindSchema(kind: ProfileKind): Json {
  const specs = Object.entries(PARAMETERS[kind]);
  return {
    if: { properties: { kind: { const: kind } } },
    then: {
      properties: {
        parameters: {
          type: "object",
          additionalProperties: false,
          properties: Object.fromEntries(specs.map(([name, spec]) => [name, parameterSchema(spec)])),
        },
      },
      // What a profile extends has the rest.
      if: { not: { required: ["extends"] } },
      then: { properties: { parameters: { required: specs.map(([name]) => name) } } },
    },
  };
}

/**
 * Builds the JSON Schema (draft 2020-12) of a profile's file out of the tables of parameters.
 *
 * It holds what a schema can say: names, units, what is required. Ranges after conversion and the rules between
 * parameters are `checkProfile`'s.
 *
 * @returns the schema, as `datasets/profiles/schema.json` holds it
 *
 * @example
 * ```ts
 * console.log(Object.keys(profileSchema()).includes("$schema")); // true
 * ```
 */
export function profileSchema(): { readonly [key: string]: Json } {
  const kinds = Object.keys(PARAMETERS) as ProfileKind[];
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "A hardware profile of hmmlab",
    type: "object",
    additionalProperties: false,
    required: ["name", "kind", "title", "parameters"],
    properties: {
      $schema: { type: "string" },
      name: NAME,
      kind: { enum: kinds },
      title: TEXT,
      extends: NAME,
      parameters: { type: "object" },
    },
    allOf: kinds.map(kindSchema),
    $defs: { parameter: PARAMETER },
  };
}
