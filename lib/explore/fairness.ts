/**
 * Livelocks of fair schedules: cycles of states in which everyone who can go on does so, and nobody ever ends.
 *
 * A schedule that lets one actor ask again and again while another is never let go on is no livelock: no scheduler does
 * that for ever. So a cycle counts only if each actor steps in it, or somewhere in it cannot (weak fairness).
 * @module
 */

/** The steps of a search, one a row: between which states, whose, by which decisions. */
export interface Steps {
  /** State before. */
  readonly from: readonly number[];
  /** State after. */
  readonly to: readonly number[];
  /** Index of the actor. */
  readonly actor: readonly number[];
  /** Decisions of the step, as a schedule writes them. */
  readonly decided: readonly string[];
}

/** A way to the cycle and once around it. */
export interface FairCycle {
  /** A state of the cycle. */
  readonly state: number;
  /** Decisions from there around the cycle and back, in which each actor steps that steps in it at all. */
  readonly around: string;
}

/** The components of a graph whose states all lead to each other, by state: Tarjan's, without recursion. */
function components(states: number, out: readonly number[][], to: readonly number[]): Int32Array {
  const component = new Int32Array(states).fill(-1), index = new Int32Array(states).fill(-1);
  const low = new Int32Array(states), stack: number[] = [], next = new Int32Array(states);
  let indices = 0, count = 0;
  for (let root = 0; root < states; root++) {
    if (index[root] >= 0) continue;
    const path = [root];
    while (path.length > 0) {
      const s = path[path.length - 1];
      if (next[s] === 0 && index[s] < 0) {
        index[s] = low[s] = indices++;
        stack.push(s);
      }
      if (next[s] < out[s].length) {
        const t = to[out[s][next[s]++]];
        if (index[t] < 0) path.push(t);
        else if (component[t] < 0) low[s] = Math.min(low[s], index[t]);
        continue;
      }
      path.pop();
      if (path.length > 0) low[path[path.length - 1]] = Math.min(low[path[path.length - 1]], low[s]);
      if (low[s] !== index[s]) continue;
      for (let t = -1; t !== s;) {
        t = stack.pop()!;
        component[t] = count;
      }
      count++;
    }
  }
  return component;
}

/** Steps of the shortest way within a component from state `s` to one of the steps that `wanted` names, that one too. */
function way(
  s: number,
  out: readonly number[][],
  to: readonly number[],
  inside: (e: number) => boolean,
  wanted: (e: number) => boolean,
): number[] {
  const came = new Map<number, number[]>([[s, []]]);
  for (const [state, path] of came) {
    for (const e of out[state]) {
      if (!inside(e)) continue;
      if (wanted(e)) return [...path, e];
      if (!came.has(to[e])) came.set(to[e], [...path, e]);
    }
  }
  throw new Error("a component of the graph has a step that does not lead back");
}

/**
 * Looks for a cycle that a fair schedule can stay in for ever.
 *
 * @param states how many states there are; all of their steps are given
 * @param steps the steps
 * @param actors how many actors there are
 * @returns the first such cycle, or undefined
 */
export function fairCycle(states: number, steps: Steps, actors: number): FairCycle | undefined {
  const { from, to, actor, decided } = steps, out: number[][] = Array.from({ length: states }, () => []);
  from.forEach((s, e) => out[s].push(e));
  const component = components(states, out, to);
  const inside = (e: number) => component[from[e]] === component[to[e]];
  const members = new Map<number, number[]>();
  for (let s = 0; s < states; s++) {
    if (!out[s].some(inside)) continue;
    const list = members.get(component[s]);
    if (list === undefined) members.set(component[s], [s]);
    else list.push(s);
  }
  for (const list of members.values()) {
    const stepping = new Set(list.flatMap((s) => out[s].filter(inside).map((e) => actor[e])));
    const unfair = (i: number) => !stepping.has(i) && list.every((s) => out[s].some((e) => actor[e] === i));
    if (Array.from({ length: actors }, (_, i) => i).some(unfair)) continue;
    const state = list[0], around: number[] = [];
    let at = state;
    const go = (wanted: (e: number) => boolean) => {
      around.push(...way(at, out, to, inside, wanted));
      at = to[around[around.length - 1]];
    };
    for (const i of stepping) if (!around.some((e) => actor[e] === i)) go((e) => actor[e] === i);
    if (at !== state) go((e) => to[e] === state);
    return { state, around: around.map((e) => decided[e]).join("") };
  }
  return undefined;
}
