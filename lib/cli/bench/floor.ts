/**
 * The floor of the bench: a bare loop that writes what the model writes, and does nothing else.
 *
 * Columns have the shapes of the model's: a byte of kind and a frame for each entry, flags, counts, mapping, index and
 * a word for each frame, a bit for each frame in use. One histogram and one clock stand for the accounts.
 */

const TABLE = 512;
const HISTOGRAM_BUCKETS = 1024;

/** Columns of a region, its device mirror, and the frames of both kinds of memory. */
export class FloorColumns {
  private readonly kind: Uint8Array;
  private readonly pfn: Uint32Array;
  private readonly live: Uint16Array;
  private readonly deviceKind: Uint8Array;
  private readonly devicePfn: Uint32Array;
  private readonly deviceLive: Uint16Array;
  private readonly flags: Uint8Array;
  private readonly refcount: Int32Array;
  private readonly mapcount: Int32Array;
  private readonly mapping: Uint32Array;
  private readonly index: Float64Array;
  private readonly word: Uint32Array;
  private readonly inUse: Uint32Array;
  private readonly counts = new Float64Array(HISTOGRAM_BUCKETS);
  private readonly now = new Float64Array(1);

  /** @param pages pages of the region; there are as many frames of each kind of memory */
  constructor(private readonly pages: number) {
    const tables = Math.ceil(pages / TABLE), frames = 2 * pages;
    this.kind = new Uint8Array(pages);
    this.pfn = new Uint32Array(pages);
    this.live = new Uint16Array(tables);
    this.deviceKind = new Uint8Array(pages);
    this.devicePfn = new Uint32Array(pages);
    this.deviceLive = new Uint16Array(tables);
    this.flags = new Uint8Array(frames);
    this.refcount = new Int32Array(frames);
    this.mapcount = new Int32Array(frames);
    this.mapping = new Uint32Array(frames);
    this.index = new Float64Array(frames);
    this.word = new Uint32Array(frames);
    this.inUse = new Uint32Array(Math.ceil(frames / 32));
  }

  /** Gives each page a frame, as first touches do. */
  touch(): void {
    const { kind, pfn, live, flags, refcount, mapcount, mapping, index, word, inUse, counts, now } = this;
    for (let v = 0; v < this.pages; v++) {
      inUse[v >>> 5] |= 1 << (v & 31);
      refcount[v] = 1;
      mapcount[v] = 1;
      mapping[v] = 1;
      index[v] = v;
      flags[v] = 14;
      word[v] = v;
      kind[v] = 0xe1;
      pfn[v] = v;
      live[v >>> 9]++;
      counts[v & 15]++;
      now[0] += 690;
    }
  }

  /** Moves each page to a frame of the other kind of memory, as migrations to and from a device do. */
  move(toDevice: boolean): void {
    const { kind, pfn, deviceKind, devicePfn, deviceLive } = this;
    const { flags, refcount, mapcount, mapping, index, word, inUse, counts, now } = this;
    for (let v = 0; v < this.pages; v++) {
      const from = toDevice ? v : v + this.pages, to = toDevice ? v + this.pages : v;
      inUse[to >>> 5] |= 1 << (to & 31);
      refcount[to] = 1;
      mapcount[to] = 1;
      mapping[to] = mapping[from];
      index[to] = index[from];
      flags[to] = flags[from];
      word[to] = word[from];
      kind[v] = toDevice ? 0x82 : 0x81;
      pfn[v] = to;
      deviceKind[v] = toDevice ? 0x81 : 0;
      devicePfn[v] = toDevice ? to : 0;
      if (toDevice) deviceLive[v >>> 9]++;
      else deviceLive[v >>> 9]--;
      inUse[from >>> 5] &= ~(1 << (from & 31));
      refcount[from] = 0;
      mapcount[from] = 0;
      mapping[from] = 0;
      index[from] = 0;
      flags[from] = 0;
      counts[v & 15]++;
      now[0] += 690;
    }
  }

  /** A number of everything that was written, so that no loop is left out as useless. */
  checksum(): number {
    let sum = this.now[0] + this.counts[0];
    for (let v = 0; v < this.pages; v += TABLE) sum += this.pfn[v] + this.devicePfn[v] + this.word[v];
    return sum;
  }
}
