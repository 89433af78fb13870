/**
 * Every published work that the lab is held against: what it published, what was fitted on it, how it is run.
 * @module
 */
import { CERTAINTIES } from "../../profiles/parameters.ts";
import { profile, profileNames } from "../../profiles/profile.ts";
import { GTX1080_TREE_FIGURES, gtx1080Tree } from "./gtx1080_tree.ts";
import { msched, MSCHED_FIGURES, MSCHED_PARAMETERS } from "./msched.ts";
import { NVIDIA_UVM_FIGURES, nvidiaUvm } from "./nvidia_uvm.ts";
import { PAGE_MIGRATION_FIGURES, PAGE_MIGRATION_PARAMETERS, pageMigration } from "./page_migration.ts";
import type { FigureParameter, PublishedFigure } from "./published.ts";
import type { FigureRow } from "./row.ts";
import { SC21_FIGURES, SC21_PARAMETERS, sc21Batches, sc21Prefetch } from "./sc21.ts";
import {
  UVM_SMART_FIGURES,
  UVM_SMART_PARAMETERS,
  uvmSmartConstants,
  uvmSmartHotspot,
  uvmSmartPcie,
  uvmSmartTable,
} from "./uvm_smart.ts";
import { XE_FIGURES, XE_PARAMETERS, xeFault } from "./xe.ts";

/** How much is run. */
export interface FigureOptions {
  /** Whether long experiments run only a part, for a look (default false). */
  readonly sample?: boolean;
}

/** One published work. */
export interface FigureWork {
  /** By what it is asked for. */
  readonly name: string;
  /** What it measured, for readers. */
  readonly title: string;
  /** Every figure that it published and that is to be compared. */
  readonly figures: readonly PublishedFigure[];
  /** Every parameter that was fitted on its figures, or taken from them. */
  readonly parameters: readonly FigureParameter[];
  /** Runs the experiments. */
  readonly run: (options: FigureOptions) => Promise<readonly FigureRow[]> | readonly FigureRow[];
}

/** The published works, in the order in which they are printed. */
export const FIGURE_WORKS: readonly FigureWork[] = [
  {
    name: "uvm-smart",
    title: "UVM Smart (Ganguly et al., ISCA 2019): PCIe curve, hotspot, prefetch and over-subscription",
    figures: UVM_SMART_FIGURES,
    parameters: UVM_SMART_PARAMETERS,
    run: () => [...uvmSmartConstants(), ...uvmSmartPcie(), ...uvmSmartHotspot(), ...uvmSmartTable()],
  },
  {
    name: "gtx1080-tree",
    title: "The tree prefetcher of a GTX 1080 (Ganguly et al., ISCA 2019)",
    figures: GTX1080_TREE_FIGURES,
    parameters: [],
    run: gtx1080Tree,
  },
  {
    name: "sc21",
    title: "Fault batches of a Titan V (Allen and Ge, SC'21)",
    figures: SC21_FIGURES,
    parameters: SC21_PARAMETERS,
    run: async (options) => [...await sc21Batches(options), ...await sc21Prefetch(options)],
  },
  {
    name: "page-migration",
    title: "Page migration between two sockets (S. Garg, linux-mm, 2025 and 2026)",
    figures: PAGE_MIGRATION_FIGURES,
    parameters: PAGE_MIGRATION_PARAMETERS,
    run: pageMigration,
  },
  {
    name: "xe",
    title: "A fault of 2 MiB on Intel Xe in its parts (F. Dugast, dri-devel, 2025)",
    figures: XE_FIGURES,
    parameters: XE_PARAMETERS,
    run: xeFault,
  },
  {
    name: "msched",
    title: "Fault by fault against batches on an RTX 5080 (MSched, arXiv 2512.24637)",
    figures: MSCHED_FIGURES,
    parameters: MSCHED_PARAMETERS,
    run: msched,
  },
  {
    name: "nvidia-uvm",
    title: "Defaults of NVIDIA's open UVM driver (595.45.04)",
    figures: NVIDIA_UVM_FIGURES,
    parameters: [],
    run: nvidiaUvm,
  },
];

/**
 * What is wrong with the lines of a work: a figure without a line, a line without a figure or with another published value,
 * a parameter that nobody labelled or that no line names.
 *
 * @param work the work
 * @param rows its lines
 * @returns one text for each fault; none if all is well
 */
export function faultsOf(work: FigureWork, rows: readonly FigureRow[]): string[] {
  const faults: string[] = [], say = (text: string) => faults.push(`${work.name}: ${text}`);
  for (const { figure, value } of work.figures) {
    const found = rows.filter((r) => r.figure === figure);
    if (found.length !== 1) say(`${found.length} lines for the published figure "${figure}"; one is due`);
    for (const r of found) {
      if (r.published !== value) {
        say(`"${figure}" was published as ${value} and is compared with ${r.published}`);
      }
    }
  }
  for (const { figure } of rows) {
    if (!work.figures.some((f) => f.figure === figure)) {
      say(`line "${figure}" belongs to no published figure`);
    }
  }
  const named = new Set(rows.flatMap((r) => r.fittedOn === "" ? [] : r.fittedOn.split("; ")));
  for (const name of named) {
    if (!work.parameters.some((p) => p.name === name)) say(`parameter "${name}" has no label`);
  }
  for (const { name, value, certainty, source } of work.parameters) {
    if (!named.has(name)) say(`parameter "${name}" is named by no line`);
    if (!CERTAINTIES.includes(certainty) || value === "" || source === "") {
      say(`parameter "${name}" lacks value, certainty or source`);
    }
  }
  for (const r of rows) {
    if (r.verdict === "calibrated" && r.fittedOn === "") {
      say(`"${r.figure}" is calibrated and names no parameter`);
    }
  }
  return faults;
}

/**
 * Parameters of the profiles that were fitted and that no work names.
 *
 * @param works all works
 * @returns one text for each
 */
export function unnamedFits(works: readonly FigureWork[]): string[] {
  const named = works.flatMap((w) => w.parameters.map((p) => p.name));
  return profileNames().flatMap((name) => {
    const { parameters } = profile(name), from = profile(name).extends;
    return Object.entries(parameters).filter(([key, p]) =>
      p.certainty === "calibrated" &&
      // What a profile has from the one that it extends is that one's.
      (from === undefined || profile(from).parameters[key]?.source !== p.source) &&
      !named.some((n) => n.startsWith(`${name}: `) && n.slice(name.length + 2).split("+").includes(key))
    ).map(([key]) => `parameter "${name}: ${key}" is calibrated and belongs to no published work`);
  });
}
