/**
 * Named programs that the lab does not play as Linux did yet, with the reason. A program that agrees once must go on
 * agreeing: this list only ever shrinks.
 */
export const PENDING: Readonly<Record<string, string>> = {
  fault_around_default: "fault-around",
  fault_around_private_then_migrate: "fault-around",
  hugetlb_read_write: "hugetlb",
  mixedmap_of_the_device_file: "a mapping of the device's file",
  madvise_remove_and_cold: "madvise remove",
};
