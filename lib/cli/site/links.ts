/** Whether every link of a static site leads somewhere, and whether it can be read without a network. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** What the links of a site come to. */
export interface LinksFound {
  /** How many links were followed within the site. */
  readonly checked: number;
  /** Addresses outside of it to which readers may go, sorted. */
  readonly outside: readonly string[];
  /** One line for each link that leads nowhere, or would fetch something from outside. */
  readonly faults: readonly string[];
}

interface Link {
  readonly tag: string;
  readonly target: string;
}

/** Every attribute of every element; what stands in scripts, styles and comments is none. */
function* attributesOf(html: string): Generator<{ tag: string; name: string; value: string }, void, void> {
  const bare = html.replace(/<!--[^]*?-->/g, "")
    .replace(/(<(script|style)\b[^>]*>)[^]*?<\/\2>/gi, "$1");
  for (const [, tag, inside] of bare.matchAll(/<([a-z][\w:-]*)\b((?:[^>"']|"[^"]*"|'[^']*')*)>/gi)) {
    for (const m of inside.matchAll(/\s([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/g)) {
      const value = unescaped(m[2] ?? m[3] ?? m[4]);
      yield { tag: tag.toLowerCase(), name: m[1].toLowerCase(), value };
    }
  }
}

function linksOf(html: string): Link[] {
  const links: Link[] = [];
  for (const { tag, name, value } of attributesOf(html)) {
    if (name === "href" || name === "src" || name === "xlink:href") links.push({ tag, target: value });
  }
  return links;
}

/** The names in a page to which a `#fragment` can lead. */
export function anchorsOf(html: string): Set<string> {
  const names = new Set<string>();
  for (const { name, value } of attributesOf(html)) if (name === "id" || name === "name") names.add(value);
  return names;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** An attribute's value as a browser reads it. */
export function unescaped(value: string): string {
  return value.replace(/&(?:#x([\da-f]+)|#(\d+)|([a-z]+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex === undefined ? Number(decimal) : parseInt(hex, 16));
  });
}

/** A path as it stands in a link: escapes undone, but a stray % is itself. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * Follows every link of every page of a folder.
 *
 * @param root the folder
 * @returns what leads nowhere, what would need a network, and where readers are sent
 */
export function checkLinks(root: string): LinksFound {
  const pages = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".html")
  );
  const texts = new Map(pages.map((name) => [join(root, name), readFileSync(join(root, name), "utf8")]));
  const anchors = new Map<string, Set<string>>(), outside = new Set<string>(), faults: string[] = [];
  let checked = 0;
  for (const [path, html] of texts) {
    const page = relative(root, path);
    for (const { tag, target } of linksOf(html)) {
      if (/^(data|mailto|javascript):/i.test(target)) continue;
      if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(target)) {
        if (tag === "a") outside.add(target);
        else faults.push(`${page}: <${tag}> fetches ${target}`);
        continue;
      }
      checked++;
      const [, file, fragment] = /^([^?#]*)(?:\?[^#]*)?(?:#(.*))?$/.exec(target)!;
      let found = file === "" ? path : resolve(dirname(path), decoded(file));
      if (existsSync(found) && statSync(found).isDirectory()) found = join(found, "index.html");
      if (file.startsWith("/") || relative(root, found).startsWith("..")) {
        faults.push(`${page}: ${target} leaves the site`);
      } else if (!existsSync(found)) faults.push(`${page}: ${target} leads nowhere`);
      else if (fragment && texts.has(found)) {
        if (!anchors.has(found)) anchors.set(found, anchorsOf(texts.get(found)!));
        const names = anchors.get(found)!;
        if (!names.has(fragment) && !names.has(decoded(fragment))) {
          faults.push(`${page}: ${target} leads to a page without #${fragment}`);
        }
      }
    }
  }
  return { checked, outside: [...outside].sort(), faults: [...new Set(faults)] };
}
