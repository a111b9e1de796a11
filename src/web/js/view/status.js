// The state of the connection: a word in the header, and a banner when something is to be waited for
// or done. The countdown is for the eye only; a screen reader hears each change of state once.

import { State } from '../connection.js';
import { explainState, kStateWords, seconds } from '../words.js';

export class Status {
  #pill;
  #banner;
  #sentence;
  #countdown;
  #retry;
  #status;
  #ticker = null;

  constructor(root, retry) {
    this.#pill = root.querySelector('#status');
    this.#banner = root.querySelector('#banner');
    this.#sentence = root.querySelector('#banner-text');
    this.#countdown = root.querySelector('#banner-countdown');
    this.#retry = root.querySelector('#banner-retry');
    this.#retry.addEventListener('click', retry);
  }

  render(status) {
    this.#status = status;
    this.#pill.dataset.state = status.state;
    this.#pill.querySelector('.status-text').textContent = kStateWords[status.state];
    const sentence = explainState(status);
    this.#banner.hidden = sentence === '';
    this.#banner.dataset.state = status.state;
    if (this.#sentence.textContent !== sentence) this.#sentence.textContent = sentence;
    const waits = Boolean(status.retryAt);
    this.#retry.hidden = !(waits || status.state === State.FAILED);
    this.#retry.textContent = waits ? 'Try now' : 'Try again';
    clearInterval(this.#ticker);
    this.#tick();
    if (waits) this.#ticker = setInterval(() => this.#tick(), 1000);
  }

  #tick() {
    const { retryAt } = this.#status;
    this.#countdown.textContent = retryAt ? `Next try in ${seconds(retryAt)} s.` : '';
  }
}
