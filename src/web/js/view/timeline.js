// The conversation: messages, days between them, my own on their way.
// The twist is the scroll position. Who reads at the end stays at the end; who has scrolled up stays
// at the message he reads, whatever comes above or below it.

import { Delivery } from '../outbox.js';
import { dayKey, dayName, fullTime, timeOfDay } from '../time.js';
import { explain, seconds } from '../words.js';
import { avatar, el, icon, reconcile } from './dom.js';

const kGroupMs = 5 * 60 * 1000; // messages of one sender this close stand together
const kEndPx = 60; // this near the end counts as there
const kOlderPx = 300; // this near the top asks for older messages

export class Timeline {
  #scroller;
  #list;
  #top;
  #jump;
  #actions;
  #rows = new Map();
  #atEnd = true;
  #unseen = 0;

  /** `actions`: older(), retry(clientId), discard(clientId) */
  constructor(root, actions) {
    this.#scroller = root.querySelector('#timeline');
    this.#list = root.querySelector('#messages');
    this.#top = root.querySelector('#timeline-top');
    this.#jump = root.querySelector('#jump');
    this.#actions = actions;
    this.#scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true });
    this.#jump.addEventListener('click', () => this.toEnd());
    new ResizeObserver(() => this.#atEnd && this.#scrollToEnd()).observe(this.#scroller);
  }

  toEnd() {
    this.#atEnd = true;
    this.#scrollToEnd();
    this.#showJump();
  }

  /** Somebody else's message has come in. */
  noteNew() {
    if (!this.#atEnd) this.#unseen++;
  }

  render({ room, entries, me, older }) {
    const anchor = this.#atEnd ? null : this.#anchor();
    reconcile(this.#list, this.#rows, items(room, entries, me), (element, item) =>
      this.#build(element, item),
    );
    this.#renderTop(room, older);
    if (this.#atEnd) this.#scrollToEnd();
    else if (anchor) this.#scroller.scrollTop += anchor.element.offsetTop - anchor.top;
    this.#showJump();
    this.#maybeOlder();
  }

  #renderTop(room, older) {
    const state = !room.loaded ? 'loading' : older;
    this.#scroller.setAttribute('aria-busy', String(state === 'loading'));
    if (this.#top.dataset.state === state) return;
    this.#top.dataset.state = state;
    const texts = {
      loading: ['Loading messages…'],
      more: [''],
      end: [`This is where the conversation begins.`],
      held: ['Older messages are not shown here.'],
      failed: ['Older messages could not be loaded. ', this.#button('Try again', this.#actions.older)],
    };
    this.#top.replaceChildren(...texts[state]);
  }

  #build(element, item) {
    if (item.day) {
      element.className = 'day';
      element.replaceChildren(el('span', {}, item.day));
      return;
    }
    element.className = [
      'message',
      item.own && 'own',
      item.first && 'first',
      item.deleted && 'deleted',
    ].filter(Boolean).join(' ');
    element.dataset.state = item.state;
    element.replaceChildren(
      item.first && !item.own ? avatar(item.sender) : '',
      el(
        'div',
        { class: 'body' },
        item.first ? meta(item) : null,
        el(
          'div',
          { class: 'bubble' },
          el('p', { class: 'text', dir: 'auto' }, item.deleted ? 'Message deleted' : item.text),
          el('span', { class: 'marks' }, item.edited ? 'edited ' : '', deliveryMark(item.state)),
        ),
        this.#trouble(item),
      ),
    );
  }

  #trouble({ state, error, key }) {
    if (state === Delivery.FAILED) {
      return el(
        'div',
        { class: 'trouble failed' },
        `Not sent. ${explain(error)} `,
        this.#button('Try again', () => this.#actions.retry(key)),
        ' ',
        this.#button('Discard', () => this.#actions.discard(key)),
      );
    }
    if (!error?.retryAt) return null;
    const wait = seconds(error.retryAt);
    return el('div', { class: 'trouble' }, `${explain(error)} Sending again in ${wait} s.`);
  }

  #button(text, onclick) {
    return el('button', { type: 'button', class: 'link', onclick }, text);
  }

  /** The first message in sight. Not a day: its row moves up when older messages of that day come. */
  #anchor() {
    const top = this.#scroller.scrollTop;
    for (const element of this.#list.querySelectorAll('.message')) {
      if (element.offsetTop + element.offsetHeight > top) {
        return { element, top: element.offsetTop };
      }
    }
    return null;
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#unseen = 0;
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < kEndPx;
    if (this.#atEnd) this.#unseen = 0;
    this.#showJump();
    this.#maybeOlder();
  }

  #maybeOlder() {
    const wanted = this.#top.dataset.state === 'more' && this.#scroller.scrollTop < kOlderPx;
    if (wanted) this.#actions.older();
  }

  #showJump() {
    this.#jump.hidden = this.#atEnd;
    const words = this.#unseen === 1 ? '1 new message' : `${this.#unseen} new messages`;
    this.#jump.textContent = this.#unseen > 0 ? words : 'Latest messages';
  }
}

function meta({ sender, own, at }) {
  return el(
    'div',
    { class: 'meta' },
    el('bdi', { class: own ? 'sender visually-hidden' : 'sender' }, own ? 'You' : sender.username),
    ' ',
    el('time', { datetime: at, title: fullTime(at) }, timeOfDay(at)),
  );
}

const kMarks = {
  [Delivery.SENDING]: ['clock', 'Sending'],
  [Delivery.SENT]: ['check', 'Sent'],
  [Delivery.FAILED]: ['alert', 'Not sent'],
};

function deliveryMark(state) {
  if (!kMarks[state]) return '';
  const [name, label] = kMarks[state];
  const mark = el('span', { class: 'mark', role: 'img', 'aria-label': label, title: label });
  mark.append(icon(name));
  return mark;
}

/** What is to be seen, top to bottom: one plain object a row, so that a change is found by value. */
function items(room, entries, me) {
  const rows = [];
  let before = null;
  for (const message of [...room.messages.map((m) => fromMessage(m, me)), ...entries.map((e) => fromEntry(e, me))]) {
    const newDay = !before || dayKey(before.at) !== dayKey(message.at);
    if (newDay) rows.push({ key: `day ${dayKey(message.at)}`, day: dayName(message.at) });
    message.first = newDay || before.sender.id !== message.sender.id ||
      Date.parse(message.at) - Date.parse(before.at) > kGroupMs;
    rows.push(message);
    before = message;
  }
  return rows;
}

function fromMessage(message, me) {
  const own = message.sender.id === me.id;
  const sent = message.seq === null ? Delivery.SENDING : Delivery.SENT;
  return {
    key: message.clientId ?? message.id,
    sender: { id: message.sender.id, username: message.sender.username },
    own,
    text: message.text,
    at: message.createdAt,
    edited: Boolean(message.editedAt),
    deleted: Boolean(message.deletedAt),
    state: own && !message.deletedAt ? sent : undefined,
  };
}

function fromEntry(entry, me) {
  return {
    key: entry.clientId,
    sender: { id: me.id, username: me.username },
    own: true,
    text: entry.text,
    at: entry.createdAt,
    edited: false,
    deleted: false,
    state: entry.state,
    error: entry.error ?? undefined,
  };
}
