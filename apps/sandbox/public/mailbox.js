import { element } from './format.js';

/** A list that somebody looks at now and then need not be prompter. */
const everyMs = 2_000;
const list = document.getElementById('mails');
let last = 0;

/** Plain text only: what contacts wrote must not become part of this page. */
function draw(mail) {
  const time = new Date(mail.at).toLocaleString();
  return element('details', [
    element('summary', [mail.subject || '(no subject)', element('span', [`${time}, to ${mail.to.join(', ')}`])]),
    element('pre', [mail.text]),
    ...mail.attachments.map((file) =>
      element('details', [element('summary', [file.filename]), element('pre', [file.text])]),
    ),
  ]);
}

async function load() {
  try {
    const response = await fetch(`/sandbox/mails?after=${last}`);
    const answer = await response.json();
    if (answer.last < last) {
      // The sandbox was reset.
      last = 0;
      list.replaceChildren();
      return load();
    }
    if (answer.items.length > 0) document.getElementById('none')?.remove();
    for (const mail of answer.items) list.prepend(draw(mail));
    last = answer.items.at(-1)?.n ?? last;
  } catch {
    // The sandbox is starting again.
  }
  setTimeout(load, everyMs);
}

void load();
