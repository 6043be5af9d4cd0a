// The dedicated worker of an open database: stands in line with those of other tabs, and leads when its turn comes.
import { told } from './error.js';
import { Leader } from './leader.js';
import { stand } from './line.js';
import { Page } from './page.js';

const page = new Page();
let leader;
let own;

onmessage = ({ data }) => {
  if (data.join) join(data.join);
  else if (data.leave) leave();
  else if (data.answer) page.answered(data);
  else own?.take(data);
};

async function join({ id, ...place }) {
  try {
    leader = await stand({ id, place, open: () => Leader.open(place, page) });
    own = leader.admit(id, (message) => page.tell(message));
  } catch (error) {
    page.tell({ failed: told(error) });
  }
}

async function leave() {
  await leader?.close().catch(() => {});
  page.tell({ left: true });
  close();
}
