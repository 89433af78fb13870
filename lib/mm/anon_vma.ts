/**
 * anon_vmas and the chains that link them to vmas: the reverse map of anonymous memory.
 *
 * A page names the anon_vma in which it was made. A child's vma is linked to its own anon_vma and to those of all its
 * ancestors, so that a page made before a fork is found in every process that may have it. A walk visits the vmas of an
 * anon_vma by their first page offset; a vma that is resized is entered anew, and so comes last among equals.
 * @module
 */
import type { Sim } from "../sim/sim.ts";

/** A place where a page may be mapped. */
export interface Mapping {
  /** Address space. */
  readonly mm: number;
  /** Row of the vma. */
  readonly vma: number;
  /** Virtual page at which the vma maps the page, if it does. */
  readonly vpn: number;
}

/** What the reverse map reads of vmas. */
export interface VmaColumns {
  readonly mm: Uint16Array;
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly pgoff: Float64Array;
  /** anon_vma in which new pages are made; 0 for none. */
  readonly anonVma: Uint32Array;
}

/** All anon_vmas of a machine; number 0 is none. */
export class AnonVmas {
  private readonly vmas: VmaColumns;
  /** By anon_vma: its parent, root, children (a root counts itself), vmas that make pages in it, vmas linked to it. */
  private readonly parent: Uint32Array;
  private readonly root: Uint32Array;
  private readonly children: Uint32Array;
  private readonly active: Uint32Array;
  /** Vmas linked to each anon_vma; 1 means that nobody else can have its pages. */
  readonly linked: Uint32Array;
  /** Links: vma + 1, anon_vma, order of entry, next link of the same vma and of the same anon_vma. */
  private readonly linkVma: Uint32Array;
  private readonly linkAnon: Uint32Array;
  private readonly linkEntry: Uint32Array;
  private readonly linkNextOfVma: Uint32Array;
  private readonly linkNextOfAnon: Uint32Array;
  private readonly firstOfVma: Uint32Array;
  private readonly firstOfAnon: Uint32Array;
  /** [0] anon_vmas ever made, [1] links ever made, [2] entries so far */
  private readonly count: Uint32Array;
  /** Beyond these nothing is copied: what is left is for vmas that have no anon_vma yet, and for merges. */
  private readonly mostAnons: number;
  private readonly mostLinks: number;

  /**
   * Makes the anon_vmas of a machine, none in use.
   *
   * @param sim the machine's contract
   * @param vmas columns of the vmas
   * @param capacity most vmas
   */
  constructor(sim: Sim, vmas: VmaColumns, capacity: number) {
    this.vmas = vmas;
    const { state } = sim, anons = () => this.count[0] + 1, links = () => this.count[1] + 1;
    this.count = state.u32("anonVma.count", 3);
    // Those that ended processes leave to their descendants may be more than there are vmas. Without a copy each vma
    // adds one anon_vma and one link at most, and a merge needs the links of one vma twice for a moment.
    this.mostAnons = 2 * capacity;
    this.mostLinks = 4 * capacity;
    const rows = this.mostAnons + capacity + 1;
    this.parent = state.u32("anonVma.parent", rows, anons);
    this.root = state.u32("anonVma.root", rows, anons);
    this.children = state.u32("anonVma.children", rows, anons);
    this.active = state.u32("anonVma.active", rows, anons);
    this.linked = state.u32("anonVma.linked", rows, anons);
    this.firstOfAnon = state.u32("anonVma.first", rows, anons);
    const most = 2 * (this.mostLinks + capacity) + 1;
    this.linkVma = state.u32("anonVmaLink.vma", most, links);
    this.linkAnon = state.u32("anonVmaLink.anon", most, links);
    this.linkEntry = state.u32("anonVmaLink.entry", most, links);
    this.linkNextOfVma = state.u32("anonVmaLink.nextOfVma", most, links);
    this.linkNextOfAnon = state.u32("anonVmaLink.nextOfAnon", most, links);
    this.firstOfVma = state.u32("vma.firstLink", capacity);
  }

  /** Takes the lowest free anon_vma, below `parent` or as a root (0). */
  private make(parent: number): number {
    let anon = 1;
    while (this.root[anon] !== 0) anon++;
    if (anon > this.count[0]) this.count[0] = anon;
    this.parent[anon] = parent === 0 ? anon : parent;
    this.root[anon] = parent === 0 ? anon : this.root[parent];
    this.children[parent === 0 ? anon : parent]++;
    return anon;
  }

  /** Frees an anon_vma that no vma is linked to; its root stays as long as it has other descendants. */
  private release(anon: number): void {
    const parent = this.parent[anon];
    this.children[parent]--;
    this.root[anon] =
      this.parent[anon] =
      this.children[anon] =
      this.active[anon] =
        0;
  }

  /** Links a vma to an anon_vma: anon_vma_chain_link(). */
  private link(vma: number, anon: number): void {
    const { linkVma, count } = this;
    let l = 1;
    while (l <= count[1] && linkVma[l] !== 0) l++;
    if (l > count[1]) count[1] = l;
    linkVma[l] = vma + 1;
    this.linkAnon[l] = anon;
    this.linkEntry[l] = ++count[2];
    this.linkNextOfVma[l] = this.firstOfVma[vma];
    this.firstOfVma[vma] = l;
    this.linkNextOfAnon[l] = this.firstOfAnon[anon];
    this.firstOfAnon[anon] = l;
    this.linked[anon]++;
  }

  /** The oldest anon_vma of a family: where pages are made that others may have too. */
  rootOf(anon: number): number {
    return this.root[anon];
  }

  /** The only vma that is linked to an anon_vma, or -1 where there is none or more than one. */
  sole(anon: number): number {
    return this.linked[anon] === 1 ? this.linkVma[this.firstOfAnon[anon]] - 1 : -1;
  }

  /** Whether a vma is linked to no anon_vma but its own (list_is_singular()), and so was not copied by a fork. */
  singular(vma: number): boolean {
    const first = this.firstOfVma[vma];
    return first !== 0 && this.linkNextOfVma[first] === 0;
  }

  /** Gives a vma an anon_vma: a neighbour's (`share`), or a new one. */
  prepare(vma: number, share: number): void {
    const anon = share !== 0 ? share : this.make(0);
    this.vmas.anonVma[vma] = anon;
    this.active[anon]++;
    this.link(vma, anon);
  }

  /**
   * Whether there is room to copy what a vma is linked to; without it a fork, a split, a move fail with -ENOMEM.
   *
   * @param vma the vma that is copied
   */
  hasRoom(vma: number): boolean {
    const { count, linkVma, root } = this;
    let wanted = 1, links = count[1], anons = count[0];
    for (let l = this.firstOfVma[vma]; l !== 0; l = this.linkNextOfVma[l]) wanted++;
    // Rows are counted one by one only when they may be short.
    if (links + wanted > this.mostLinks) links = linkVma.subarray(1, links + 1).filter((v) => v !== 0).length;
    if (anons + 1 > this.mostAnons) anons = root.subarray(1, anons + 1).filter((r) => r !== 0).length;
    return links + wanted <= this.mostLinks && anons + 1 <= this.mostAnons;
  }

  /**
   * Links a vma to everything that another is linked to: anon_vma_clone(). Where that is not a merge,
   * {@linkcode hasRoom} was asked. A vma that has no anon_vma yet takes over an
   * abandoned one of the family, if there is one with at most one child (a fork then makes no new one).
   *
   * @param forking whether the copy is for a fork
   */
  clone(to: number, from: number, forking: boolean): void {
    const { vmas: { anonVma } } = this, anons: number[] = [];
    for (let l = this.firstOfVma[from]; l !== 0; l = this.linkNextOfVma[l]) anons.push(this.linkAnon[l]);
    for (const anon of anons.reverse()) {
      this.link(to, anon);
      if (forking && anonVma[to] === 0 && this.children[anon] < 2 && this.active[anon] === 0) {
        anonVma[to] = anon;
      }
    }
    if (!forking) anonVma[to] = anonVma[from];
    if (anonVma[to] !== 0) this.active[anonVma[to]]++;
  }

  /** Links a child's vma to its parent's anon_vmas and gives it one of its own: anon_vma_fork(). */
  fork(child: number, parent: number): void {
    const { vmas: { anonVma } } = this;
    anonVma[child] = 0;
    if (anonVma[parent] === 0) return;
    this.clone(child, parent, true);
    if (anonVma[child] !== 0) return;
    const anon = this.make(anonVma[parent]);
    anonVma[child] = anon;
    this.active[anon]++;
    this.link(child, anon);
  }

  /** Takes a vma out of the reverse map: unlink_anon_vmas(). */
  unlink(vma: number): void {
    const { vmas: { anonVma } } = this, left: number[] = [];
    for (let l = this.firstOfVma[vma]; l !== 0;) {
      const next = this.linkNextOfVma[l], anon = this.linkAnon[l];
      if (this.firstOfAnon[anon] === l) this.firstOfAnon[anon] = this.linkNextOfAnon[l];
      else {
        let before = this.firstOfAnon[anon];
        while (this.linkNextOfAnon[before] !== l) before = this.linkNextOfAnon[before];
        this.linkNextOfAnon[before] = this.linkNextOfAnon[l];
      }
      this.linkVma[l] =
        this.linkAnon[l] =
        this.linkEntry[l] =
        this.linkNextOfVma[l] =
        this.linkNextOfAnon[l] =
          0;
      if (--this.linked[anon] === 0) left.push(anon);
      l = next;
    }
    this.firstOfVma[vma] = 0;
    if (anonVma[vma] !== 0) this.active[anonVma[vma]]--;
    anonVma[vma] = 0;
    // Children before parents: a younger anon_vma has the higher number only by chance, so by ancestry.
    for (const anon of left.sort((a, b) => this.depth(b) - this.depth(a))) this.release(anon);
  }

  /** Ancestors of an anon_vma. */
  private depth(anon: number): number {
    let d = 0;
    for (let x = anon; this.parent[x] !== x && this.parent[x] !== 0; x = this.parent[x]) d++;
    return d;
  }

  /**
   * How often a vma was entered so far. A walk that must miss nothing begins again when this has changed by its end: the
   * kernel's holds the anon_vma's lock, for which fork, mremap and whoever cuts a vma wait.
   */
  get entered(): number {
    return this.count[2];
  }

  /** Enters a vma anew after its range has changed. */
  reenter(vma: number): void {
    for (let l = this.firstOfVma[vma]; l !== 0; l = this.linkNextOfVma[l]) {
      this.linkEntry[l] = ++this.count[2];
    }
  }

  /**
   * The places where a page may be mapped, in the order of a walk: rmap_walk_anon().
   *
   * @param anon the page's anon_vma
   * @param index its place in it
   */
  places(anon: number, index: number): Mapping[] {
    const { vmas: { mm, start, end, pgoff } } = this, found: (Mapping & { entry: number })[] = [];
    for (let l = this.firstOfAnon[anon]; l !== 0; l = this.linkNextOfAnon[l]) {
      const vma = this.linkVma[l] - 1, vpn = start[vma] + (index - pgoff[vma]);
      if (vpn >= start[vma] && vpn < end[vma]) {
        found.push({ mm: mm[vma], vma, vpn, entry: this.linkEntry[l] });
      }
    }
    if (found.length > 1) found.sort((a, b) => pgoff[a.vma] - pgoff[b.vma] || a.entry - b.entry);
    return found;
  }

  /**
   * The vmas that may map any of `n` pages from `index` on, in the order of a walk, with the range that each maps them at.
   *
   * @param anon the pages' anon_vma
   */
  placesOf(
    anon: number,
    index: number,
    n: number,
  ): { mm: number; vma: number; start: number; end: number }[] {
    const { vmas: { mm, start, end, pgoff } } = this;
    const found: { mm: number; vma: number; start: number; end: number; entry: number }[] = [];
    for (let l = this.firstOfAnon[anon]; l !== 0; l = this.linkNextOfAnon[l]) {
      const vma = this.linkVma[l] - 1, at = start[vma] + (index - pgoff[vma]);
      const from = Math.max(at, start[vma]), to = Math.min(at + n, end[vma]);
      if (from < to) found.push({ mm: mm[vma], vma, start: from, end: to, entry: this.linkEntry[l] });
    }
    return found.sort((a, b) => pgoff[a.vma] - pgoff[b.vma] || a.entry - b.entry);
  }
}
