/** The face that notebooks and scripts see. */
export { show } from "./show.ts";
