/**
 * Error numbers as the kernel returns them (negated), and the results of a fault.
 * @module
 */

/** Operation not permitted: a write was asked for where the vma forbids writing. */
export const EPERM = 1;
/** No such file or entry. */
export const ENOENT = 2;
/** Input or output error: a mapping for DMA failed. */
export const EIO = 5;
/** Bad file descriptor: no such file. */
export const EBADF = 9;
/** Try again: a notifier that must not sleep could not get its lock. */
export const EAGAIN = 11;
/** Out of memory, of vmas or of page tables. */
export const ENOMEM = 12;
/** Permission denied: the mapping does not allow what was asked for. */
export const EACCES = 13;
/** Bad address: nothing is mapped there, or it must not be accessed so. */
export const EFAULT = 14;
/** Busy: an invalidation came in between, or a page is in use. */
export const EBUSY = 16;
/** No such device. */
export const ENODEV = 19;
/** Invalid argument: an empty or impossible range. */
export const EINVAL = 22;
/** Out of range: no range of physical addresses is free. */
export const ERANGE = 34;

const NAMES: Readonly<Record<number, string>> = {
  [EPERM]: "EPERM",
  [ENOENT]: "ENOENT",
  [EIO]: "EIO",
  [EBADF]: "EBADF",
  [EAGAIN]: "EAGAIN",
  [ENOMEM]: "ENOMEM",
  [EACCES]: "EACCES",
  [EFAULT]: "EFAULT",
  [EBUSY]: "EBUSY",
  [ENODEV]: "ENODEV",
  [EINVAL]: "EINVAL",
  [ERANGE]: "ERANGE",
};

/**
 * The name of a kernel result.
 *
 * @param rc what an operation returned: 0 or a negated error number
 * @returns "" for success, else "EFAULT" and the like
 *
 * @example
 * ```ts
 * console.log(errnoName(-EFAULT)); // EFAULT
 * ```
 */
export function errnoName(rc: number): string {
  return rc >= 0 ? "" : NAMES[-rc] ?? `errno ${-rc}`;
}

/** The fault is done (a minor fault): the access can be tried again. */
export const VM_FAULT_DONE = 0;
/** Nothing was done because something had to be waited for, or a stronger lock is needed: look at the page again. */
export const VM_FAULT_RETRY = 1;
/** No mapping at the address: SIGSEGV with SEGV_MAPERR. */
export const VM_FAULT_MAPERR = 2;
/** The mapping does not allow the access: SIGSEGV with SEGV_ACCERR. */
export const VM_FAULT_ACCERR = 3;
/** The page cannot be had (a device's memory could not be copied back): SIGBUS. */
export const VM_FAULT_SIGBUS = 4;
/** No page was free. */
export const VM_FAULT_OOM = 5;
