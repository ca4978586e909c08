/** Durations and instants of the contract as numbers. */
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

/** A set of facts holds ends of use as unsigned 32-bit seconds since 1970; this one never comes. */
export const FOREVER = 0xffff_ffff;

export function seconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) + duration.nanos / 1e9;
}

/** Never below 0. */
export function milliseconds(duration: Duration): number {
  return Math.max(seconds(duration) * 1000, 0);
}

/** Rounded up: a fact is never forgotten before its time. */
export function endOfUse(instant: Timestamp | undefined): number {
  if (instant === undefined) return FOREVER;
  const second = Number(instant.seconds) + (instant.nanos > 0 ? 1 : 0);
  return Math.min(Math.max(second, 0), FOREVER - 1);
}
