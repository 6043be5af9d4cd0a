// No process left behind. What is on the leash dies with this process, whatever ends it: a shell, in a session of its
// own so that no signal to our group reaches it, waits for the end of a pipe that only we hold.
import { spawn } from 'node:child_process';

let holder;

/** From now on `child` does not outlive this process, not even when this process is killed with -9. */
export function leash(child) {
  holder ??= startHolder();
  if (child === holder) return child; // whoever leashes all that is started leashes it, too
  if (child.pid) holder.stdin.write(`${child.pid}\n`);
  child.once('exit', () => holder.stdin.write(`-${child.pid}\n`));
  return child;
}

function startHolder() {
  const script = `
    held=" "
    while read -r line; do
      case $line in
        -*) id=\${line#-}; held="\${held%% $id *} \${held#* $id }" ;;
        *) held="$held$line " ;;
      esac
    done
    for id in $held; do kill -9 "$id" 2>/dev/null; done
    exit 0`;
  const shell = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  shell.stdin.on('error', () => {}); // it was killed; then so be it
  shell.unref();
  shell.stdin.unref?.();
  return shell;
}
