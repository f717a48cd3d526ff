// Child processes end with this process, however it ends; a suspended one must be killed.

const children = new Set()

process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

/** Ensures that a child process does not outlive this one. */
export function ours(child) {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}
