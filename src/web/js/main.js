// The page: builds the client and the views, and paints what has changed once a frame.

import { Client } from './client.js';
import { State } from './connection.js';
import { Session } from './session.js';
import { Composer } from './view/composer.js';
import { Members } from './view/members.js';
import { Status } from './view/status.js';
import { Timeline } from './view/timeline.js';
import { Welcome } from './view/welcome.js';
import { explain, explainSignedOut, typingWords } from './words.js';

const $ = (id) => document.getElementById(id);

/** Storage that is forbidden throws on being looked at; the client does without. */
function storage(name) {
  try {
    return globalThis[name];
  } catch {
    return null;
  }
}

function socketUrl() {
  const url = new URL('/ws', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

const client = new Client({
  url: socketUrl(),
  session: new Session(storage('localStorage')),
  storage: storage('sessionStorage'),
});

const app = $('app');
const status = new Status(app, () => client.connection.retry());
const members = new Members(app);
const welcome = new Welcome($('welcome'), (name) => start(name));
const timeline = new Timeline(app, {
  older: () => client.loadOlder(),
  retry: (clientId) => client.outbox.retry(clientId),
  discard: (clientId) => client.outbox.discard(clientId),
});
const composer = new Composer(app, {
  send: (text) => {
    const taken = client.send(text);
    if (taken) timeline.toEnd();
    else complain('Too many messages wait to be sent. Please try again later.');
    return taken;
  },
  typing: (on) => client.setTyping(on),
  lengthMax: () => client.textLengthMax,
});

function start(name) {
  welcome.hide();
  app.hidden = false;
  complain('');
  client.enter(name);
}

function showWelcome(notice) {
  app.hidden = true;
  entered = false;
  composer.clear();
  welcome.show(client.name, notice);
}

function complain(text) {
  $('notice').hidden = text === '';
  $('notice-text').textContent = text;
}

let entered = false; // the room has been on the screen
let paintAsked = false;

function askPaint() {
  if (paintAsked) return;
  paintAsked = true;
  requestAnimationFrame(() => {
    paintAsked = false;
    paint();
  });
}

function paint() {
  const { room, store, outbox } = client;
  if (!room) return;
  if (!entered) {
    entered = true;
    composer.enable('Write a message');
    composer.focus();
  }
  const entries = outbox.entries.filter((entry) => entry.roomId === client.roomId);
  showTitle();
  $('room-name').textContent = room.info.name;
  $('me-name').textContent = store.me.username;
  timeline.render({ room, entries, me: store.me, older: client.older() });
  members.render(room, store.me);
  $('typing').textContent = typingWords([...room.typing.values()].map((who) => who.username));
  $('typing').hidden = room.typing.size === 0;
}

let unread = 0;

function showTitle() {
  const name = client.room?.info.name;
  const title = name ? `${name} · Ringline` : 'Ringline';
  document.title = unread > 0 ? `(${unread}) ${title}` : title;
}

client.on('change', askPaint);
client.on('state', (now) => {
  status.render(now);
  app.dataset.state = now.state;
});
client.on('signedOut', (error) => showWelcome(explainSignedOut(error)));
client.on('trouble', (error) => complain(explain(error)));
client.on('message', (message) => {
  if (message.sender.id === client.store.me.id) return;
  timeline.noteNew();
  $('announcer').textContent = `${message.sender.username}: ${message.text}`;
  if (document.hidden) unread++;
  showTitle();
});

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unread = 0;
  showTitle();
  client.connection.probe();
});
addEventListener('online', () => client.connection.probe());
addEventListener('offline', () => client.connection.connected && client.connection.probe());

$('notice-close').addEventListener('click', () => complain(''));
$('leave').addEventListener('click', () => $('leave-dialog').showModal());
$('leave-dialog').addEventListener('close', () => {
  if ($('leave-dialog').returnValue !== 'leave') return;
  client.leave();
  showWelcome('');
});

// A countdown stands in a row that waits for the rate limit.
setInterval(() => {
  if (client.outbox.entries.some((entry) => entry.error?.retryAt)) askPaint();
}, 1000);

if (client.signedIn) start();
else welcome.show(client.name);
