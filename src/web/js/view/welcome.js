// The first screen: a guest picks a name.

export class Welcome {
  #root;
  #name;
  #notice;

  constructor(root, enter) {
    this.#root = root;
    this.#name = root.querySelector('#name');
    this.#notice = root.querySelector('#welcome-notice');
    root.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      const name = this.#name.value.trim();
      if (name === '') this.#complain('Please enter a name.');
      else if (/^\d+$/.test(name)) this.#complain('A name needs more than digits.');
      else enter(name);
    });
  }

  show(name, notice = '') {
    this.#root.hidden = false;
    this.#name.value = name;
    this.#complain(notice);
    this.#name.focus();
  }

  hide() {
    this.#root.hidden = true;
  }

  #complain(text) {
    this.#notice.textContent = text;
    this.#name.setAttribute('aria-invalid', String(text !== ''));
  }
}
