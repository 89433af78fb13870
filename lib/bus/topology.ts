/**
 * What lies between the devices of a machine and its memory: each device's own link, and links that several of them share.
 *
 * It is a tree with the host at its root, as PCI Express is. Nothing leads from device to device but through the host: in
 * Linux 6.12 no page migrates from one device to another without a stay in system memory.
 * @module
 */
import type { TransferCurve } from "../profiles/curve.ts";
import type { Timeline } from "../record/timeline.ts";
import type { Sim } from "../sim/sim.ts";
import { type Beyond, NOTHING_BEYOND, SharedLink } from "./shared_link.ts";
import { SharedLinks } from "./shared_links.ts";
import { TO_DEVICE, TO_HOST } from "./way.ts";

/** The end at which every way ends. */
export const HOST = "host";

/** A link that what is beneath it shares: a switch's way up, a root complex. */
export interface LinkSpec {
  /** Its name, which other links can lead to. */
  readonly name: string;
  /** Devices whose own links end here. */
  readonly from: readonly string[];
  /** Where it leads: {@link HOST}, or the name of another link. */
  readonly to: string;
  /** Rate of each direction, in whole bytes per second. */
  readonly bytesPerSecond: number;
  /** What it adds to the latency of a transfer, in ns. */
  readonly latencyNs: number;
}

/** The links of one machine. */
export class Topology {
  /** Lanes and what moves over them. */
  readonly links: SharedLinks;
  private readonly ways = new Map<string, Beyond>();
  private readonly shared: number[] = [];

  /**
   * Makes the shared links, nothing on them.
   *
   * @param sim the machine's contract
   * @param specs checked links, that make a tree
   */
  constructor(sim: Sim, specs: readonly LinkSpec[]) {
    this.links = new SharedLinks(sim);
    const lanes = new Map(specs.map(({ name, bytesPerSecond }) => {
      const both: [number, number] = [
        this.links.lane(`${name} to the devices`, bytesPerSecond),
        this.links.lane(`${name} to the host`, bytesPerSecond),
      ];
      this.shared.push(...both);
      return [name, both];
    }));
    for (const { name, from } of specs) {
      const path: LinkSpec[] = [];
      for (let at = name; at !== HOST; at = path.at(-1)!.to) path.push(specs.find((s) => s.name === at)!);
      const beyond: Beyond = {
        lanes: [
          path.map((s) => lanes.get(s.name)![TO_DEVICE]),
          path.map((s) => lanes.get(s.name)![TO_HOST]),
        ],
        latencyNs: path.reduce((ns, s) => ns + s.latencyNs, 0),
      };
      for (const device of from) this.ways.set(device, beyond);
    }
  }

  /**
   * Makes a device's own link, from it to the host or to the link that lists it.
   *
   * @param device name of the device
   * @param curve what a transfer takes that is alone
   * @param bytesPerSecond rate of each direction, in whole bytes per second
   */
  linkOf(device: string, curve: TransferCurve, bytesPerSecond: number): SharedLink {
    const beyond = this.ways.get(device) ?? NOTHING_BEYOND;
    return new SharedLink(this.links, `link of ${device}`, curve, bytesPerSecond, beyond);
  }

  /** Bytes over the shared links in this run, over virtual time: of each, to the devices and to the host. */
  timelines(): readonly Timeline[] {
    return this.shared.map((lane) => this.links.bytesNow(lane));
  }
}
