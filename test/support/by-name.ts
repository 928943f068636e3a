// Rows for vitest's `each` with a title of '%s': $name would quote and cut the text.
export function byName<T extends { readonly name: string }>(items: readonly T[]): [string, T][] {
  return items.map((item) => [item.name, item]);
}
