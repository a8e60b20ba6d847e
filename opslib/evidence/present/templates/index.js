const form = document.querySelector("form"), rows = [...document.querySelectorAll("tbody tr")];
function filter() {
  const given = Object.fromEntries(new FormData(form));
  let shown = 0;
  for (const row of rows) {
    const is = (name) => !given[name] || row.dataset[name] === given[name];
    const day = row.dataset.started.slice(0, 10);
    row.hidden = !(
      is("outcome") && is("endpoint") && is("runbook") &&
      (!given.since || day >= given.since) && (!given.until || day <= given.until) &&
      given.text.toLowerCase().split(/\s+/).every((word) => row.textContent.toLowerCase().includes(word))
    );
    shown += !row.hidden;
  }
  document.querySelector("output").textContent = `${shown} of ${rows.length} runs`;
}
form.addEventListener("input", filter);
form.addEventListener("reset", () => setTimeout(filter));
form.addEventListener("submit", (event) => event.preventDefault());
form.hidden = false;
filter();
