/** Numbers as charts print them, and axes that carry their unit. */
import { formatNs } from "../units.ts";

/** A unit that suits a whole axis: values are divided by `factor` and labelled with `unit`. */
export interface AxisUnit {
  /** How much of the column's unit one of the axis's unit is. */
  readonly factor: number;
  /** The unit's name on the axis; empty for a plain number. */
  readonly unit: string;
}

const TIME: readonly (readonly [string, number])[] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]];
const LENGTH: readonly (readonly [string, number])[] = [
  ["TiB", 2 ** 40],
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
  ["bytes", 1],
];
const RATE: readonly (readonly [string, number])[] = [["GB/s", 1e9], ["MB/s", 1e6], ["kB/s", 1e3], [
  "bytes/s",
  1,
]];
/** Links are compared in GB/s: half of one is still said in it. */
const LEAST_GB_PER_SECOND = 1e8;

/**
 * Chooses the unit of an axis.
 *
 * @param unit the column's unit: ns, bytes and bytes/s are scaled, any other is kept
 * @param largest the largest value on the axis
 * @returns factor and name
 */
export function axisUnit(unit: string, largest: number): AxisUnit {
  const scale = unit === "ns" ? TIME : unit === "bytes" ? LENGTH : unit === "bytes/s" ? RATE : [];
  const least = (factor: number) => scale === RATE && factor === 1e9 ? LEAST_GB_PER_SECOND : factor;
  const found = scale.find(([, factor]) => largest >= least(factor)) ?? scale.at(-1);
  return found === undefined ? { factor: 1, unit } : { factor: found[1], unit: found[0] };
}

/**
 * An axis title that ends in its unit.
 *
 * @param label what is on the axis
 * @param unit its unit, or nothing
 * @returns for example "virtual time (ms)"
 */
export function withUnit(label: string, unit: string): string {
  // Titles become parts of Vega expressions, whose strings know no line separators.
  const line = label.replace(/[\u2028\u2029]/g, " ");
  return unit === "" || unit === label ? line : `${line} (${unit})`;
}

/** A column's name as an axis names it: without the unit that it ends in, since the axis has one of its own. */
export function columnLabel(name: string): string {
  return /^(.+?)_?(Ns|Bytes|BytesPerSecond|Percent)$/.exec(name)?.[1] ?? name;
}

/** Values to label between two ends of a logarithmic axis: 1, 2, 5 of each power of ten, or only the powers. */
export function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const steps = decades <= 2.4 ? [1, 2, 5] : [1];
  const out: number[] = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    for (const s of steps) {
      const x = Number((s * 10 ** e).toPrecision(3));
      if (x >= low * 0.999 && x <= high * 1.001) out.push(x);
    }
  }
  return out;
}

/** A Vega expression that labels nanoseconds with a unit each: "500 ns", "1 µs", "20 ms". */
export const NS_LABEL = "datum.value < 1e3 ? format(datum.value, '~r') + ' ns' : " +
  "datum.value < 1e6 ? format(datum.value / 1e3, '~r') + ' µs' : " +
  "datum.value < 1e9 ? format(datum.value / 1e6, '~r') + ' ms' : format(datum.value / 1e9, '~r') + ' s'";

/**
 * A Vega expression that labels the plain numbers of an axis, all in one way: in full ("4,096", "16,384") below a
 * million, else short with three digits ("950", "16.4 k", "1.5 M").
 *
 * @param largest the largest number on the axis, without its sign
 * @returns the expression
 */
export function countLabel(largest: number): string {
  const full = "format(datum.value, ',~r')";
  if (largest < 1e6) return full;
  return `abs(datum.value) < 1e3 ? ${full} : replace(format(datum.value, '.3~s'), /([a-zA-Zµ])$/, ' $1')`;
}

/** A time as a title prints it: three digits and the unit, "1.2 µs". */
export function timeText(ns: number): string {
  return formatNs(ns).replace(/ us$/, " µs");
}

/** A share as a title prints it: "62 %", "0.4 %"; never 0 or 100 for what is not exactly that. */
export function shareText(share: number): string {
  const percent = share * 100;
  if (percent === 0 || percent === 100) return `${percent} %`;
  if (percent < 0.001) return "under 0.001 %";
  if (percent >= 99.5) return "over 99 %";
  return `${Number(percent.toPrecision(percent < 10 ? 1 : 2))} %`;
}

/** A number as a title or a label prints it, in a unit: three significant digits, thousands apart. */
export function valueText(x: number, unit: string): string {
  if (unit === "ns" && x >= 0) return timeText(x);
  const rounded = (factor: number) => {
    const scaled = x / factor;
    return Math.abs(scaled) >= 100 ? Math.round(scaled) : Number(scaled.toPrecision(3));
  };
  const near = axisUnit(unit, Math.abs(x));
  // Rounding may reach the next unit: 999.9 MB/s is 1 GB/s.
  const { factor, unit: shown } = axisUnit(unit, Math.abs(rounded(near.factor)) * near.factor);
  const text = rounded(factor).toLocaleString("en-US", { maximumFractionDigits: 9 });
  return shown === "" ? text : `${text} ${shown}`;
}

/** Six significant digits: finer than a pixel, and a third of the JSON. */
export function short(x: number): number {
  return Number(x.toPrecision(6));
}

/** The beginning of a sentence: the first letter in upper case, or all of a first word that is an abbreviation. */
export function capital(s: string): string {
  return s.replace(/^(?:(?:cpu|gpu|tlb|dma|iommu|rdma|nic|numa)\b|.)/su, (start) => start.toUpperCase());
}

/** A count in front of what is counted: "1 event", "1,200 events". */
export function countOf(n: number, one: string): string {
  return `${n.toLocaleString("en-US")} ${one}${n === 1 ? "" : "s"}`;
}
