// Times and days in the reader's own language and zone.

const kTime = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const kFull = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const kDay = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const kDayAndYear = new Intl.DateTimeFormat(undefined, { dateStyle: 'long' });

export const timeOfDay = (iso) => kTime.format(new Date(iso));
export const fullTime = (iso) => kFull.format(new Date(iso));
export const dayKey = (iso) => new Date(iso).toDateString();

export function dayName(iso, now = new Date()) {
  const day = new Date(iso);
  const yesterday = new Date(now);
  yesterday.setDate(now.getDate() - 1);
  if (day.toDateString() === now.toDateString()) return 'Today';
  if (day.toDateString() === yesterday.toDateString()) return 'Yesterday';
  return day.getFullYear() === now.getFullYear() ? kDay.format(day) : kDayAndYear.format(day);
}
