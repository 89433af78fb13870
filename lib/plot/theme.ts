/** How all charts look: one palette, one font, readable on light and on dark pages. */

/**
 * Colours of series in order, after Okabe and Ito: told apart with every common colour blindness. Their black is a grey
 * here, since black is lost on a dark page.
 */
const PALETTE: readonly string[] = [
  "#0072B2",
  "#E69F00",
  "#009E73",
  "#CC79A7",
  "#56B4E9",
  "#D55E00",
  "#8C8C8C",
];

/** Most series of a chart. */
export const MAX_SERIES: number = PALETTE.length;

/**
 * The colours of series on a page.
 *
 * @param mode what the chart stands on
 * @returns hexadecimal colours in order; the last is a grey. Blue and green are lighter on dark
 */
export function palette(mode: Mode): string[] {
  const lighter: Readonly<Record<string, string>> = { "#0072B2": "#2A93DB", "#009E73": "#12B387" };
  return PALETTE.map((color) => mode === "dark" ? lighter[color] ?? color : color);
}

/** Width of the plotting area in pixels where the page does not decide. */
export const WIDTH = 640;

/**
 * Browsers on macOS and Windows take their own face; the image renderer and most Linux pages take the third, whose
 * widths are close to the first two, so that the same layout fits.
 */
export const FONT = "Helvetica Neue, Arial, DejaVu Sans Condensed, sans-serif";

/** The two pages a chart can stand on. */
export type Mode = "light" | "dark";

interface Ink {
  readonly background: string;
  readonly strong: string;
  readonly muted: string;
  readonly grid: string;
  readonly accent: string;
  /** Little to much, for areas: the least is close to the background, the most stands out from it. */
  readonly heat: readonly string[];
}

const INK: Readonly<Record<Mode, Ink>> = {
  light: {
    background: "#ffffff",
    strong: "#1f2328",
    muted: "#57606a",
    grid: "#e3e6ea",
    accent: "#b04a00",
    heat: ["#e3e6ea", "#56b4e9", "#0072b2"],
  },
  dark: {
    background: "#1b1f24",
    strong: "#e6e9ed",
    muted: "#a3acb7",
    grid: "#343b44",
    accent: "#f0833a",
    heat: ["#343b44", "#1f6fa5", "#7cc7f2"],
  },
};

/**
 * The Vega-Lite config of a page. Charts name no colours of their own except through it.
 *
 * @param mode what the chart stands on
 * @returns a new config object, as JSON
 */
export function config(mode: Mode): Record<string, unknown> {
  const ink = INK[mode];
  const colors = palette(mode);
  return {
    background: ink.background,
    padding: { left: 14, top: 14, right: 20, bottom: 12 },
    font: FONT,
    aria: false,
    title: {
      anchor: "start",
      frame: "bounds",
      color: ink.strong,
      fontSize: 16,
      fontWeight: "bold",
      lineHeight: 20,
      subtitleColor: ink.muted,
      subtitleFontSize: 12,
      subtitleLineHeight: 16,
      subtitlePadding: 6,
      offset: 16,
    },
    view: { stroke: null },
    axis: {
      labelColor: ink.muted,
      labelFontSize: 11.5,
      titleColor: ink.muted,
      titleFontSize: 12,
      titleFontWeight: "normal",
      gridColor: ink.grid,
      domainColor: ink.muted,
      tickColor: ink.muted,
      tickSize: 4,
      labelPadding: 4,
      titlePadding: 8,
      labelLimit: 280,
    },
    // A horizontal title over the axis is read without turning the head, and costs no width on a phone.
    axisY: {
      domain: false,
      ticks: false,
      titleAngle: 0,
      titleAlign: "left",
      titleAnchor: "end",
      titleBaseline: "bottom",
      titleX: 0,
      titleY: -8,
    },
    axisX: { grid: false, labelSeparation: 6 },
    legend: {
      orient: "top",
      title: null,
      labelColor: ink.strong,
      labelFontSize: 12,
      labelLimit: 0,
      titleColor: ink.muted,
      titleFontSize: 12,
      titleFontWeight: "normal",
      symbolSize: 110,
      symbolStrokeWidth: 2.5,
      offset: 8,
      columnPadding: 18,
      rowPadding: 3,
    },
    range: { category: colors, heatmap: [...ink.heat] },
    bar: { color: colors[0] },
    area: { color: colors[0] },
    line: { color: colors[0], strokeWidth: 2 },
    point: { color: colors[0], filled: true, size: 55 },
    rule: { color: ink.muted, strokeWidth: 1 },
    text: { color: ink.strong, fontSize: 11.5 },
    style: {
      "label-muted": { color: ink.muted },
      "label-accent": { color: ink.accent, fontWeight: "bold" },
      "rule-accent": { color: ink.accent, strokeWidth: 1.5 },
      halo: {
        color: ink.background,
        stroke: ink.background,
        strokeWidth: 4,
        strokeJoin: "round",
        fontWeight: "bold",
      },
      "on-background": { stroke: ink.background },
    },
  };
}

/** Dash patterns of lines in order, beside the colours. */
export const DASHES: readonly (readonly number[])[] = [
  [1, 0],
  [6, 3],
  [2, 2],
  [9, 3, 2, 3],
  [4, 4],
  [12, 3],
  [1, 3],
];

/** Offset of a legend that stands over the title of a vertical axis; Vega does not count that title. */
export const LEGEND_ABOVE_TITLE = 28;
