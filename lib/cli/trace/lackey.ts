/** Reads what valgrind's lackey prints under `--trace-mem=yes`, byte by byte, as it comes out of a pipe. */
import { PAGE_SHIFT, PAGE_SIZE } from "../../units.ts";

/** Where the parser puts what it reads, one call for each page that an access touches. */
export interface ReferenceSink {
  /**
   * Takes one reference.
   *
   * @param vpn The virtual page number.
   * @param write 1 for a store, 0 for a load.
   */
  touch(vpn: number, write: 0 | 1): void;
}

const NEWLINE = 10;
const SPACE = 32;
const STAR = 42;
const COMMA = 44;
const MINUS = 45;
const ZERO = 48;
const NINE = 57;
const EQUALS = 61;
const FETCH = 73;
const LOAD = 76;
const MODIFY = 77;
const STORE = 83;

const NOT_HEX = 255;
const HEX = new Uint8Array(256).fill(NOT_HEX);
for (let digit = 0; digit < 16; digit++) HEX[digit.toString(16).charCodeAt(0)] = digit;

const OFFSET_MASK = PAGE_SIZE - 1;
/** What the upper 32 bits of an address count for in a page number. */
const HIGH_PAGES = 2 ** (32 - PAGE_SHIFT);
/** No x86 or Arm instruction moves more at once; a larger number is a log that is not understood. */
const MAX_ACCESS_BYTES = PAGE_SIZE;
const MAX_HEX_DIGITS = 16;

/** A line of the log that lackey does not print. */
export class LackeyError extends Error {
  /** The name that a stack trace shows. */
  override readonly name: string = "LackeyError";
}

/**
 * A streaming parser of lackey's log.
 *
 * A load is one read, a store one write, a modify a read and then a write of the same bytes. An access that straddles a
 * page boundary is a reference to each page it touches. Instruction fetches are counted and go nowhere else.
 */
export class LackeyParser {
  /** Lines ` L`. */
  loads = 0;
  /** Lines ` S`. */
  stores = 0;
  /** Lines ` M`, each a read and a write. */
  modifies = 0;
  /** Of loads, stores and modifies those that touch two pages. */
  straddles = 0;
  /** Lines `I`: instructions fetched. */
  fetches = 0;
  /** References handed to the sink. */
  references = 0;
  /** Whether the limit has been reached: nothing after it was read. */
  full = false;
  /** What valgrind itself said (`==PID== …`), the prefix removed; the newest 64 lines. */
  readonly messages: string[] = [];

  readonly #sink: ReferenceSink;
  readonly #limit: number;
  #rest: Uint8Array = new Uint8Array(0);
  #restBytes = 0;
  #bytesBefore = 0;

  /**
   * Begins at the start of a log.
   *
   * @param sink Gets every reference in program order.
   * @param limit References after which the parser is full; an access that would pass it is not taken.
   */
  constructor(sink: ReferenceSink, limit: number = Infinity) {
    this.#sink = sink;
    this.#limit = limit;
  }

  /**
   * Reads the next piece of the log, cut anywhere.
   *
   * @param chunk Bytes; not kept.
   * @returns False when the limit has been reached and no more is wanted.
   * @throws LackeyError for a line that lackey does not print.
   */
  push(chunk: Uint8Array): boolean {
    if (this.full) return false;
    const lastNewline = chunk.lastIndexOf(NEWLINE);
    if (lastNewline < 0) {
      this.#keep(chunk);
      return true;
    }
    let start = 0;
    if (this.#restBytes > 0) {
      // Only the line that the cut went through is copied.
      start = chunk.indexOf(NEWLINE) + 1;
      this.#keep(chunk.subarray(0, start));
      const lineBytes = this.#restBytes;
      this.#restBytes = 0;
      this.#parse(this.#rest, 0, lineBytes);
    }
    if (!this.full) this.#parse(chunk, start, lastNewline + 1);
    this.#bytesBefore += chunk.length;
    this.#keep(chunk.subarray(lastNewline + 1));
    return !this.full;
  }

  /**
   * Ends the log.
   *
   * @throws LackeyError when the last line is not complete: the log was cut.
   */
  end(): void {
    if (this.full || this.#restBytes === 0) return;
    throw new LackeyError(
      `lackey's log is cut: it ends within "${this.#text(this.#rest, 0, this.#restBytes)}"`,
    );
  }

  #keep(bytes: Uint8Array): void {
    const need = this.#restBytes + bytes.length;
    if (need > this.#rest.length) {
      const grown = new Uint8Array(Math.max(256, need * 2));
      grown.set(this.#rest.subarray(0, this.#restBytes));
      this.#rest = grown;
    }
    this.#rest.set(bytes, this.#restBytes);
    this.#restBytes = need;
  }

  /** Reads whole lines; `buf[end - 1]` is a newline, which ends every inner loop. */
  #parse(buf: Uint8Array, start: number, end: number): void {
    const sink = this.#sink;
    const limit = this.#limit;
    let references = this.references;
    let fetches = 0;
    let loads = 0;
    let stores = 0;
    let modifies = 0;
    let p = start;
    while (p < end) {
      const first = buf[p];
      if (first === FETCH && buf[p + 1] === SPACE && buf[p + 2] === SPACE) {
        p += 3;
        while (buf[p] !== NEWLINE) p++;
        p++;
        fetches++;
        continue;
      }
      const kind = buf[p + 1];
      if (
        first !== SPACE || buf[p + 2] !== SPACE || (kind !== LOAD && kind !== STORE && kind !== MODIFY)
      ) {
        p = this.#message(buf, p, end);
        continue;
      }
      let q = p + 3;
      let high = 0;
      let low = 0;
      for (let digit = HEX[buf[q]]; digit !== NOT_HEX; digit = HEX[buf[++q]]) {
        high = (high << 4) | (low >>> 28);
        low = (low << 4) | digit;
      }
      const digits = q - p - 3;
      if (digits === 0 || digits > MAX_HEX_DIGITS || buf[q] !== COMMA) throw this.#bad(buf, p, end);
      let size = 0;
      const sizeAt = ++q;
      for (let c = buf[q]; c >= ZERO && c <= NINE; c = buf[++q]) size = size * 10 + c - ZERO;
      if (q === sizeAt || size === 0 || size > MAX_ACCESS_BYTES || buf[q] !== NEWLINE) {
        throw this.#bad(buf, p, end);
      }

      const vpn = (high >>> 0) * HIGH_PAGES + (low >>> PAGE_SHIFT);
      const straddles = (low & OFFSET_MASK) + size > PAGE_SIZE;
      const taken = (kind === MODIFY ? 2 : 1) * (straddles ? 2 : 1);
      if (references + taken > limit) {
        this.full = true;
        break;
      }
      references += taken;
      if (kind === LOAD) loads++;
      else if (kind === STORE) stores++;
      else modifies++;
      if (kind !== STORE) {
        sink.touch(vpn, 0);
        if (straddles) sink.touch(vpn + 1, 0);
      }
      if (kind !== LOAD) {
        sink.touch(vpn, 1);
        if (straddles) sink.touch(vpn + 1, 1);
      }
      if (straddles) this.straddles++;
      p = q + 1;
    }
    this.references = references;
    this.fetches += fetches;
    this.loads += loads;
    this.stores += stores;
    this.modifies += modifies;
  }

  /** Takes a line of valgrind's own (`==PID==`, `--PID--`, `**PID**`, or empty); returns where the next one starts. */
  #message(buf: Uint8Array, p: number, end: number): number {
    const next = buf.indexOf(NEWLINE, p) + 1;
    if (next === p + 1) return next;
    const c = buf[p];
    if ((c !== EQUALS && c !== MINUS && c !== STAR) || buf[p + 1] !== c) throw this.#bad(buf, p, end);
    const text = this.#text(buf, p, next - 1).replace(/^(==|--|\*\*)\d+\1 ?/, "").trim();
    if (text !== "") this.messages.push(text);
    if (this.messages.length > 64) this.messages.shift();
    return next;
  }

  #bad(buf: Uint8Array, p: number, end: number): LackeyError {
    const next = buf.indexOf(NEWLINE, p);
    const at = buf === this.#rest ? this.#bytesBefore : this.#bytesBefore + p;
    return new LackeyError(
      `line not understood in lackey's log, near byte ${at}: "${this.#text(buf, p, Math.min(next, end))}"`,
    );
  }

  #text(buf: Uint8Array, from: number, to: number): string {
    const shown = new TextDecoder().decode(buf.subarray(from, Math.min(to, from + 200)));
    return to > from + 200 ? `${shown}…` : shown;
  }
}
