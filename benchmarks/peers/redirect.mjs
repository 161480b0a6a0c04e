// copilot-api has GitHub's addresses built in: everything that it fetches is sent to the stand-in.
const fetched = globalThis.fetch
globalThis.fetch = (input, options) => {
  const { pathname, search } = new URL(input instanceof Request ? input.url : input)
  return fetched(`http://${process.env.BENCH_UPSTREAM}${pathname}${search}`, options)
}
