// Where a message is written. It tells others that somebody types, at most every three seconds, and
// that he stopped when he sends, leaves the field or empties it.

import { limits } from '../limits.js';

const kWarnAt = 200; // code points left when the count appears
const kTouch = '(pointer: coarse)';

export class Composer {
  #text;
  #send;
  #left;
  #actions;
  #typingUntil = 0;

  /** `actions`: send(text) → whether it was taken, typing(bool), lengthMax() in code points */
  constructor(root, actions) {
    this.#text = root.querySelector('#composer-text');
    this.#send = root.querySelector('#composer-send');
    this.#left = root.querySelector('#composer-left');
    this.#actions = actions;
    const form = root.querySelector('#composer');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener('keydown', (event) => this.#onKey(event));
    this.#text.addEventListener('input', () => this.#onInput());
    this.#text.addEventListener('blur', () => this.#stopTyping());
    this.#render();
  }

  enable(placeholder) {
    this.#text.disabled = false;
    this.#text.placeholder = placeholder;
  }

  /** Where there is a keyboard; elsewhere it would cover half the page unasked. */
  focus() {
    if (!matchMedia(kTouch).matches) this.#text.focus();
  }

  clear() {
    this.#text.value = '';
    this.#text.disabled = true;
    this.#render();
  }

  /** Enter sends; on a touch keyboard, which has no Shift+Enter, it makes a line. */
  #onKey(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    if (matchMedia(kTouch).matches) return;
    event.preventDefault();
    this.#submit();
  }

  #onInput() {
    this.#render();
    if (this.#text.value.trim() === '') this.#stopTyping();
    else if (Date.now() >= this.#typingUntil) {
      this.#typingUntil = Date.now() + limits.typingRepeatMs;
      this.#actions.typing(true);
    }
  }

  #stopTyping() {
    if (this.#typingUntil === 0) return;
    this.#typingUntil = 0;
    this.#actions.typing(false);
  }

  #submit() {
    const text = this.#text.value.trim();
    if (text === '' || this.#remaining < 0) return;
    if (!this.#actions.send(text)) return;
    this.#text.value = '';
    this.#stopTyping();
    this.#render();
    this.#text.focus();
  }

  get #remaining() {
    return this.#actions.lengthMax() - [...this.#text.value.trim()].length;
  }

  #render() {
    const remaining = this.#remaining;
    this.#send.disabled = this.#text.value.trim() === '' || remaining < 0;
    this.#left.textContent = remaining < kWarnAt ? String(remaining) : '';
    this.#left.classList.toggle('over', remaining < 0);
    this.#text.style.height = 'auto';
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}
