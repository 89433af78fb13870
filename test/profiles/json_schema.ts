/** As much of JSON Schema as the profiles' schema uses, to hold files against it. */

type Schema = Record<string, unknown>;

const TYPES: Record<string, (x: unknown) => boolean> = {
  object: (x) => typeof x === "object" && x !== null && !Array.isArray(x),
  string: (x) => typeof x === "string",
  number: (x) => typeof x === "number",
};

/** What the rules below need of a value and a schema; each answers with what is wrong. */
type Rule = (x: unknown, rule: unknown, schema: Schema, root: Schema, at: string) => string[];

const fields = (x: unknown): Schema => TYPES.object(x) ? x as Schema : {};

const RULES: Record<string, Rule> = {
  type: (x, type, _s, _r, at) => TYPES[type as string](x) ? [] : [`${at}: not of type ${type}`],
  enum: (x, values, _s, _r, at) => (values as unknown[]).includes(x) ? [] : [`${at}: not one of ${values}`],
  const: (x, value, _s, _r, at) => x === value ? [] : [`${at}: not ${value}`],
  pattern: (x, text, _s, _r, at) =>
    typeof x !== "string" || new RegExp(text as string).test(x) ? [] : [`${at}: does not match ${text}`],
  minimum: (x, least, _s, _r, at) =>
    typeof x !== "number" || x >= (least as number) ? [] : [`${at}: too small`],
  required: (x, names, _s, _r, at) =>
    (names as string[]).filter((name) => !(name in fields(x))).map((name) => `${at}.${name}: missing`),
  properties: (x, properties, _s, root, at) =>
    Object.entries(properties as Record<string, Schema>).flatMap(([name, schema]) =>
      name in fields(x) ? faults(fields(x)[name], schema, root, `${at}.${name}`) : []
    ),
  additionalProperties: (x, _allowed, { properties }, _r, at) =>
    Object.keys(fields(x)).filter((name) => !(name in (properties as Schema))).map((name) =>
      `${at}.${name}: not allowed`
    ),
  allOf: (x, all, _s, root, at) => (all as Schema[]).flatMap((schema) => faults(x, schema, root, at)),
  not: (x, schema, _s, root, at) =>
    faults(x, schema as Schema, root, at).length > 0 ? [] : [`${at}: is what it must not be`],
  if: (x, condition, { then }, root, at) =>
    faults(x, condition as Schema, root, at).length === 0 ? faults(x, then as Schema, root, at) : [],
  $ref: (x, name, _s, root, at) =>
    faults(x, (root.$defs as Record<string, Schema>)[(name as string).replace("#/$defs/", "")], root, at),
};
const NOTES = ["$schema", "$defs", "title", "description", "then"];

/**
 * Holds a value against a schema.
 *
 * @returns what is wrong, one line each
 */
export function faults(x: unknown, schema: Schema, root: Schema = schema, at = ""): string[] {
  return Object.entries(schema).flatMap(([name, rule]) => {
    if (NOTES.includes(name)) return [];
    if (!(name in RULES)) throw new Error(`the schema says ${name}, which this reader does not know`);
    return RULES[name](x, rule, schema, root, at);
  });
}
