// Processes of ours end with us, however we end; a stopped one takes no other signal than the one they get.

const children = new Set()

process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

/** Sees to it that a child process does not outlive this one. */
export function ours(child) {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}
