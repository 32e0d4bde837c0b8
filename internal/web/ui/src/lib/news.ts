// What the recorder says comes as answers and as news; both change one list.

interface Named {
  id: string
}

/** A list with a piece of news. */
export function put<T extends Named>(list: T[], item: T, front = false): T[] {
  const at = list.findIndex((x) => x.id === item.id)
  if (at >= 0) return list.with(at, item)
  return front ? [item, ...list] : [...list, item]
}

/** An answer, with what there was news of while it was on its way as the news said. */
export function merge<T extends Named>(answer: T[], now: T[], heard: ReadonlySet<string>): T[] {
  const news = now.filter((x) => heard.has(x.id))
  const rest = answer.flatMap((x) => (heard.has(x.id) ? news.filter((y) => y.id === x.id) : [x]))
  return [...news.filter((x) => !answer.some((y) => y.id === x.id)), ...rest]
}
