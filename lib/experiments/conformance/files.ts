/**
 * Transcript files: one program a line, compressed or not.
 * @module
 */
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { UsageError } from "../../errors.ts";

/**
 * Reads the lines of a transcript file.
 *
 * @param path of a `.jsonl` or `.jsonl.gz` file
 * @returns its lines; line i + 1 is at index i
 * @throws UsageError when there is no such file, or it is not what its ending says
 */
export async function transcriptLines(path: string): Promise<string[]> {
  let data: Uint8Array;
  try {
    data = await readFile(path);
  } catch (e) {
    throw new UsageError(
      `Cannot read transcripts: got ${path}, which ${
        (e as { code?: string }).code === "ENOENT"
          ? "is not there"
          : `cannot be read (${(e as Error).message})`
      }; write the path of a .jsonl or .jsonl.gz file`,
    );
  }
  if (path.endsWith(".gz")) {
    try {
      data = gunzipSync(data);
    } catch (e) {
      throw new UsageError(
        `Cannot read transcripts: got ${path}, which is no gzip file (${(e as Error).message}); ` +
          "name it .jsonl if it is plain text",
      );
    }
  }
  return new TextDecoder().decode(data).split("\n");
}
