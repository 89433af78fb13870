/** What a chart is: a finding, a Vega-Lite spec with its data in it, and the table behind it. */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Columns } from "../record/columns.ts";
import { wrap } from "./measure.ts";
import { config, WIDTH } from "./theme.ts";
import { INSPECT } from "../record/inspect.ts";

/** A chart of binned columns, ready to be shown or written. */
export interface Chart {
  /** What the chart says, in one sentence computed from its data. */
  readonly title: string;
  /** How it was made: how many events, which bins; empty when there is nothing to add. */
  readonly subtitle: string;
  /** The Vega-Lite 5 specification with its data inline, as JSON of less than 300 kB. */
  readonly spec: Record<string, unknown>;
  /** The data that are drawn, after binning. */
  readonly table: Columns;
  /** A few figures instead of the drawing, for a terminal. */
  readonly summary: Columns;
  /** Draws it as SVG text with a background of its own. */
  svg(): Promise<string>;
  /** Draws it as a PNG of twice the size; the same bytes on every machine and runtime. */
  png(): Promise<Uint8Array>;
  /** Writes it as an HTML page that needs no network, follows the reader's light or dark mode and fits a phone. */
  html(): Promise<string>;
  /** Writes a file whose ending says what: .svg, .png, .html, or .json for the spec. Missing folders are made. */
  save(path: string): Promise<void>;
}

/** Most bytes of JSON a chart may have: a notebook keeps every chart it has shown. */
export const MAX_SPEC_BYTES = 300_000;

/** What a constructor of charts gives {@linkcode makeChart}. */
export interface ChartParts {
  /** The finding. */
  readonly title: string;
  /** How it was made. */
  readonly subtitle?: string;
  /** The views: everything of a spec but schema, title, config and background. */
  readonly body: Record<string, unknown>;
  /** What is drawn. */
  readonly table: Columns;
  /** A few figures. */
  readonly summary: Columns;
}

const CHART = Symbol.for("hmmlab.chart");

/**
 * Tells whether a value is a chart.
 *
 * @param x any value
 * @returns true if a constructor of this module made it
 */
export function isChart(x: unknown): x is Chart {
  return typeof x === "object" && x !== null && CHART in x;
}

class VegaLiteChart implements Chart {
  readonly [CHART] = true;
  readonly title: string;
  readonly subtitle: string;
  readonly spec: Record<string, unknown>;
  readonly table: Columns;
  readonly summary: Columns;

  constructor(parts: ChartParts, spec: Record<string, unknown>) {
    this.title = parts.title;
    this.subtitle = parts.subtitle ?? "";
    this.spec = spec;
    this.table = parts.table;
    this.summary = parts.summary;
  }

  async svg(): Promise<string> {
    const { renderSvg } = await import("./render.ts");
    return renderSvg(this.spec);
  }

  async png(): Promise<Uint8Array> {
    const { renderPng } = await import("./render.ts");
    return renderPng(await this.svg());
  }

  async html(): Promise<string> {
    const { renderPage } = await import("./page.ts");
    return renderPage([this], [], this.title);
  }

  async save(path: string): Promise<void> {
    const ending = /\.(svg|png|html|json)$/i.exec(typeof path === "string" ? path : "")?.[1].toLowerCase();
    if (ending === undefined) {
      throw new UsageError(
        `Cannot save a chart: got ${
          describe(path)
        }; a path ending in .svg, .png, .html or .json is allowed; ` +
          'write for example save("out/latency.svg")',
      );
    }
    const { mkdir, writeFile } = await import("node:fs/promises");
    const { dirname } = await import("node:path");
    const content = ending === "svg"
      ? await this.svg()
      : ending === "png"
      ? await this.png()
      : ending === "html"
      ? await this.html()
      : JSON.stringify(this.spec, null, 1) + "\n";
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `Chart: ${this.title}; await show(chart) draws it`;
  }
}

/**
 * Puts a chart together: title and subtitle broken into lines, theme, size limit.
 *
 * @param parts finding, views, data
 * @returns the chart
 * @throws {UsageError} if its JSON would be larger than {@linkcode MAX_SPEC_BYTES}
 */
export function makeChart(parts: ChartParts): Chart {
  const title = wrap(parts.title, 16, true, WIDTH);
  const subtitle = parts.subtitle ? wrap(parts.subtitle, 12, false, WIDTH) : [];
  const { background, padding, ...rest } = config("light");
  const spec: Record<string, unknown> = {
    $schema: "https://vega.github.io/schema/vega-lite/v5.json",
    description: [parts.title, parts.subtitle].filter(Boolean).join(". "),
    background,
    padding,
    title: { text: title, ...(subtitle.length > 0 ? { subtitle } : {}) },
    ...parts.body,
    config: rest,
  };
  const bytes = new TextEncoder().encode(JSON.stringify(spec)).length;
  if (bytes > MAX_SPEC_BYTES) {
    throw new UsageError(
      `Cannot draw ${JSON.stringify(parts.title)}: got ${
        parts.table.numRows.toLocaleString("en-US")
      } rows, ` +
        `${Math.ceil(bytes / 1000)} kB of chart; at most ${MAX_SPEC_BYTES / 1000} kB are allowed; ` +
        "bin or group the rows first, for example with toArquero(table), groupby and rollup",
    );
  }
  return new VegaLiteChart(parts, spec);
}

/**
 * A chart for which nothing was recorded: it says so instead of drawing axes without data.
 *
 * @param what the sentence, for example "No invalidations were recorded"
 * @param table the empty table
 * @returns the chart
 */
export function emptyChart(what: string, table: Columns): Chart {
  const body = {
    width: WIDTH,
    height: 60,
    data: { values: [{ text: "Nothing to draw." }] },
    mark: { type: "text", style: "label-muted", align: "left", x: 0, y: 20, fontSize: 13 },
    encoding: { text: { field: "text", type: "nominal" } },
  };
  return makeChart({ title: what, body, table, summary: table });
}
