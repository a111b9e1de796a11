// Who is in the room. Beside the conversation on a wide screen, over it on a narrow one, where it
// opens like a dialog: focus goes in, Escape and a tap outside bring it back.

import { presenceWords } from '../words.js';
import { avatar, el, reconcile } from './dom.js';

const kNarrow = '(max-width: 760px)';

export class Members {
  #panel;
  #list;
  #more;
  #count;
  #toggle;
  #shade;
  #rows = new Map();
  #narrow = matchMedia(kNarrow);

  constructor(root) {
    this.#panel = root.querySelector('#members');
    this.#list = root.querySelector('#member-list');
    this.#more = root.querySelector('#members-more');
    this.#count = root.querySelector('#members-count');
    this.#toggle = root.querySelector('#members-toggle');
    this.#shade = root.querySelector('#shade');
    this.#toggle.addEventListener('click', () => this.#show(!this.#shown));
    this.#shade.addEventListener('click', () => this.#show(false));
    root.querySelector('#members-close').addEventListener('click', () => this.#show(false));
    root.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#narrow.matches && this.#shown) this.#show(false);
    });
    this.#narrow.addEventListener('change', () => this.#set(!this.#narrow.matches));
    this.#set(!this.#narrow.matches);
  }

  render(room, me) {
    const members = [...room.members.values()].sort(byPresenceAndName);
    const items = members.map(({ user, online }) => ({
      key: user.id,
      username: user.username,
      presence: presenceWords({ online, user }),
      own: user.id === me.id,
    }));
    reconcile(this.#list, this.#rows, items, build);
    const total = Math.max(room.info.memberCount, members.length);
    const hidden = total - members.length;
    this.#more.textContent = hidden > 0 ? `and ${hidden} more` : '';
    this.#count.textContent = String(total);
    this.#toggle.setAttribute('aria-label', `Members, ${total}`);
  }

  get #shown() {
    return this.#panel.classList.contains('open');
  }

  #show(open) {
    this.#set(open);
    if (!this.#narrow.matches) return;
    if (open) this.#panel.querySelector('#members-close').focus();
    else this.#toggle.focus();
  }

  #set(open) {
    this.#panel.classList.toggle('open', open);
    this.#panel.inert = !open;
    this.#shade.hidden = !(open && this.#narrow.matches);
    this.#toggle.setAttribute('aria-expanded', String(open));
  }
}

function build(element, { key, username, presence, own }) {
  element.className = 'member';
  element.dataset.presence = presence;
  const words = el('span', { class: 'member-presence' }, presence);
  element.replaceChildren(
    avatar({ id: key, username }),
    el('bdi', { class: 'member-name' }, username),
    own ? el('span', { class: 'you' }, ' (you)') : '',
    words,
  );
}

function byPresenceAndName(a, b) {
  if (a.online !== b.online) return a.online ? -1 : 1;
  return a.user.username.localeCompare(b.user.username);
}
