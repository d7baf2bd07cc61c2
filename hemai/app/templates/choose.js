// A row, or a box in the smear, shows its details; the list is not drawn anew.
const choose = (event) => {
  const chosen = event.target.closest("[data-item]");
  if (!chosen || (event.type === "keydown" && (chosen.tagName === "BUTTON" || !["Enter", " "].includes(event.key)))) return;
  event.preventDefault();
  for (const row of document.querySelectorAll("#results [data-item]")) {
    if (row.dataset.item === chosen.dataset.item) row.setAttribute("aria-current", "true"); else row.removeAttribute("aria-current");
  }
  if (window.innerWidth < 700) document.getElementById("details").scrollIntoView({behavior: "smooth"});
  trigger("choose", {item: Number(chosen.dataset.item)});
};
element.addEventListener("click", choose);
element.addEventListener("keydown", choose);
