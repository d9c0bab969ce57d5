// Where in ascending numbers a value belongs.

type Ascending = Float64Array;

/** The first place from `low` on whose number is greater than `value`. */
export function after(numbers: Ascending, value: number, low = 0, high = numbers.length): number {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numbers[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first place whose number is not less than `value`. */
export function from(numbers: Ascending, value: number, low = 0, high = numbers.length): number {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numbers[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
