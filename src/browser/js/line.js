// The line of all tabs that have a database open: the first leads, the others are its clients. Who ends, however, is out
// of it, for the browser then lets go of its locks.
import { between, leadership, meeting } from './names.js';

/**
 * Stands in line as `id`. When our turn has come, `open()` makes the leader, which `admit(id, post)`s everybody, for a
 * `take(message)` and a `dismiss()`.
 */
export async function stand({ id, place, open }) {
  await hold(between(id));
  const room = new BroadcastChannel(meeting(place));
  let leader;
  room.onmessage = ({ data: { leads, hello } }) => {
    if (leads) room.postMessage({ hello: id });
    else if (leader) receive(leader, hello);
  };
  room.postMessage({ hello: id });
  await hold(leadership(place));
  leader = await open();
  room.postMessage({ leads: true });
  return leader;
}

/** One client of ours, in another tab, until its end. */
function receive(leader, id) {
  // Who leads no more answers nobody: the next will.
  if (leader.ended || leader.knows(id)) return;
  const channel = new BroadcastChannel(between(id));
  const client = leader.admit(id, (message) => channel.postMessage(message));
  channel.onmessage = ({ data }) => client.take(data);
  navigator.locks.request(between(id), () => {
    client.dismiss();
    channel.close();
  });
}

/** Has a lock from now on, until this worker ends. */
function hold(name) {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, () => (resolve(), new Promise(() => {}))).catch(reject);
  });
}
